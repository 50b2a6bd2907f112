"""The numba engine: float32 on the CPU, with threads over episodes or, if these are few, over neurons.

First the calls of the kernels, then the memory that they read and write, then the threads that run them.
"""

import os
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from itertools import pairwise
from math import inf
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from plasticrl.ops.cells import MODULATIONS
from plasticrl.ops.numba import kernel_data
from plasticrl.ops.numba.backward import backward
from plasticrl.ops.numba.compilation import announce_compilation, postpone_interrupts_of_compilations
from plasticrl.ops.numba.forward import Addresses, forward
from plasticrl.ops.numba.kernel_data import Numbers, Sizes, whole
from plasticrl.ops.numba.plain import PlainAdjoint, plain_backward, plain_forward
from plasticrl.ops.numba.products import PANEL, pack
from plasticrl.ops.numba.vectors import WIDTH
from plasticrl.ops.problem import Cotangents, Gradients, Problem, Result
from plasticrl.ops.tracing import untraced
from plasticrl.rules import HebbianRule

announce_compilation()
postpone_interrupts_of_compilations()

_GROUP = 4  # episodes that run side by side and share the loads of w
_BLOCK = 16  # steps between checkpoints
_SMALL = 128  # neurons up to which a trace is cheaper to read than to compute
ROWS_PER_THREAD = 128  # with fewer neurons, a barrier at every step does not pay off
WORK_PER_PIECE = 80_000  # T B n^2 of about 20 microseconds, the time to wake a thread
PLAIN_WORK_PER_PIECE = 400_000  # the same without a trace

_pool: ThreadPoolExecutor | None = None
_pool_size = 0
_lock = threading.Lock()


@untraced
def run(problem: Problem) -> Result:
    """Compute the results; see :class:`plasticrl.ops.problem.Engine`."""
    p = problem
    steps, batch, n = p.drive.shape[0], *p.hidden.shape
    outputs, record = empty(steps, batch, n), empty(steps, batch, p.recorded)
    trace, memory = empty(0) if p.alpha is None else padded(p.trace), _own(p.memory)
    _run(p, memory, trace, outputs, record)
    return Result(outputs, memory, trace if p.alpha is None else trace[..., :n].contiguous(), record)


@untraced
def run_in_place(problem: Problem, trace: Tensor, outputs: Tensor) -> Tensor | None:
    """Write the outputs, replace ``trace`` (contiguous) by the last one, and return the last cell state."""
    memory = _own(problem.memory)
    _run(problem, memory, trace, outputs, None)
    return memory


class KernelCall(NamedTuple):
    """Arguments of a forward kernel except its ranges, and the memory that must outlive the call."""

    arguments: tuple[Addresses, Numbers, np.float32 | None, Sizes]
    memory: object


def kernel_call(
    problem: Problem, memory: Tensor | None, trace: Tensor, outputs: Tensor, record: Tensor | None
) -> KernelCall:
    """Prepare the call that writes ``outputs`` and ``record`` and updates ``memory`` and ``trace`` in place.

    All of these must be contiguous. The trace may be :func:`padded`.
    """
    p, n = problem, problem.hidden.shape[-1]
    m = n if p.alpha is None else trace.shape[-1]
    alpha = None if p.alpha is None else padded(_full(p.alpha, n), m)
    w = panels(p.w.T, n)
    update = None if alpha is None or len(p.drive) == 1 else empty(len(p.hidden), 2, whole(n))
    held = contiguous((p.drive, w, alpha, p.hidden, memory, trace, p.reset, p.clamp, outputs, record, update))
    return KernelCall((Addresses(*addresses(held)), _numbers(p), _limit(p), _sizes(p, m)), held)


