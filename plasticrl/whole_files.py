"""Safe reading of regular files up to a size limit, and atomic writing.

Both learners and commands use it, so the module lies below both.
"""

from __future__ import annotations

import errno
import os
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

_KINDS = {
    stat.S_IFLNK: "a link",
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
# Each flag is missing on some systems.
_O_BINARY, _O_NONBLOCK, _O_NOFOLLOW = (
    getattr(os, name, 0) for name in ("O_BINARY", "O_NONBLOCK", "O_NOFOLLOW")
)


_NO_FLUSHED_FOLDERS = (errno.EACCES, errno.EBADF, errno.EINVAL, errno.ENOTSUP, errno.EPERM)
_LONGEST_NAME = 200  # bytes of a name that are kept in that of the temporary file


class UnfitFileError(OSError):
    """A file is refused for its kind or its size; the message names the file and the cause."""

    def __init__(self, path: str | os.PathLike[str], cause: str) -> None:
        super().__init__(errno.EINVAL, cause, os.fspath(path))

    def __str__(self) -> str:
        return f"{self.filename} is {self.strerror}"


def kind_of(path: Path) -> str | None:
    """Return the kind of a path in words, or None for a regular file; links are not followed.

    Raises:
        OSError: the path does not exist.
    """
    return _kind(path.lstat())


def open_regular(path: Path, *, links: bool) -> BinaryIO:
    """Open a regular file for reading; a pipe does not block, and a device is not opened.

    Args:
        path: path of the file.
        links: accept a link to a regular file, as for paths given by the user.

    Raises:
        OSError: it cannot be opened, or is not a regular file.
    """
    _check_regular(path, path.stat() if links else path.lstat())
    flags = os.O_RDONLY | _O_BINARY | _O_NONBLOCK | (0 if links else _O_NOFOLLOW)
    stream = os.fdopen(os.open(path, flags), "rb")
    try:
        _check_regular(path, os.fstat(stream.fileno()))  # it may have been replaced since
    except OSError:
        stream.close()
        raise
    return stream


def _check_regular(path: Path, found: os.stat_result) -> None:
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if (kind := _kind(found)) is not None:
        raise UnfitFileError(path, f"{kind}, not a regular file")


def _kind(found: os.stat_result) -> str | None:
    return None if stat.S_ISREG(found.st_mode) else _KINDS.get(stat.S_IFMT(found.st_mode), "no file")


def check_size(path: Path, stream: BinaryIO, most: int) -> int:
    """Return the size of an open file in bytes.

    Raises:
        UnfitFileError: it is larger than ``most``.
    """
    size = os.fstat(stream.fileno()).st_size
    if size > most:
        raise UnfitFileError(path, f"{size:,} bytes long, but may have at most {most:,}")
    return size


def read_regular(path: Path, most: int) -> bytes:
    """Return the content of a regular file; links are refused.

    Args:
        path: path of the file.
        most: largest allowed size in bytes.

    Raises:
        OSError: it cannot be read, is not a regular file, or is too large.
    """
    with open_regular(path, links=False) as stream:
        return stream.read(check_size(path, stream, most))


def temporary_name(name: str, writer: str = "*") -> str:
    """Return the name of a file while :func:`written_whole` writes it, or a pattern for all writers."""
    kept = os.fsdecode(os.fsencode(name)[:_LONGEST_NAME])
    return f".{kept}.{writer}"


def this_writer() -> str:
    """Return the process and the thread, so that no two write to one temporary file."""
    return f"{os.getpid()}-{threading.get_ident()}"


ANY_WRITER = r"\d+(-\d+)?"
"""Pattern of what :func:`this_writer` returns, or the process alone, as earlier versions wrote."""


@contextmanager
def written_whole(path: Path) -> Iterator[BinaryIO]:
    """Open a file for writing that replaces ``path`` when the block ends without an error.

    Even a crash or a full disk leaves either the old file or the new one: the content goes to a temporary
    file in the same folder, which is flushed to disk and then renamed. If ``path`` is a link or a hard link,
    the link is replaced, and the file that it refers to does not change.

    Raises:
        OSError: the file cannot be written; the old file is kept.
    """
    temporary = path.with_name(temporary_name(path.name, this_writer()))
    temporary.unlink(missing_ok=True)
    try:
        with temporary.open("xb") as stream:  # "x" never follows a link
            yield stream
            _copy_mode(path, stream)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    try:
        flush_file(path.parent)  # the new name, too, is then on the disk
    except OSError as error:
        if error.errno not in _NO_FLUSHED_FOLDERS:  # the file itself is whole, and has its name
            raise


def _copy_mode(path: Path, stream: BinaryIO) -> None:
    """Give the new file the permissions of the one that it replaces."""
    if os.name == "posix" and os.path.lexists(path) and kind_of(path) is None:
        os.fchmod(stream.fileno(), stat.S_IMODE(path.lstat().st_mode))


def flush_file(path: Path) -> None:
    """Flush a file or a folder to disk, including content written by other processes.

    Raises:
        OSError: it cannot be written.
    """
    if os.name != "posix":  # elsewhere a folder cannot be opened, nor another's file be flushed
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_whole(path: Path, content: bytes) -> None:
    """Write a file atomically, as :func:`written_whole` does.

    Raises:
        OSError: the file cannot be written; the old file is kept.
    """
    with written_whole(path) as stream:
        stream.write(content)
