"""Whether a run in the way is one to go on with, and who may do so."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from plasticrl.scripts.run import Run
from plasticrl.scripts.run_folder import CONFIG, is_finished, read_json
from plasticrl.scripts.user_error import UserError

LOCK = ".lock"


class BusyError(UserError):
    """Another process trains in the folder."""


def is_unfinished(folder: Path, run: Run) -> bool:
    """Whether the folder holds a training of just this run that did not come to its end."""
    if is_finished(folder) or not (folder / CONFIG).is_file():
        return False
    return read_json(folder / CONFIG) == run.as_dict()


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep other processes from training in the folder.

    Raises:
        BusyError: one does.
    """
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise BusyError(f"{folder} is being trained by another process: wait for it, or stop it") from None
    try:
        yield
    finally:
        lock.release()