def panels(matrix: Tensor, group: int) -> Tensor:
    """Return a matrix in panels of columns, which begin at whole vectors after every ``group``."""
    source = matrix.resolve_neg() if matrix.is_neg() else matrix
    height, width = source.shape
    columns = width // group * whole(group) + whole(width % group)
    target = zeros(-(-columns // PANEL), height, PANEL)
    (old, new), (row, column) = addresses([source, target]), source.stride()
    pack(old, row, column, height, width, group, new)
    return target


def padded(matrix: Tensor, m: int | None = None) -> Tensor:
    """Return a matrix with zeros after each row, to a length of m; whole vectors by default.

    Rows of whole vectors begin at multiples of their size in memory, where loads are fastest.
    """
    n = matrix.shape[-1]
    return pad(matrix.detach(), (0, (whole(n) if m is None else m) - n))


def _run(
    problem: Problem, memory: Tensor | None, trace: Tensor, outputs: Tensor, record: Tensor | None
) -> None:
    steps, batch, n = outputs.shape
    call = kernel_call(problem, memory, trace, outputs, record)
    plain = _is_plain(problem)
    kernel = plain_forward if plain else forward
    teams = split_rows(batch, n)
    if teams is None:
        chunks = split_plain_batch(steps, batch, n) if plain else split_batch(problem)
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
def gradients(
    problem: Problem, outputs: Tensor, record: Tensor, cotangents: Cotangents, *, with_trace: bool
) -> Gradients:
    """Compute the gradients; see :class:`plasticrl.ops.problem.Engine`."""
    p = problem
    if _is_plain(p):
        return _plain_gradients(p, outputs, cotangents, with_trace=with_trace)
    steps, batch, n = outputs.shape
    m = whole(n)
    alpha = None if p.alpha is None else pad(_full(p.alpha, n), (0, m - n, 0, m - n))
    tensors = (
        panels(p.w, n),
        alpha,
        p.hidden,
        p.memory,
        p.trace,
        p.reset,
        p.clamp,
        outputs,
        record,
        *cotangents,
    )
    held = contiguous(tensors)
    # The traces of two episodes and their adjoints fill the cache; more pay off where w is the largest.
    group = _GROUP if p.sums > n else 2
    argument = kernel_data.Problem(_sizes(p, m, group), _numbers(p), *addresses(held))
    teams = split_rows(batch, n)
    ranges = split(batch, thread_count(batch)) if teams is None else teams
    parts = len(ranges)
    copies = parts if teams is None else 1  # threads that share an episode write separate rows of d_alpha
    d_drive, d_hidden = empty(*p.drive.shape), empty(batch, n)
    d_memory = None if p.memory is None else empty(batch, n)
    d_trace = empty(batch, n, n) if with_trace and alpha is not None else None
    d_alphas = None if alpha is None else zeros(copies, m, m)
    d_etas = torch.zeros(parts, dtype=torch.float64, device="cpu")
    d_modulations = zeros(parts, steps, batch) if p.modulated == 1 else None
    results = [
        kernel_data.Gradients(
            *addresses(
                [
                    d_drive,
                    None if d_alphas is None else d_alphas[k % copies],
                    d_etas[k],
                    d_hidden,
                    d_memory,
                    d_trace,
                    None if d_modulations is None else d_modulations[k],
                ]
            )
        )
        for k in range(parts)
    ]
    limit = _limit(p)
    memory = (held, d_drive, d_alphas, d_etas, d_hidden, d_memory, d_trace, d_modulations)

    def batch_member(k: int) -> None:
        working, _held = _scratch(p, m, 1, min(group, ranges[k][1] - ranges[k][0]))
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
        shared, scratch = _scratch(p, m, parts, 1)
        run_together(row_member, parts, (memory, scratch))
    if d_modulations is not None:
        d_drive[..., p.sums - 1] = d_modulations.sum(0)
    d_alpha = None if d_alphas is None else d_alphas.sum(0)[:n, :n]
    if d_alpha is not None and p.alpha is not None and p.alpha.ndim == 0:
        d_alpha = d_alpha.sum(dtype=torch.float64).float()
    if with_trace and d_trace is None:
        d_trace = torch.zeros_like(p.trace)
    return Gradients(d_drive, d_alpha, d_etas.sum().float(), d_hidden, d_memory, d_trace)


def _plain_gradients(
    problem: Problem, outputs: Tensor, cotangents: Cotangents, *, with_trace: bool
) -> Gradients:
    """Compute the gradients without a trace (alpha None)."""
    p = problem
    steps, batch, n = p.drive.shape
    d_drive, d_hidden = empty(steps, batch, n), empty(batch, n)
    held = contiguous(
        [panels(p.w, n), p.reset, p.clamp, outputs, cotangents.outputs, cotangents.hidden, d_drive, d_hidden]
    )
    argument, sizes = PlainAdjoint(*addresses(held)), _sizes(p, whole(n))
    teams = split_rows(batch, n)
    ranges = split_plain_batch(steps, batch, n) if teams is None else teams

    def batch_member(k: int) -> None:
        plain_backward(argument, sizes, ranges[k], (steps - 1, -1), (0, n))

    def row_member(k: int, meet: Callable[[], object]) -> None:
        for t in range(steps - 1, -2, -1):
            plain_backward(argument, sizes, (0, batch), (t, t), ranges[k])
            meet()

    if teams is None:
        run_parallel(batch_member, len(ranges), held)
    else:
        run_together(row_member, len(ranges), held)
    d_trace = torch.zeros_like(p.trace) if with_trace else None
    return Gradients(d_drive, None, torch.zeros_like(p.eta), d_hidden, None, d_trace)


def _scratch(
    problem: Problem, m: int, parts: int, samples: int
) -> tuple[kernel_data.Scratch, list[Tensor | None]]:
    """Return working memory for samples side by side, shared by ``parts`` threads, and its tensors."""
    steps = problem.drive.shape[0]
    plastic = problem.alpha is not None
    stride = 2 if problem.hidden.shape[-1] <= _SMALL else 4  # steps between the kept traces of a block
    kept, between = -(-steps // _BLOCK), _BLOCK // stride - 1
    tensors: list[Tensor | None] = [
        zeros(samples, steps + 2, m), zeros(samples, steps + 2, m), ones(samples, steps + 2, m),
        empty(samples, kept, m, m) if plastic else None,
        empty(samples, between, m, m) if plastic else None,
        empty(samples, m, m) if plastic else None,
        zeros(samples, 2, parts, m), zeros(samples, parts, problem.sums + WIDTH),
        zeros(samples, m), zeros(samples, _BLOCK, m), *(zeros(samples, m) for _ in range(3)),
    ]  # fmt: skip
    return kernel_data.Scratch(_BLOCK, stride, parts, *addresses(tensors)), tensors


def _own(tensor: Tensor | None) -> Tensor | None:
    """Return a contiguous copy to be updated in place."""
    return None if tensor is None else tensor.detach().clone(memory_format=torch.contiguous_format)


def _full(alpha: Tensor, n: int) -> Tensor:
    return alpha.detach().expand(n, n)


def _is_plain(problem: Problem) -> bool:
    """Return True for an RNN without a trace, whose own kernels are a quarter faster at 100 neurons."""
    return problem.alpha is None and problem.cell.name == "rnn" and not problem.modulated


def _sizes(p: Problem, m: int, group: int = _GROUP) -> Sizes:
    steps, batch, width = p.drive.shape
    n = p.hidden.shape[-1]
    modulation = MODULATIONS[p.modulation]
    values = p.cell.recorded * n
    return Sizes(
        steps, batch, n, m, p.cell.number, p.sums, width, p.recorded, values, modulation, p.modulated,
        group,
    )  # fmt: skip


def _numbers(p: Problem) -> Numbers:
    assert isinstance(p.rule, HebbianRule)
    scale = p.rule.key_scale(p.hidden.shape[-1])
    return Numbers(
        *map(np.float32, (p.eta.item(), p.rule.leak, p.rule.normalisation, p.rule.correction, scale))
    )


def _limit(p: Problem) -> np.float32 | None:
    assert isinstance(p.rule, HebbianRule)
    return None if p.rule.limit == inf else np.float32(p.rule.limit)


def empty(*shape: int) -> Tensor:
    """Return uninitialised memory for a kernel's output, independent of torch's default dtype and device."""
    return torch.empty(*shape, dtype=torch.float32, device="cpu")


def zeros(*shape: int) -> Tensor:
    """Return zeros for a kernel to add to or to read."""
    return torch.zeros(*shape, dtype=torch.float32, device="cpu")


def ones(*shape: int) -> Tensor:
    """Return ones for a kernel to read."""
    return torch.ones(*shape, dtype=torch.float32, device="cpu")


def contiguous(tensors: Sequence[Tensor | None]) -> list[Tensor | None]:
    """The tensors as kernels read them; hold these until the kernel is done with their addresses."""
    return [
        None if tensor is None else (tensor.resolve_neg() if tensor.is_neg() else tensor).contiguous()
        for tensor in tensors
    ]


def addresses(tensors: Sequence[Tensor | None]) -> list[int]:
    """Return the address of each tensor's data; 0 for None.

    Raises:
        RuntimeError: a tensor has no data in memory.
    """
    return [0 if tensor is None else tensor.data_ptr() or _no_address(tensor) for tensor in tensors]


def _no_address(tensor: Tensor) -> int:
    if tensor.numel():
        raise RuntimeError(
            f"a {type(tensor).__name__} has no memory that a kernel can read: "
            'call plastic_scan or the core with backend="reference"'
        )
    return 0


def split_batch(problem: Problem) -> list[tuple[int, int]]:
    """Divide the episodes into pieces, which threads take one by one; one piece if there is little work."""
    steps, (batch, n) = len(problem.drive), problem.hidden.shape
    pieces = min(steps * batch * n * n // WORK_PER_PIECE, -(-batch // _GROUP))
    return split(batch, max(1, pieces) if torch.get_num_threads() > 1 else 1)


def split_plain_batch(steps: int, batch: int, n: int) -> list[tuple[int, int]]:
    """Divide the episodes without a trace: at most one piece per thread, since each is little work."""
    pieces = steps * batch * n * n // PLAIN_WORK_PER_PIECE
    return split(batch, thread_count(pieces))


def split_rows(batch: int, n: int) -> list[tuple[int, int]] | None:
    """Divide the neurons among the threads if there are too few episodes to divide; None otherwise."""
    threads = thread_count(n // ROWS_PER_THREAD)
    return split(n, threads, WIDTH) if batch < threads else None


def thread_count(limit: int) -> int:
    """Return the number of threads for ``limit`` independent pieces of work: at most torch's setting."""
    return max(1, min(torch.get_num_threads(), limit))


def split(count: int, parts: int, multiple: int = 1) -> list[tuple[int, int]]:
    """Cut ``range(count)`` into at most ``parts`` even ranges whose borders are multiples of ``multiple``."""
    units = -(-count // multiple)
    parts = max(1, min(parts, units))  # one empty range if count is 0
    borders = [min(count, units * k // parts * multiple) for k in range(parts + 1)]
    return list(pairwise(borders))


def run_parallel(work: Callable[[int], None], count: int, memory: object) -> None:
    """Run ``work(0) .. work(count - 1)``, which must be independent.

    Each thread takes the next piece when it has finished one, since a worker may wake late or share its
    processor with another program. The threads keep a reference to ``memory``, the owner of the addresses
    used by the work, so that it outlives them even if Ctrl-C ends the wait for them.
    """
    pieces = deque(range(count))

    def member(_memory: object) -> None:
        while True:
            try:
                piece = pieces.popleft()
            except IndexError:
                return
            work(piece)

    helpers = thread_count(count) - 1
    others = [_workers(helpers).submit(member, memory) for _ in range(helpers)]
    try:
        member(memory)
    finally:
        wait(others)
    for other in others:
        other.result()


def run_together(work: Callable[[int, Callable[[], object]], None], count: int, memory: object) -> None:
    """Run ``work(k, meet)`` in ``count`` threads at once, which wait for each other at every ``meet()``.

    The threads are started for this call: with a shared pool, two calls could each hold half of the workers
    and deadlock. They keep ``memory`` alive as in :func:`run_parallel`.
    """
    barrier = threading.Barrier(count)
    errors: list[BaseException] = []

    def member(k: int, _memory: object) -> None:
        try:
            work(k, barrier.wait)
        except threading.BrokenBarrierError:
            pass  # another thread failed; its error is raised below
        except BaseException as error:
            errors.append(error)
            barrier.abort()

    threads = [threading.Thread(target=member, args=(k, memory), daemon=True) for k in range(1, count)]
    for thread in threads:
        thread.start()
    member(0, memory)
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def _workers(count: int) -> ThreadPoolExecutor:
    global _pool, _pool_size
    with _lock:
        if _pool is None or _pool_size < count:
            _pool, _pool_size = ThreadPoolExecutor(count, thread_name_prefix="plasticrl"), count
        return _pool


def _forget_workers() -> None:
    """Reset the pool in a forked child, where the parent's threads do not exist.

    OpenMP's threads do not exist there either, so a matrix product in torch would wait for them forever.
    DataLoader's worker processes use one thread for the same reason.
    """
    global _pool, _pool_size, _lock
    _pool, _pool_size, _lock = None, 0, threading.Lock()
    torch.set_num_threads(1)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_workers)
