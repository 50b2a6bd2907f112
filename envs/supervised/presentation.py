"""The schedule of a completion task: items shown in cycles, then one of them degraded."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from plasticrl.arguments import check_count


@dataclass(frozen=True)
class Presentation:
    """A schedule of cycles, each of which shows every item once in random order, and a final query.

    Every presentation lasts ``steps_on`` steps and is followed by ``steps_off`` steps of zeros. This
    includes the last one before the query, as in the programs of Miconi et al. (2018).

    Attributes:
        n_cycles: number of times that the whole set is shown, at least 1.
        steps_on: steps per presentation, at least 1.
        steps_off: steps of zeros after it, at least 0.
        test_steps: steps of the query, at least 1; the last one is scored.

    Raises:
        ValueError: a number is out of range; the message names it.
    """

    n_cycles: int
    steps_on: int
    steps_off: int
    test_steps: int

    def __post_init__(self) -> None:
        for name in ("n_cycles", "steps_on", "test_steps"):
            check_count(name, getattr(self, name))
        check_count("steps_off", self.steps_off, least=0)

    def steps(self, n_items: int) -> int:
        """Return T, the number of steps of an episode with ``n_items`` items."""
        return self.n_cycles * n_items * (self.steps_on + self.steps_off) + self.test_steps

    def show(
        self, items: NDArray[np.float32], query: NDArray[np.float32], rng: np.random.Generator
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Return the inputs (T, B, D) of B episodes, and the mask (T, B) of the step that is scored.

        Args:
            items: (B, n_items, D), the items of each episode.
            query: (B, D), the input of the final steps.
            rng: draws the orders.
        """
        batch, n_items, width = items.shape
        steps = self.steps(n_items)
        order = rng.permuted(np.tile(np.arange(n_items), (batch, self.n_cycles, 1)), axis=2)
        inputs = np.zeros((steps, batch, width), dtype=np.float32)
        showings = inputs[: -self.test_steps].reshape(
            self.n_cycles * n_items, self.steps_on + self.steps_off, batch, width
        )
        for showing, item in zip(showings, order.reshape(batch, -1).T, strict=True):
            showing[: self.steps_on] = items[np.arange(batch), item]
        inputs[-self.test_steps :] = query
        judged = np.zeros((steps, batch), dtype=np.bool_)
        judged[-1] = True
        return inputs, judged
