"""Files that are read only where they are regular and of a sane size, and that are written whole.

Learners and commands keep their files by these rules, so the module lies below both.
"""

from __future__ import annotations

import errno
import os
import stat
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
# Each is missing on some systems.
_O_BINARY, _O_NONBLOCK, _O_NOFOLLOW = (
    getattr(os, name, 0) for name in ("O_BINARY", "O_NONBLOCK", "O_NOFOLLOW")
)


_NO_FLUSHED_FOLDERS = (errno.EACCES, errno.EBADF, errno.EINVAL, errno.ENOTSUP, errno.EPERM)
_LONGEST_NAME = 200  # bytes of a name that are kept in that of the temporary file


class UnfitFileError(OSError):
    """A file that is not read for its kind or its size; the text names both it and the cause."""

    def __init__(self, path: str | os.PathLike[str], cause: str) -> None:
        super().__init__(errno.EINVAL, cause, os.fspath(path))

    def __str__(self) -> str:
        return f"{self.filename} is {self.strerror}"


def kind_of(path: Path) -> str | None:
    """The kind of what has this name, in words; None for a regular file. Links are not followed.

    Raises:
        OSError: nothing has this name.
    """
    return _kind(path.lstat())


def open_regular(path: Path, *, links: bool) -> BinaryIO:
    """Open a regular file to read it. A pipe blocks nobody here, and no device is opened.

    Args:
        path: of the file.
        links: whether a link to a regular file will do: it does where the user has named it.

    Raises:
        OSError: it cannot be opened, or is no regular file.
    """
    _check_regular(path, path.stat() if links else path.lstat())
    flags = os.O_RDONLY | _O_BINARY | _O_NONBLOCK | (0 if links else _O_NOFOLLOW)
    stream = os.fdopen(os.open(path, flags), "rb")
    try:
        _check_regular(path, os.fstat(stream.fileno()))  # it may be another by now
    except OSError:
        stream.close()
        raise
    return stream


def _check_regular(path: Path, found: os.stat_result) -> None:
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if (kind := _kind(found)) is not None:
        raise UnfitFileError(path, f"{kind}, where a regular file belongs")


def _kind(found: os.stat_result) -> str | None:
    return None if stat.S_ISREG(found.st_mode) else _KINDS.get(stat.S_IFMT(found.st_mode), "no file")


def check_size(path: Path, stream: BinaryIO, most: int) -> int:
    """The size of an open file in bytes.

    Raises:
        UnfitFileError: it is larger than ``most``.
    """
    size = os.fstat(stream.fileno()).st_size
    if size > most:
        raise UnfitFileError(path, f"{size:,} bytes long, where no more than {most:,} belong")
    return size


def read_regular(path: Path, most: int) -> bytes:
    """The content of a regular file that may not be a link.

    Args:
        path: of the file.
        most: bytes that it may have.

    Raises:
        OSError: it cannot be read, is no regular file, or is too large.
    """
    with open_regular(path, links=False) as stream:
        return stream.read(check_size(path, stream, most))


def temporary_name(name: str, process: int | str = "*") -> str:
    """The name of a file while :func:`written_whole` writes it; by default the pattern of all processes."""
    kept = os.fsdecode(os.fsencode(name)[:_LONGEST_NAME])
    return f".{kept}.{process}"


@contextmanager
def written_whole(path: Path) -> Iterator[BinaryIO]:
    """A file to write that takes the place of ``path`` when the block ends without an error.

    Even a crash or a full disk leaves the old file or the new one: the content goes to a temporary file
    beside it, which is flushed to the disk and then takes its name. A link or a second name of the old
    file is replaced; what it leads to stays as it is.

    Raises:
        OSError: the file cannot be written; what was there is still there.
    """
    temporary = path.with_name(temporary_name(path.name, os.getpid()))
    temporary.unlink(missing_ok=True)
    try:
        with temporary.open("xb") as stream:  # never through a link that somebody has put there
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
    """Write to the disk what a file or a folder has got so far, whoever wrote it.

    Raises:
        OSError: it cannot be written.
    """
    if os.name != "posix":  # elsewhere a folder cannot be opened, nor a file flushed by another
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_whole(path: Path, content: bytes) -> None:
    """Write a file as in :func:`written_whole`.

    Raises:
        OSError: the file cannot be written; what was there is still there.
    """
    with written_whole(path) as stream:
        stream.write(content)
