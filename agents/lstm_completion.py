"""The LSTM baseline for completion tasks."""

import torch
from torch import Tensor, nn

from plasticrl.agents.completion_network import check_completion
from plasticrl.agents.episode_network import EpisodeNetwork
from plasticrl.agents.episode_tensors import EpisodeTensors
from plasticrl.nn import LSTM, LSTMState
from plasticrl.nn.core import positive


class LSTMCompletion(EpisodeNetwork):
    """``y = tanh(W h + b)`` of an LSTM's hidden state h, with clamped elements copied from the input.

    If the episode has a ``clamp``, the network need not learn to copy its input; neither need the plastic
    network. Without a ``clamp`` (``PatternsTask`` with an ``input_gain``), all elements come from the
    readout, and it must learn to copy.

    Args:
        n_bits: D, number of elements of the vectors to complete.
        hidden_size: number of cells. Default 2,000, as in the paper's comparison on 50 bits.

    Raises:
        ValueError: a size is not an integer above 0.
    """

    core: LSTM

    def __init__(self, n_bits: int, *, hidden_size: int = 2000) -> None:
        super().__init__()
        self.n_bits = positive("n_bits", n_bits)
        self.core = LSTM(n_bits, hidden_size)
        self.readout = nn.Linear(hidden_size, n_bits)

    def forward(self, episode: EpisodeTensors) -> tuple[Tensor, LSTMState]:
        """Run the network on B episodes; see :class:`EpisodeNetwork`."""
        check_completion(episode, self.n_bits)
        hidden, state = self.core(episode.inputs)
        outputs = torch.tanh(self.readout(hidden))
        if episode.clamp is not None:
            outputs = torch.where(episode.clamp, episode.inputs, outputs)
        return outputs, state
