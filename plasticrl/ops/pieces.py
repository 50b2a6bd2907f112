"""How the work of a scan is cut into pieces for threads."""

import torch

from plasticrl.ops.simd import WIDTH
from plasticrl.ops.threads import split, thread_count

ROWS_PER_THREAD = 128  # fewer neurons than this are not worth meeting for at every step
WORK_PER_PIECE = 80_000  # T B n^2 of about 20 microseconds: what it takes to wake a thread
PLAIN_WORK_PER_PIECE = 400_000  # the same where there is no trace


def split_batch(steps: int, batch: int, n: int) -> list[tuple[int, int]]:
    """Episodes in pieces, of which threads take one after the other; one piece if it is little work."""
    pieces = steps * batch * n * n // WORK_PER_PIECE
    return split(batch, max(1, pieces) if torch.get_num_threads() > 1 else 1)


def split_plain_batch(steps: int, batch: int, n: int) -> list[tuple[int, int]]:
    """The same without a trace: no more pieces than threads, as the episodes of one share loads of w."""
    pieces = steps * batch * n * n // PLAIN_WORK_PER_PIECE
    return split(batch, thread_count(pieces))


def split_rows(batch: int, n: int) -> list[tuple[int, int]] | None:
    """Rows of each thread where the threads are better spent on neurons than on episodes."""
    threads = thread_count(n // ROWS_PER_THREAD)
    return split(n, threads, WIDTH) if batch < threads else None
