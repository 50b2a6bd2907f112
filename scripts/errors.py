"""Errors that a command reports in one line, and runs that fail among others."""

from __future__ import annotations

import errno
import io
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeAlias

_AGAIN = "then run the same command again"
_ROOM = f"make room on its disk, {_AGAIN}"
_RIGHTS = "give this user the right to it, or choose another place"
_LOST = f"its disk or network fails: mend it, {_AGAIN}"
_WAYS_OUT = {
    errno.ENOSPC: _ROOM,
    errno.EDQUOT: _ROOM,
    errno.EFBIG: f"raise the limit on the size of files (ulimit -f), {_AGAIN}",
    errno.EROFS: "make its file system writable, or choose another place",
    errno.EACCES: _RIGHTS,
    errno.EPERM: _RIGHTS,
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.ENOTDIR: "a part of the path is a file, not a folder: choose another place",
    errno.EEXIST: "a file is where a folder belongs: choose another place",
    errno.EISDIR: "a folder is where a file belongs: choose another place",
    errno.ENOENT: f"it was removed or renamed, or never was: put it back, {_AGAIN}",
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
# torch raises a RuntimeError, numpy a ValueError where not even the size of an array can be told.
_SAYS_OUT_OF_MEMORY = re.compile(
    "can't allocate memory|out of memory|array is too big|Maximum allowed dimension"
    "|Storage size calculation overflowed|[Cc]annot allocate memory"
)
_LONGEST_PATH = 300  # letters


def in_one_line(error: BaseException) -> str | None:
    """The cause of a machine's error and the way out; None for any other error, which may be a defect."""
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
    """The cause and the way out.

    Args:
        error: what the system says.
        about: what could not be done, such as "cannot write to runs"; default: names the file, where known.
    """
    place = place_of(error)
    reason = " ".join((error.strerror or str(error)).split()) or type(error).__name__
    way_out = _WAYS_OUT.get(error.errno or 0, f"mend it, {_AGAIN}")
    return f"{about or shortened(place) or 'the system refuses'}: {reason}: {way_out}"


def shortened(path: str | os.PathLike[str]) -> str:
    """A path as it fits into a line."""
    text = os.fspath(path)
    half = _LONGEST_PATH // 2
    return text if len(text) <= _LONGEST_PATH else f"{text[:half]}...{text[-half:]}"


def place_of(error: OSError) -> str:
    """The file that an error is about; empty where it does not say."""
    return os.fsdecode(error.filename) if isinstance(error.filename, (str, bytes)) else ""


def _said_by(text: str) -> str | None:
    """The same where a library says it in words of its own."""
    if _SAYS_OUT_OF_MEMORY.search(text):
        return _OUT_OF_MEMORY
    if os.strerror(errno.EMFILE) in text:
        return f"{os.strerror(errno.EMFILE)}: {_WAYS_OUT[errno.EMFILE]}"
    if "can't start new thread" in text:
        return f"no thread or process can be started: {_WAYS_OUT[errno.EAGAIN]}"
    return None


class UserError(Exception):
    """The input is at fault; the text names the cause and the way out."""


def one_line(what: object, most: int = 200) -> str:
    """A stranger's text as part of a message: on one line, printable, and not too long."""
    text = " ".join(str(what).split())
    text = "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text[: most + 1])
    return text if len(text) <= most else text[:most] + "..."


@contextmanager
def blame_user(*errors: type[Exception], about: str = "") -> Iterator[None]:
    """Turn ``errors`` raised inside into a :class:`UserError` with the same text.

    An OSError with ``about`` also says what to do about it.

    Only for code that raises them for wrong input: anything else should keep its traceback.

    Args:
        *errors: the exceptions to turn.
        about: put before the text, as what it is about.
    """
    try:
        yield
    except errors as error:
        if about and isinstance(error, OSError):
            raise UserError(os_error_in_one_line(error, about)) from error
        text = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"{about}: {text}" if about else text) from error


Failure: TypeAlias = tuple[str, str]
"""The label of a run, and the reason."""


def reason_of_failure(work: Callable[[], object]) -> str:
    """Do it; why it failed, or an empty text. A defect of the program is also shown with its traceback."""
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


def blame_failures(failed: Sequence[Failure], among: int) -> None:
    """Refuse to go on if runs failed.

    Args:
        failed: which, and why.
        among: how many there were.

    Raises:
        UserError: some did; the text says which and why.
    """
    if failed:
        reasons = "; ".join(f"{label}: {reason}" for label, reason in failed)
        raise UserError(f"{len(failed)} of {among} trainings failed: {reasons}")
