"""The interface of the networks that live through supervised episodes."""

from abc import ABC, abstractmethod
from typing import Any

from torch import Tensor, nn

from plasticrl.agents.episode_tensors import EpisodeTensors
from plasticrl.nn import Core


class EpisodeNetwork(nn.Module, ABC):
    """A network that sees an episode from its first step to its last, from an empty state.

    Attributes:
        core: what carries memory between the steps.
    """

    core: Core

    @abstractmethod
    def forward(self, episode: EpisodeTensors) -> tuple[Tensor, Any]:
        """Live through B episodes.

        Args:
            episode: its ``target``, ``target_mask`` and ``hidden`` are not looked at.

        Returns:
            outputs and the core's state after the last step. For a completion task the outputs are
            ``(T, B, D)`` in [-1, 1]. For a classification task they are log-probabilities
            ``(T, B, N)``, from a log-softmax, so that a loss is exact and finite where the softmax
            itself rounds to 0 or 1; ``exp`` gives the softmax, ``argmax`` the class.

        Raises:
            ValueError: the episode is not one of the task that the network was made for.
        """
