"""Gradients of the numba path without a trace (alpha None)."""

from collections.abc import Callable

import torch
from torch import Tensor

from plasticrl.ops.numba.buffers import addresses, contiguous, empty
from plasticrl.ops.numba.plain import PlainAdjoint, plain_backward
from plasticrl.ops.numba.threads import run_parallel, run_together, split_plain_batch, split_rows
from plasticrl.ops.problem import Cotangents, Gradients, Problem


def gradients(problem: Problem, outputs: Tensor, cotangents: Cotangents, *, with_trace: bool) -> Gradients:
    """Compute the adjoints; see :class:`plasticrl.ops.problem.Engine`."""
    p = problem
    steps, batch, n = p.drive.shape
    d_drive, d_hidden = empty(steps, batch, n), empty(batch, n)
    held = contiguous(
        [p.w.T, p.reset, p.clamp, outputs, cotangents.outputs, cotangents.hidden, d_drive, d_hidden]
    )
    argument = PlainAdjoint(*addresses(held))
    teams = split_rows(batch, n)
    ranges = split_plain_batch(steps, batch, n) if teams is None else teams

    def batch_member(k: int) -> None:
        plain_backward(argument, (steps, batch, n), ranges[k], (steps - 1, -1), (0, n))

    def row_member(k: int, meet: Callable[[], object]) -> None:
        for t in range(steps - 1, -2, -1):
            plain_backward(argument, (steps, batch, n), (0, batch), (t, t), ranges[k])
            meet()

    if teams is None:
        run_parallel(batch_member, len(ranges), held)
    else:
        run_together(row_member, len(ranges), held)
    d_trace = torch.zeros_like(p.trace) if with_trace else None
    return Gradients(d_drive, None, torch.zeros_like(p.eta), d_hidden, d_trace)
