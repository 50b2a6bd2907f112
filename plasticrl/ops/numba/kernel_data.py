"""Arguments of the kernels: sizes and numbers, and the addresses of inputs, outputs and scratch memory.

Passing addresses costs nothing; arrays would be reference-counted at every call.
"""

from typing import NamedTuple

import numpy as np

from plasticrl.ops.numba.vectors import WIDTH, inlined

RNN, LSTM, GRU = 0, 1, 2  # Cell.number
SIGMOID = 1  # of plasticrl.ops.cells.MODULATIONS


def whole(n: int) -> int:
    """Round up to whole vectors."""
    return (n + WIDTH - 1) // WIDTH * WIDTH


class Sizes(NamedTuple):
    """Sizes of a scan.

    Attributes:
        steps, batch, n: T, B and the number of neurons.
        m: length of the rows of w, alpha and trace in memory; zeros follow the n columns.
        cell: number of the cell.
        sums: rows of w.
        width: columns of the drive.
        recorded: columns of the record.
        values: the first columns of the record, which the cell fills.
        modulation: number of the modulation.
        modulated: number of its sums, n or 1; 0 without modulation.
        group: number of samples that run side by side and share the loads of w.
    """

    steps: int
    batch: int
    n: int
    m: int
    cell: int
    sums: int
    width: int
    recorded: int
    values: int
    modulation: int
    modulated: int
    group: int


class Numbers(NamedTuple):
    """The numbers of a rule; see :class:`plasticrl.rules.HebbianRule`."""

    eta: np.float32
    leak: np.float32
    normalisation: np.float32
    correction: np.float32
    scale: np.float32


class Problem(NamedTuple):
    """Inputs of the backward pass; m is n rounded up to whole vectors."""

    sizes: Sizes
    rule: Numbers
    w: int  # sums m, in panels
    alpha: int  # m m, or 0
    hidden: int  # B n
    memory: int  # B n, or 0
    trace: int  # B n n
    reset: int  # T B or 0
    clamp: int  # T B n or 0
    outputs: int  # T B n
    record: int  # T B recorded
    d_outputs: int  # T B n
    d_last_hidden: int  # B n
    d_last_memory: int  # B n or 0
    d_last_trace: int  # B n n or 0


class Gradients(NamedTuple):
    """Outputs of the backward pass."""

    drive: int  # T B width
    alpha: int  # m m, added to
    eta: int  # 1 float64, added to
    hidden: int  # B n
    memory: int  # B n or 0
    trace: int  # B n n or 0
    modulation: int  # T B, added to: adjoint of the sum of a single modulation


class Scratch(NamedTuple):
    """Working memory of the samples that run side by side: the sizes are those of one, the first address.

    The rows of ``pre``, ``gain`` and ``keep`` are the steps -1 .. T. The two outer ones stand for the time
    before and after: no input, and an unchanged trace. ``gain`` is that of the unscaled input.
    """

    block: int
    stride: int
    parts: int
    pre: int  # (T + 2) m: x, 0 before and after
    gain: int  # (T + 2) m, 0 before and after
    keep: int  # (T + 2) m, 1 before and after
    checkpoints: int  # ceil(T / block) m m: traces before steps 0, block, 2 block ..
    history: int  # (block / stride - 1) m m: traces of one block, ``stride`` steps apart
    adjoint: int  # m m: adjoint of the trace
    d_pre: int  # 2 parts m: adjoint of x, for even and odd steps, so that one barrier per step suffices
    d_sums: int  # parts (sums + WIDTH), zeroed: adjoint of the sums
    d_memory: int  # m, zeroed: adjoint of the cell state, for the next step
    d_recall: int  # block m, zeroed: adjoint of the recall, in each step of a block
    d_recalled: int  # m, zeroed: adjoint of the value that the unscaled input recalls
    adjoint_pre: int  # m, zeroed: adjoint times x, for the next step
    adjoint_trace: int  # m, zeroed: row sums of adjoint * trace, for the next step; 0 if keep is 1


@inlined
def of_sample(s: Scratch, z: Sizes, k: int) -> Scratch:
    """Return the addresses of the k-th sample."""
    row = 4 * k * z.m
    steps, square = (z.steps + 2) * row, z.m * row
    return Scratch(
        s.block,
        s.stride,
        s.parts,
        s.pre + steps,
        s.gain + steps,
        s.keep + steps,
        s.checkpoints + (z.steps + s.block - 1) // s.block * square,
        s.history + (s.block // s.stride - 1) * square,
        s.adjoint + square,
        s.d_pre + 2 * s.parts * row,
        s.d_sums + 4 * k * s.parts * (z.sums + WIDTH),
        s.d_memory + row,
        s.d_recall + s.block * row,
        s.d_recalled + row,
        s.adjoint_pre + row,
        s.adjoint_trace + row,
    )
