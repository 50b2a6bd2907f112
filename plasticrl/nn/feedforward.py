"""A core without memory: the control that shows the benefit of memory."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from plasticrl.arguments import check_size
from plasticrl.nn.core import Core, parts_of


class NoState(NamedTuple):
    """The empty state of a core without memory."""


class FeedForward(Core):
    """``y = tanh(W x + b)``, independently at each step.

    Args:
        input_size: features per step.
        hidden_size: number of neurons n.

    Raises:
        ValueError: a size is not an integer above 0.
    """

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.input_size = check_size("input_size", input_size)
        self.hidden_size = self.output_size = check_size("hidden_size", hidden_size)
        self.linear = nn.Linear(input_size, hidden_size)

    def reset_parameters(self) -> None:
        """Initialise all parameters, as ``torch.nn.Linear`` does."""
        self.linear.reset_parameters()

    def initial_state(self, batch_size: int) -> NoState:
        """Return the empty state."""
        return NoState()

    def forward(
        self, inputs: Tensor, state: NoState | None = None, reset: Tensor | None = None
    ) -> tuple[Tensor, NoState]:
        """Apply the layer to every step; see :class:`plasticrl.nn.Core`."""
        self._check_inputs(inputs, reset)
        if state is not None:
            parts_of(state, NoState)
        return torch.tanh(self.linear(inputs)), NoState()
