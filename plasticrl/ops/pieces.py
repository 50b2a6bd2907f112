"""Division of the work of a scan into pieces for threads."""

import torch

from plasticrl.ops.simd import WIDTH
from plasticrl.ops.threads import split, thread_count

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
