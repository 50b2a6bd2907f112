"""Errors that a command reports in one line, and the failures of single runs among many."""

from __future__ import annotations

import errno
import io
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from typing import TypeAlias

_AGAIN = "then run the same command again"
_ROOM = f"free space on its disk, {_AGAIN}"
_RIGHTS = "give this user permission, or choose another place"
_LOST = f"its disk or network fails: repair it, {_AGAIN}"
_WAYS_OUT = {
    errno.ENOSPC: _ROOM,
    errno.EDQUOT: _ROOM,
    errno.EFBIG: f"raise the limit on the size of files (ulimit -f), {_AGAIN}",
    errno.EROFS: "make its file system writable, or choose another place",
    errno.EACCES: _RIGHTS,
    errno.EPERM: _RIGHTS,
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.ENOTDIR: "a part of the path is a file, not a folder: choose another place",
    errno.EEXIST: "a file is in the place of a folder: choose another place",
    errno.EISDIR: "a folder is in the place of a file: choose another place",
    errno.ENOENT: f"it was removed or renamed, or never existed: put it back, {_AGAIN}",
    errno.ELOOP: "its symbolic links go in a circle: choose another place",
    errno.EMFILE: f"raise the limit on open files (ulimit -n), {_AGAIN}",
    errno.ENFILE: f"close other programs, {_AGAIN}",
    errno.EAGAIN: f"raise the limit on processes (ulimit -u), {_AGAIN}",
    errno.EIO: _LOST,
    errno.ESTALE: _LOST,
}
_OUT_OF_MEMORY = (
    "out of memory: use a smaller network, task or batch, such as by --hidden-size, --n-envs or --size on "
    "the maze, --n-bits or --batch-size elsewhere"
)
# torch raises a RuntimeError, numpy a ValueError if an array's size overflows.
_SAYS_OUT_OF_MEMORY = re.compile(
    "can't allocate memory|out of memory|array is too big|Maximum allowed dimension"
    "|Storage size calculation overflowed|[Cc]annot allocate memory"
)
_LONGEST_PATH = 300  # characters
COLOR = re.compile(r"\x1b\[[0-9;]*m")


def in_one_line(error: BaseException) -> str | None:
    """Return cause and remedy of an error of the system; None for any other error, which may be a defect."""
    if isinstance(error, OverflowError):
        return f"a number is too large ({error}): give a smaller one"
    if isinstance(error, OSError):
        if error.errno == errno.ENOMEM:
            return _OUT_OF_MEMORY
        return None if isinstance(error, io.UnsupportedOperation) else os_error_in_one_line(error)
    if isinstance(error, MemoryError):
        return _OUT_OF_MEMORY
    if isinstance(error, (RuntimeError, ValueError, ImportError)):
        return _said_by(str(error))
    return None


def os_error_in_one_line(error: OSError, about: str = "") -> str:
    """Return the cause and the remedy of an OSError.

    Args:
        error: the error.
        about: the failed action, such as "cannot write to runs". Default: the name of the file, if known.
    """
    place = place_of(error)
    reason = " ".join((error.strerror or str(error)).split()) or type(error).__name__
    way_out = _WAYS_OUT.get(error.errno or 0, f"repair it, {_AGAIN}")
    return f"{about or shortened(place) or 'the system refuses'}: {reason}: {way_out}"


def shortened(path: str | os.PathLike[str]) -> str:
    """Return a path, shortened in the middle if it is too long for a message."""
    text = os.fspath(path)
    half = _LONGEST_PATH // 2
    return text if len(text) <= _LONGEST_PATH else f"{text[:half]}...{text[-half:]}"


def place_of(error: OSError) -> str:
    """Return the path of the file that an error is about; empty if unknown."""
    return os.fsdecode(error.filename) if isinstance(error.filename, (str, bytes)) else ""


def _said_by(text: str) -> str | None:
    """Return cause and remedy of a system error that a library reports in its own words; None for others."""
    if _SAYS_OUT_OF_MEMORY.search(text):
        return _OUT_OF_MEMORY
    if os.strerror(errno.EMFILE) in text:
        return f"{os.strerror(errno.EMFILE)}: {_WAYS_OUT[errno.EMFILE]}"
    if "can't start new thread" in text:
        return f"no thread or process can be started: {_WAYS_OUT[errno.EAGAIN]}"
    return None


class UserError(Exception):
    """The user's input is wrong; the message names the cause and the remedy."""


def one_line(what: object, most: int = 200) -> str:
    """Return a text from elsewhere as part of a message: on one line, printable, and not too long."""
    text = " ".join(COLOR.sub("", str(what)).split())
    text = "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text[: most + 1])
    return text if len(text) <= most else text[:most] + "..."


def perhaps(word: str, names: Iterable[str]) -> str:
    """Return the names that an unknown word may stand for, as the end of a message; empty for none.

    Args:
        word: the word, perhaps with dashes in front.
        names: the known names.
    """
    known, bare = sorted(names), word.lstrip("-")
    found = [name for name in known if len(bare) > 2 and bare in name]
    found = found or get_close_matches(word, known, n=2, cutoff=0.75)
    return f"; perhaps you meant {' or '.join(found)}" if found else ""


@contextmanager
def as_user_error(*errors: type[Exception], about: str = "") -> Iterator[None]:
    """Turn ``errors`` raised in the block into a :class:`UserError` with the same text.

    For an OSError with ``about``, the text also names the remedy.

    Use it only for code that raises these errors for wrong input; other errors should keep their traceback.

    Args:
        *errors: the exceptions to convert.
        about: subject to put before the text.
    """
    try:
        yield
    except errors as error:
        if about and isinstance(error, OSError):
            raise UserError(os_error_in_one_line(error, about)) from error
        text = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"{about}: {text}" if about else text) from error


Failure: TypeAlias = tuple[str, str]
"""The label of a run, and the reason of its failure."""


def reason_of_failure(work: Callable[[], object]) -> str:
    """Run ``work``; return the reason if it failed, else an empty text. Print the traceback of defects."""
    try:
        work()
    except UserError as error:
        return str(error)
    except Exception as error:
        if (text := in_one_line(error)) is not None:
            return text
        traceback.print_exc(file=sys.stderr)
        return f"{type(error).__name__}: {error}"
    return ""


def raise_failures(failed: Sequence[Failure], among: int) -> None:
    """Raise UserError if runs failed.

    Args:
        failed: the runs that failed, with the reasons.
        among: total number of runs.

    Raises:
        UserError: runs failed; the message lists them with the reasons.
    """
    if failed:
        reasons = "; ".join(f"{label}: {reason}" for label, reason in failed)
        raise UserError(f"{len(failed)} of {among} trainings failed: {reasons}")
