"""Episodes on the learner's device."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from numpy.typing import NDArray
from torch import Tensor

from plasticrl.envs.episode import Episode


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
