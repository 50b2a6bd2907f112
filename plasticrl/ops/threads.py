"""Worker threads for kernels that release the GIL: fork-safe, and usable from several threads at once.

numba's own parallel loops are not: one of its threading layers breaks after a fork, another when two
threads enter it.
"""

import os
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from itertools import pairwise

import torch

_pool: ThreadPoolExecutor | None = None
_pool_size = 0
_lock = threading.Lock()


def thread_count(limit: int) -> int:
    """Threads for ``limit`` independent pieces of work: what torch may use, but not more than pieces."""
    return max(1, min(torch.get_num_threads(), limit))


def split(count: int, parts: int, multiple: int = 1) -> list[tuple[int, int]]:
    """Cut ``range(count)`` into at most ``parts`` even ranges whose borders are multiples of ``multiple``."""
    units = -(-count // multiple)
    parts = max(1, min(parts, units))  # one empty range for nothing
    borders = [min(count, units * k // parts * multiple) for k in range(parts + 1)]
    return list(pairwise(borders))


def run_parallel(work: Callable[[int], None], count: int, memory: object) -> None:
    """Run ``work(0) .. work(count - 1)``, each free of the others.

    Threads take the next piece when they are done with one: a worker wakes late, or shares its
    processor with another program. They hold ``memory``, what the work has the bare addresses of: it must
    outlive them even where Ctrl-C ends the wait for them.
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
    """Run ``work(k, meet)`` at once in ``count`` threads, which wait for each other at every ``meet()``.

    The threads are started for this call: in a shared pool two calls could each hold half of the workers.
    They hold ``memory`` as those of :func:`run_parallel` do.
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
    """In a forked child, where none of the parent's threads exist.

    That goes for those of OpenMP too, for which a product of matrices in torch would wait for ever;
    DataLoader's workers use one thread for the same reason.
    """
    global _pool, _pool_size, _lock
    _pool, _pool_size, _lock = None, 0, threading.Lock()
    torch.set_num_threads(1)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_workers)
