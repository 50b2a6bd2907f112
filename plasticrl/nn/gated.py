"""LSTM and GRU, the baseline cores of the paper, behind the interface of the plastic network."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn

from plasticrl.arguments import check_number, check_size
from plasticrl.nn.core import Core, check_shape, parts_of
from plasticrl.ops import tracing

FORGET_BIAS = 1.0
"""Default addition to the bias of gates that keep memories; at torch's 0, half is forgotten at each step."""


def keep_longer(bias: object, hidden_size: int, forget_bias: float) -> None:
    """Add ``forget_bias`` to the bias of the second gate: an LSTM's forget gate, a GRU's update gate."""
    assert isinstance(bias, Tensor)
    with torch.no_grad():
        bias[hidden_size : 2 * hidden_size] += forget_bias


class LSTMState(NamedTuple):
    """Hidden and cell state, each ``(B, n)``."""

    hidden: Tensor
    cell: Tensor


class GRUState(NamedTuple):
    """Hidden state ``(B, n)``."""

    hidden: Tensor


class LSTM(Core):
    """One layer of ``torch.nn.LSTM`` with resets inside the sequence.

    Args:
        input_size: features per step.
        hidden_size: number of cells n.
        forget_bias: added to the initial bias of the forget gate; the larger it is, the longer memories last
            at first. Default 1, as in Jozefowicz et al. 2015 (torch: 0).

    Raises:
        ValueError: a size is not an integer above 0, or ``forget_bias`` is negative or infinite.
    """

    def __init__(self, input_size: int, hidden_size: int, forget_bias: float = FORGET_BIAS) -> None:
        super().__init__()
        self.input_size = check_size("input_size", input_size)
        self.hidden_size = self.output_size = check_size("hidden_size", hidden_size)
        self.forget_bias = check_number("forget_bias", forget_bias)
        self.lstm = nn.LSTM(input_size, hidden_size)
        keep_longer(self.lstm.bias_ih_l0, hidden_size, forget_bias)

    def reset_parameters(self) -> None:
        """Initialise all parameters: as ``torch.nn.LSTM`` does, but for the forget gate."""
        self.lstm.reset_parameters()
        keep_longer(self.lstm.bias_ih_l0, self.hidden_size, self.forget_bias)

    def initial_state(self, batch_size: int) -> LSTMState:
        """Return zeros, hidden and cell state ``(B, n)``."""
        zeros = next(self.parameters()).new_zeros(2, batch_size, self.hidden_size)
        return LSTMState(*zeros)

    def forward(
        self, inputs: Tensor, state: LSTMState | None = None, reset: Tensor | None = None
    ) -> tuple[Tensor, LSTMState]:
        """Unroll over a sequence; see :class:`plasticrl.nn.Core`."""
        self._check_inputs(inputs, reset)
        hidden, cell = self.initial_state(inputs.shape[1]) if state is None else parts_of(state, LSTMState)
        check_shape("state.hidden", hidden, (inputs.shape[1], self.hidden_size))
        check_shape("state.cell", cell, (inputs.shape[1], self.hidden_size))
        outputs = []
        for piece, first in _between_resets(inputs, reset):
            if first is not None:
                hidden, cell = (s.masked_fill(first[:, None], 0) for s in (hidden, cell))
            y, (h, c) = self.lstm(piece, (hidden[None], cell[None]))
            hidden, cell = h[0], c[0]
            outputs.append(y)
        return torch.cat(outputs), LSTMState(hidden, cell)


class GRU(Core):
    """One layer of ``torch.nn.GRU`` with resets inside the sequence.

    Args:
        input_size: features per step.
        hidden_size: number of units n.
        forget_bias: added to the initial bias of the update gate; the larger it is, the longer memories last
            at first. Default 1, as in Jozefowicz et al. 2015 (torch: 0).

    Raises:
        ValueError: a size is not an integer above 0, or ``forget_bias`` is negative or infinite.
    """

    def __init__(self, input_size: int, hidden_size: int, forget_bias: float = FORGET_BIAS) -> None:
        super().__init__()
        self.input_size = check_size("input_size", input_size)
        self.hidden_size = self.output_size = check_size("hidden_size", hidden_size)
        self.forget_bias = check_number("forget_bias", forget_bias)
        self.gru = nn.GRU(input_size, hidden_size)
        keep_longer(self.gru.bias_ih_l0, hidden_size, forget_bias)

    def reset_parameters(self) -> None:
        """Initialise all parameters: as ``torch.nn.GRU`` does, but for the update gate."""
        self.gru.reset_parameters()
        keep_longer(self.gru.bias_ih_l0, self.hidden_size, self.forget_bias)

    def initial_state(self, batch_size: int) -> GRUState:
        """Return zeros ``(B, n)``."""
        return GRUState(next(self.parameters()).new_zeros(batch_size, self.hidden_size))

    def forward(
        self, inputs: Tensor, state: GRUState | None = None, reset: Tensor | None = None
    ) -> tuple[Tensor, GRUState]:
        """Unroll over a sequence; see :class:`plasticrl.nn.Core`."""
        self._check_inputs(inputs, reset)
        (hidden,) = self.initial_state(inputs.shape[1]) if state is None else parts_of(state, GRUState)
        check_shape("state.hidden", hidden, (inputs.shape[1], self.hidden_size))
        outputs = []
        for piece, first in _between_resets(inputs, reset):
            if first is not None:
                hidden = hidden.masked_fill(first[:, None], 0)
            y, h = self.gru(piece, hidden[None])
            hidden = h[0]
            outputs.append(y)
        return torch.cat(outputs), GRUState(hidden)


def _between_resets(inputs: Tensor, reset: Tensor | None) -> Iterator[tuple[Tensor, Tensor | None]]:
    """Cut a sequence at the resets of any row, so that torch's fused loop runs over each piece.

    Each step is a piece of its own while a graph is recorded, which would otherwise contain the resets of
    one example, and for meta tensors, whose values cannot be read.

    Yields:
        A piece ``(t, B, input_size)``, and a mask ``(B,)`` of the rows whose state is cleared before it.
    """
    if reset is None:
        yield inputs, None
        return
    if tracing.follower((inputs, reset)) is not None or reset.is_meta:
        starts = list(range(len(inputs)))
    else:
        cuts = reset.any(dim=1)
        cuts[0] = True
        starts = cuts.nonzero().flatten().tolist()
    for start, end in zip(starts, [*starts[1:], len(inputs)], strict=True):
        yield inputs[start:end], reset[start]
