"""Reading selected files of an archive or folder into memory; nothing is ever unpacked to disk."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

from plasticrl.envs.archive_limits import ArchiveLimits
from plasticrl.envs.tar_members import read_tar_gz
from plasticrl.envs.zip_members import read_zip


def read_members(
    path: Path, wanted: Callable[[str], bool], *, largest: int, total: int, most: int
) -> dict[str, bytes]:
    """Read a folder with ``read_tree`` and a file with ``read_archive``; both return the same names."""
    read = read_tree if path.is_dir() else read_archive
    return read(path, wanted, largest=largest, total=total, most=most)


def read_archive(
    path: Path, wanted: Callable[[str], bool], *, largest: int, total: int, most: int
) -> dict[str, bytes]:
    """Return the contents of the wanted files of a zip or tar.gz by name (``folder/file``), in archive order.

    The archive is treated as hostile. Names that point outside it, links, devices, duplicate names,
    encrypted members, wrong checksums and anything beyond the limits are refused.

    Args:
        path: the archive; its type is detected from its first bytes.
        wanted: returns true for the name of a file to read.
        largest: maximum size of one wanted file, in bytes.
        total: maximum size of the archive itself, and of everything unpacked from it, in bytes.
        most: maximum number of members, including folders and unwanted files.

    Raises:
        DataError: the archive is missing, damaged, hostile or too large; the message names it.
    """
    limits = ArchiveLimits(path, largest, total, most)
    if not path.is_file():
        raise limits.error("there is no such file")
    size = path.stat().st_size
    if size > total:
        raise limits.error(f"it has {size:,} bytes, more than the {total:,} expected at most")
    try:
        with path.open("rb") as file:
            start = file.read(4)
    except OSError as problem:
        raise limits.error(f"it cannot be read ({problem})") from problem
    if start == b"PK\x03\x04":
        return read_zip(path, wanted, limits)
    if start.startswith(b"\x1f\x8b"):
        return read_tar_gz(path, wanted, limits)
    raise limits.error(f"it is neither a zip nor a tar.gz (it begins with {start!r})")


def read_tree(
    folder: Path, wanted: Callable[[str], bool], *, largest: int, total: int, most: int
) -> dict[str, bytes]:
    """Return the contents of the wanted files below a folder, sorted by name.

    Every name starts with that of the folder itself. Links to folders are not followed. The arguments are
    those of ``read_archive``; unwanted files are not counted.

    Raises:
        DataError: a wanted file is not a regular file or exceeds a limit; the message names it.
    """
    limits = ArchiveLimits(folder, largest, total, most)
    files = {}
    for below, _, names in os.walk(folder):
        for file in (Path(below, name) for name in names):
            name = f"{folder.name}/{file.relative_to(folder).as_posix()}"
            if wanted(name):
                files[limits.admit(name)] = file
    return {name: _read_file(files[name], name, limits) for name in sorted(files)}


def _read_file(file: Path, name: str, limits: ArchiveLimits) -> bytes:
    try:
        found = file.stat()
        if not stat.S_ISREG(found.st_mode):
            raise limits.error(f"{name!r} is not a regular file")
        with file.open("rb") as stream:
            return limits.read(name, stream, found.st_size)
    except OSError as problem:
        raise limits.error(f"{name!r} cannot be read ({problem})") from problem
