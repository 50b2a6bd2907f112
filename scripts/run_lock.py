"""One process at a time in a folder: that of a run, or of a search."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from plasticrl.scripts.user_error import UserError

LOCK = ".lock"


class BusyError(UserError):
    """Another process trains in the folder."""


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep other processes from training or searching in the folder, and from removing what is in it.

    Raises:
        BusyError: one is there.
    """
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise BusyError(f"{folder} is in use by another process: wait for it, or stop it") from None
    try:
        yield
    finally:
        lock.release()
