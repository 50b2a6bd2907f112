"""The cells of a plastic recurrence: the elementwise part of a step, and its adjoint.

A step computes the sums ``w x`` and the recall ``r = (alpha * H) x``, with ``x = h(t-1)``, for all neurons. A
cell turns them, neuron by neuron, into the new state and the value v that the trace stores. The groups of n
sums, in order, as in ``torch.nn``:

==== ======================================== ================================= =====
cell groups                                   state                             v
==== ======================================== ================================= =====
rnn  u                                        h = tanh(u + r)                   h
lstm i, f, g, o                               c = f c + i g, h = o tanh(c)      g
gru  r, z, n                                  h = (1 - z) n + z h               n
==== ======================================== ================================= =====

Gates are sigmoids of their sums; ``g = tanh(sum + r)`` and ``n = tanh(input + gate_r sum + r)``. The
candidate n of the GRU gets its input apart from its sum, as the last group of the drive.
"""

from typing import Literal, NamedTuple, TypeAlias, get_args

import torch
from torch import Tensor

CellName: TypeAlias = Literal["rnn", "lstm", "gru"]
Modulation: TypeAlias = Literal["none", "sigmoid", "tanh"]


class Cell(NamedTuple):
    """Sizes of a cell, in multiples of the number of neurons n.

    Attributes:
        name: name of the cell.
        number: its number in the kernels.
        sums: groups of rows of w, without those of the modulation.
        inputs: groups of the drive beyond them.
        has_memory: True if it carries a cell state beside its output.
        recorded: groups of values that its adjoint needs besides the outputs.
    """

    name: CellName
    number: int
    sums: int
    inputs: int
    has_memory: bool
    recorded: int


CELLS: dict[str, Cell] = {
    "rnn": Cell("rnn", 0, 1, 0, has_memory=False, recorded=0),
    "lstm": Cell("lstm", 1, 4, 0, has_memory=True, recorded=5),
    "gru": Cell("gru", 2, 3, 1, has_memory=False, recorded=4),
}
MODULATIONS: dict[str, int] = {name: k for k, name in enumerate(get_args(Modulation))}


class Activated(NamedTuple):
    """One step of a cell: output, cell state (None without one), stored value, and values for the adjoint."""

    hidden: Tensor
    memory: Tensor | None
    value: Tensor
    record: tuple[Tensor, ...]


def activate(
    cell: Cell, sums: Tensor, inputs: Tensor, recall: Tensor, x: Tensor, memory: Tensor | None
) -> Activated:
    """Run the elementwise part of a step.

    Args:
        cell: the cell.
        sums: drive plus ``w x``, ``(B, sums n)``.
        inputs: the drive's groups beyond the sums, ``(B, inputs n)``.
        recall: r, ``(B, n)``, or a scalar zero without plasticity.
        x: the previous output, ``(B, n)``.
        memory: the previous cell state, ``(B, n)``, or None.
    """
    if cell.name == "rnn":
        y = torch.tanh(sums + recall)
        return Activated(y, None, y, ())
    if cell.name == "lstm":
        assert memory is not None
        i, f, g, o = sums.chunk(4, -1)
        i, f, g, o = torch.sigmoid(i), torch.sigmoid(f), torch.tanh(g + recall), torch.sigmoid(o)
        memory = f * memory + i * g
        return Activated(o * torch.tanh(memory), memory, g, (i, f, g, o, memory))
    r, z, inner = sums.chunk(3, -1)
    r, z = r.sigmoid(), z.sigmoid()
    n = torch.tanh(inputs + r * inner + recall)
    return Activated((1 - z) * n + z * x, None, n, (r, z, n, inner))


class PulledBack(NamedTuple):
    """Adjoints of the arguments of :func:`activate`; that of x is only its direct part."""

    sums: Tensor
    inputs: Tensor | None
    recall: Tensor
    x: Tensor | None
    memory: Tensor | None


def pull_back(
    cell: Cell,
    y: Tensor,
    record: tuple[Tensor, ...],
    x: Tensor,
    memory: Tensor | None,
    d_hidden: Tensor,
    d_memory: Tensor | None,
    d_value: Tensor | float,
) -> PulledBack:
    """Compute the adjoint of :func:`activate` from the output ``y``, the record and the previous state."""
    if cell.name == "rnn":
        delta = (d_hidden + d_value) * (1 - y.square())
        return PulledBack(delta, None, delta, None, None)
    if cell.name == "lstm":
        assert memory is not None
        assert d_memory is not None
        i, f, g, o, c = record
        squashed = torch.tanh(c)
        d_c = d_memory + d_hidden * o * (1 - squashed.square())
        d_g = (d_c * i + d_value) * (1 - g.square())
        d_sums = (d_c * g * i * (1 - i), d_c * memory * f * (1 - f), d_g, d_hidden * squashed * o * (1 - o))
        return PulledBack(torch.cat(d_sums, -1), None, d_g, None, d_c * f)
    r, z, n, inner = record
    d_n = (d_hidden * (1 - z) + d_value) * (1 - n.square())
    d_gates = (d_n * inner * r * (1 - r), d_hidden * (x - n) * z * (1 - z), d_n * r)
    return PulledBack(torch.cat(d_gates, -1), d_n, d_n, d_hidden * z, None)


def modulate(kind: Modulation, sums: Tensor) -> Tensor:
    """Return the modulation from its sums, ``(B, n)`` or ``(B, 1)``."""
    return torch.sigmoid(sums) if kind == "sigmoid" else torch.tanh(sums)


def slope(kind: Modulation, modulation: Tensor) -> Tensor:
    """Return the derivative of :func:`modulate` at the given value of the modulation."""
    return modulation * (1 - modulation) if kind == "sigmoid" else 1 - modulation.square()
