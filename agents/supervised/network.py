"""The interface of networks that live through supervised episodes, and their input."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, NamedTuple

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from plasticrl.envs.supervised.task import Episode
from plasticrl.nn import Core


class EpisodeTensors(NamedTuple):
    """The fields of :class:`plasticrl.envs.Episode` as tensors of the same shapes and types."""

    inputs: Tensor  # (T, B, *input_shape)
    clamp: Tensor | None  # bool (T, B, D)
    labels: Tensor | None  # int64 (T, B), -1 for no label
    target: Tensor  # (B, D) float32, or (B,) int64
    target_mask: Tensor  # bool (T, B)
    hidden: Tensor | None  # bool (B, D)
    picture: Tensor | None = None  # int64 (T, B), equal numbers for equal inputs

    def until(self, steps: int) -> EpisodeTensors:
        """Return the first ``steps`` of the T steps; the target stays."""

        def cut(tensor: Tensor | None) -> Tensor | None:
            return None if tensor is None else tensor[:steps]

        return self._replace(
            inputs=self.inputs[:steps],
            clamp=cut(self.clamp),
            labels=cut(self.labels),
            target_mask=self.target_mask[:steps],
            picture=cut(self.picture),
        )


def to_tensors(episode: Episode, device: torch.device | str = "cpu") -> EpisodeTensors:
    """Copy an episode to a device."""

    def copy(array: NDArray[Any]) -> Tensor:
        return torch.tensor(array, device=device)

    return EpisodeTensors(
        copy(episode.inputs),
        None if episode.clamp is None else copy(episode.clamp),
        None if episode.labels is None else copy(episode.labels),
        copy(episode.target),
        copy(episode.target_mask),
        None if episode.hidden is None else copy(episode.hidden),
        None if episode.picture is None else copy(episode.picture),
    )


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
