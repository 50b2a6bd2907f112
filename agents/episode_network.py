"""The interface of networks for supervised episodes."""

from abc import ABC, abstractmethod
from typing import Any

from torch import Tensor, nn

from plasticrl.agents.episode_tensors import EpisodeTensors
from plasticrl.nn import Core


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
