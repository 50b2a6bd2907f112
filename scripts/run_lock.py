"""One process at a time in a folder: that of a run, or of a search."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from plasticrl.scripts.user_error import UserError
from plasticrl.whole_files import kind_of

LOCK = ".lock"
_NO_LOCKS = {errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP}  # says a file system that has none


class BusyError(UserError):
    """Another process trains in the folder."""


def in_use(folder: Path) -> BusyError:
    """The error of a folder that another process holds."""
    return BusyError(f"{folder} is in use by another process: wait for it, or stop it")


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep other processes from training or searching in the folder, and from removing what is in it.

    Raises:
        BusyError: one is there.
        UserError: the lock is a link, or has the content of another file.
    """
    path = folder / LOCK
    if os.path.lexists(path) and (
        kind_of(path) is not None or path.stat().st_nlink > 1 < path.stat().st_size
    ):
        raise UserError(f"{path} is not what a run locks its folder with: remove it")
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise in_use(folder) from None
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        print(
            f"plasticrl: warning: {folder} is on a file system without locks: let nobody else train there",
            file=sys.stderr,
        )
    try:
        yield
    finally:
        lock.release()
