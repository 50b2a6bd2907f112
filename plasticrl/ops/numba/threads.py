"""The worker threads, and the division of a scan's work among them."""

import os
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from itertools import pairwise

import torch

from plasticrl.ops.numba.vectors import WIDTH

_pool: ThreadPoolExecutor | None = None
_pool_size = 0
_lock = threading.Lock()


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


ROWS_PER_THREAD = 128  # with fewer neurons, a barrier at every step does not pay off
WORK_PER_PIECE = 80_000  # T B n^2 of about 20 microseconds, the time to wake a thread
PLAIN_WORK_PER_PIECE = 400_000  # the same without a trace


def split_batch(steps: int, batch: int, n: int) -> list[tuple[int, int]]:
    """Divide the episodes into pieces, which threads take one by one; one piece if there is little work."""
    pieces = steps * batch * n * n // WORK_PER_PIECE
    return split(batch, max(1, pieces) if torch.get_num_threads() > 1 else 1)


def split_plain_batch(steps: int, batch: int, n: int) -> list[tuple[int, int]]:
    """Divide the episodes without a trace: at most one piece per thread, since a piece shares loads of w."""
    pieces = steps * batch * n * n // PLAIN_WORK_PER_PIECE
    return split(batch, thread_count(pieces))


def split_rows(batch: int, n: int) -> list[tuple[int, int]] | None:
    """Divide the neurons among the threads if there are too few episodes to divide; None otherwise."""
    threads = thread_count(n // ROWS_PER_THREAD)
    return split(n, threads, WIDTH) if batch < threads else None
