"""The numba engine: float32 on the CPU, with threads over episodes or, if these are few, over neurons."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from plasticrl.ops.numba import backward_data
from plasticrl.ops.numba.backward import backward
from plasticrl.ops.numba.buffers import addresses, contiguous, empty, ones, zeros
from plasticrl.ops.numba.compilation import announce_compilation, postpone_interrupts_of_compilations
from plasticrl.ops.numba.forward import Addresses, forward
from plasticrl.ops.numba.plain import PlainAdjoint, plain_backward, plain_forward
from plasticrl.ops.numba.threads import (
    run_parallel,
    run_together,
    split,
    split_batch,
    split_plain_batch,
    split_rows,
    thread_count,
)
from plasticrl.ops.numba.vectors import WIDTH
from plasticrl.ops.problem import Cotangents, Gradients, Problem, clip_limit
from plasticrl.ops.tracing import untraced
from plasticrl.rules import Oja, Rule

announce_compilation()
postpone_interrupts_of_compilations()

_BLOCK = 16  # steps between checkpoints


@untraced
def run(problem: Problem) -> tuple[Tensor, Tensor]:
    """Return outputs and last trace; see :class:`plasticrl.ops.problem.Engine`."""
    outputs, trace = empty(*problem.drive.shape), _own_trace(problem)
    run_in_place(problem, trace, outputs)
    return outputs, trace


class KernelCall(NamedTuple):
    """Arguments of a forward kernel except its ranges, and the memory that must outlive the call."""

    arguments: tuple[Addresses, np.float32, tuple[bool, np.float32], np.float32 | None, tuple[int, int, int]]
    memory: object


def kernel_call(problem: Problem, trace: Tensor, outputs: Tensor) -> KernelCall:
    """Prepare the call that writes ``outputs`` and updates ``trace`` in place; both must be contiguous."""
    p = problem
    steps, batch, n = p.drive.shape
    alpha = None if p.alpha is None else _full(p.alpha, n)
    tensors = (p.drive, p.w, alpha, p.hidden, trace, p.reset, p.clamp, outputs)
    held = contiguous(tensors)
    rule = (np.float32(p.eta.item()), _decay(p.rule), _limit(p.rule))
    return KernelCall((Addresses(*addresses(held)), *rule, (steps, batch, n)), held)


@untraced
def run_in_place(problem: Problem, trace: Tensor, outputs: Tensor) -> None:
    """Write the outputs, and replace the first trace in ``trace`` (contiguous) by the last one."""
    steps, batch, n = problem.drive.shape
    call = kernel_call(problem, trace, outputs)
    kernel, cut = (plain_forward, split_plain_batch) if problem.alpha is None else (forward, split_batch)
    teams = split_rows(batch, n)
    if teams is None:
        chunks = cut(steps, batch, n)
        run_parallel(
            lambda k: kernel(*call.arguments, chunks[k], (0, steps), (0, n)), len(chunks), call.memory
        )
        return

    def member(k: int, meet: Callable[[], object]) -> None:
        for t in range(steps):
            kernel(*call.arguments, (0, batch), (t, t + 1), teams[k])
            meet()

    run_together(member, len(teams), call.memory)


@untraced
def gradients(problem: Problem, outputs: Tensor, cotangents: Cotangents, *, with_trace: bool) -> Gradients:
    """Return the gradients; see :class:`plasticrl.ops.problem.Engine`."""
    p = problem
    if p.alpha is None:
        return _plain_gradients(p, outputs, cotangents, with_trace=with_trace)
    steps, batch, n = p.drive.shape
    m = -(-n // WIDTH) * WIDTH
    margin = (0, m - n, 0, m - n)
    w, alpha = pad(p.w, margin), pad(_full(p.alpha, n), margin)
    tensors = (w, alpha, p.hidden, p.trace, p.reset, p.clamp, outputs, *cotangents)
    held = contiguous(tensors)
    argument = backward_data.Problem(
        steps, batch, n, m, np.float32(p.eta.item()), *_decay(p.rule), *addresses(held)
    )
    teams = split_rows(batch, n)
    ranges = split(batch, thread_count(batch)) if teams is None else teams
    parts = len(ranges)
    copies = parts if teams is None else 1  # threads that share an episode write separate rows of d_alpha
    d_drive, d_hidden = empty(steps, batch, n), empty(batch, n)
    d_trace = empty(batch, n, n) if with_trace else None
    d_alphas, d_etas = zeros(copies, m, m), torch.zeros(parts, dtype=torch.float64, device="cpu")
    results = [
        backward_data.Gradients(*addresses([d_drive, d_alphas[k % copies], d_etas[k], d_hidden, d_trace]))
        for k in range(parts)
    ]
    limit = _limit(p.rule)
    memory = (held, d_drive, d_alphas, d_etas, d_hidden, d_trace)

    def batch_member(k: int) -> None:
        working, _held = _scratch(steps, m, 1)
        backward(argument, working, results[k], limit, ranges[k], (steps + 1, -1), (0, n + n % 2), 0)

    def row_member(k: int, meet: Callable[[], object]) -> None:
        rows = (ranges[k][0], ranges[k][1] + ranges[k][1] % 2)
        for b in range(batch):
            for t in range(steps + 1, -2, -1):
                backward(argument, shared, results[k], limit, (b, b + 1), (t, t), rows, k)
                meet()

    if teams is None:
        run_parallel(batch_member, parts, memory)
    else:
        shared, scratch = _scratch(steps, m, parts)
        run_together(row_member, parts, (memory, scratch))
    d_alpha = d_alphas.sum(0)[:n, :n]
    if p.alpha.ndim == 0:
        d_alpha = d_alpha.sum(dtype=torch.float64).float()
    return Gradients(d_drive, d_alpha, d_etas.sum().float(), d_hidden, d_trace)


def _plain_gradients(
    problem: Problem, outputs: Tensor, cotangents: Cotangents, *, with_trace: bool
) -> Gradients:
    """Compute the gradients without a trace (alpha None)."""
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


def _scratch(steps: int, m: int, parts: int) -> tuple[backward_data.Scratch, list[Tensor]]:
    """Return working memory for one sample at a time, shared by ``parts`` threads, and its tensors."""
    block = min(_BLOCK, steps)
    tensors = [
        zeros(steps + 2, m), zeros(steps + 2, m), ones(steps + 2, m),
        zeros(-(-steps // block), m, m), zeros(block, m, m), zeros(m, m),
        zeros(2, parts, m), zeros(m), zeros(m), zeros(m),
    ]  # fmt: skip
    return backward_data.Scratch(block, parts, *addresses(tensors)), tensors


def _own_trace(problem: Problem) -> Tensor:
    """Return a copy of the first trace to be updated in place; an empty tensor without plasticity."""
    if problem.alpha is None:
        return empty(0)
    return problem.trace.detach().clone(memory_format=torch.contiguous_format)


def _full(alpha: Tensor, n: int) -> Tensor:
    return alpha.detach().expand(n, n)


def _decay(rule: Rule) -> tuple[bool, np.float32]:
    """Return True if the trace decays at the rate eta y^2 (Oja), and the constant rate otherwise, per eta."""
    return isinstance(rule, Oja), np.float32(clip_limit(rule) is None)


def _limit(rule: Rule) -> np.float32 | None:
    limit = clip_limit(rule)
    return None if limit is None else np.float32(limit)
