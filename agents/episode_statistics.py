"""Running means over the last training episodes, kept on the device until they are read."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

import torch
from torch import Tensor


def updates_within(episodes: int, batch_size: int) -> int:
    """Return the number of updates in a window of ``episodes`` episodes, at least one."""
    return max(1, episodes // batch_size)


class EpisodeStatistics:
    """A window of the values of the last updates.

    Args:
        updates: maximum number of updates in the window.
    """

    def __init__(self, updates: int) -> None:
        self.names: tuple[str, ...] = ()
        self._values: deque[Tensor] = deque(maxlen=updates)

    def add(self, values: Mapping[str, Tensor]) -> None:
        """Append the scalars of one update; if their names have changed, clear the window first."""
        if self.names != tuple(values):
            self.clear()
            self.names = tuple(values)
        self._values.append(torch.stack([value.detach() for value in values.values()]))

    def means(self) -> dict[str, float]:
        """Return the means over the window by name; empty before the first update."""
        means = self.values.mean(0).tolist() if self._values else []
        return dict(zip(self.names, means, strict=True))

    @property
    def values(self) -> Tensor:
        """The window, ``(updates so far, names)``."""
        return torch.stack(tuple(self._values)) if self._values else torch.zeros(0, len(self.names))

    def clear(self) -> None:
        """Empty the window."""
        self._values.clear()

    def restore(self, names: tuple[str, ...], values: Tensor) -> None:
        """Replace the content by ``names`` and the latest ``values`` of another window."""
        self.names = names
        self.clear()
        self._values.extend(values)
