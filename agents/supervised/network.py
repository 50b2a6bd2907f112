"""The interface of networks that live through supervised episodes, and their input."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from plasticrl.envs.supervised.task import Episode
from plasticrl.nn import Core


class EpisodeTensors(NamedTuple):
    """The fields of :class:`plasticrl.envs.Episode` as tensors of the same shapes and types."""

    inputs: Tensor  # (T, B, *input_shape), or with picture (P, *input_shape)
    clamp: Tensor | None  # bool (T, B, D)
    labels: Tensor | None  # int64 (T, B), -1 for no label
    target: Tensor  # (B, D) float32, (B,) int64, or (T, B) int64
    target_mask: Tensor  # bool (T, B)
    hidden: Tensor | None  # bool (B, D)
    picture: Tensor | None = None  # int64 (T, B), 0 to P - 1

    def until(self, steps: int) -> EpisodeTensors:
        """Return the first ``steps`` of the T steps; the target stays."""
        cut: dict[str, Any] = {}
        names = ("inputs" if self.picture is None else "picture", "clamp", "labels", "target_mask")
        for name in names:
            if (whole := getattr(self, name)) is not None:
                cut[name] = whole[:steps]
        return self._replace(**cut)


def to_tensors(episode: Episode, device: torch.device | str = "cpu") -> EpisodeTensors:
    """Copy an episode to a device."""
    arrays: dict[str, Any] = {name: getattr(episode, name) for name in EpisodeTensors._fields}
    copies: dict[str, Any] = {
        n: one if one is None else torch.tensor(one, device=device) for n, one in arrays.items()
    }
    return EpisodeTensors(**copies)


class EpisodeNetwork(nn.Module, ABC):
    """A network that processes whole episodes, starting from the zero state.

    Attributes:
        core: carries memory between the steps.
    """

    core: Core

    @abstractmethod
    def forward(self, episode: EpisodeTensors) -> tuple[Tensor, Any]:
        """Run the network on B episodes.

        Args:
            episode: the episodes; ``target``, ``target_mask`` and ``hidden`` are not used.

        Returns:
            Outputs, and the core's state after the last step. For a completion task the outputs are
            ``(T, B, D)`` in [-1, 1]. For a classification task they are log-probabilities ``(T, B, N)``
            from a log-softmax, so that a loss is exact and finite even if the softmax itself rounds to 0
            or 1; ``exp`` gives the softmax, ``argmax`` the class.

        Raises:
            ValueError: the episodes are not of a task that the network was made for.
        """
