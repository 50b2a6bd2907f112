"""Sizes and coefficients that all kernels are called with."""

from typing import NamedTuple

import numpy as np

from plasticrl.ops.numba.vectors import WIDTH

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
