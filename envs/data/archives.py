"""Chosen files of an archive or a folder, read into memory; nothing is unpacked to disk."""

from __future__ import annotations

import gzip
import os
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import IO, cast

from plasticrl.envs.data.download import DataError


class ArchiveLimits:
    """Checker of an archive or folder against limits, used while it is read.

    A member's declared size is charged against the budget before the member is read, and reading stops at
    that size. The declared sizes are not trusted, but they bound the output.

    Args:
        path: the archive or folder, for error messages.
        largest: maximum size of one member, in bytes.
        total: maximum number of unpacked bytes in all.
        most: maximum number of members, including folders and members that are not read.
    """

    def __init__(self, path: Path, largest: int, total: int, most: int) -> None:
        self._path = path
        self._largest = largest
        self._total = total
        self._left = total
        self._most = most
        self._names: set[str] = set()

    def error(self, problem: str) -> DataError:
        """Return an error that names the file, the problem and the way out."""
        return DataError(
            f"{self._path}: {problem}; nothing of it was used. Put the official file in its place"
        )

    def admit(self, name: str) -> str:
        """Count a member and return its normalised name (``a/b``).

        Raises:
            DataError: the name points outside the archive, is a duplicate, or exceeds the member limit.
        """
        parts = PurePosixPath(name).parts
        if not parts or name.startswith("/") or ".." in parts or set(name) & set("\\:\0"):
            raise self.error(f"the member name {name!r} points outside it")
        plain = "/".join(parts)
        if plain in self._names:
            raise self.error(f"it holds {plain!r} twice")
        self._names.add(plain)
        self.allow_members(len(self._names))
        return plain

    def allow_members(self, count: int) -> None:
        """Check the number of members.

        Raises:
            DataError: ``count`` exceeds the limit.
        """
        if count > self._most:
            raise self.error(f"it holds more than the {self._most:,} members expected at most")

    def charge(self, size: int) -> None:
        """Charge ``size`` bytes that are about to be unpacked.

        Raises:
            DataError: the total exceeds the limit.
        """
        if size > self._left:
            raise self.error(f"it unpacks to more than the {self._total:,} bytes expected at most")
        self._left -= size

    def read(self, name: str, stream: IO[bytes], size: int) -> bytes:
        """Read the ``size`` bytes of a wanted member.

        Raises:
            DataError: the member is larger than allowed, or ``take`` fails.
        """
        if size > self._largest:
            raise self.error(f"{name!r} has {size:,} bytes, more than the {self._largest:,} expected at most")
        return self.take(name, stream, size)

    def take(self, name: str, stream: IO[bytes], size: int) -> bytes:
        """Read ``size`` bytes from a stream and charge them.

        Raises:
            DataError: the total exceeds the limit, or the stream ends early.
        """
        self.charge(size)
        content = stream.read(size)
        if len(content) != size:
            raise self.error(f"{name!r} ends after {len(content):,} of {size:,} bytes")
        return content


_BLOCK = 512
_CHUNK = 1 << 20
_FILES = (tarfile.REGTYPE, tarfile.AREGTYPE)
# Extended headers (owners, exact times): skipped and not used.
_REMARKS = (tarfile.XHDTYPE, tarfile.XGLTYPE)


def read_tar_gz(path: Path, wanted: Callable[[str], bool], limits: ArchiveLimits) -> dict[str, bytes]:
    """Read the wanted members of a tar.gz; see ``read_archive``.

    This function walks the blocks itself and uses ``tarfile`` only to parse the 512 bytes of a header.
    ``tarfile`` would mistake a damaged header for the end of the archive, and it reads extended headers
    without a limit.

    Raises:
        DataError: a member is hostile or the file is damaged.
    """
    try:
        with gzip.open(path) as stream:
            return _read_tar_members(cast(IO[bytes], stream), wanted, limits)
    except (tarfile.HeaderError, zlib.error, EOFError, OSError, UnicodeError) as problem:
        raise limits.error(
            f"it is not an undamaged tar.gz ({problem or type(problem).__name__})"
        ) from problem


def _read_tar_members(
    stream: IO[bytes], wanted: Callable[[str], bool], limits: ArchiveLimits
) -> dict[str, bytes]:
    found = {}
    while any(block := limits.take("a header", stream, _BLOCK)):
        header = tarfile.TarInfo.frombuf(block, "utf-8", "strict")
        name = header.name
        if header.size < 0:
            raise limits.error(f"{name!r} declares a size of {header.size:,} bytes")
        if header.type not in _REMARKS:
            name = limits.admit(name)
            if header.type not in (*_FILES, tarfile.DIRTYPE) or (header.isdir() and header.size):
                raise limits.error(f"{name!r} is a link, a device or another special file")
        if header.type in _FILES and wanted(name):
            found[name] = limits.read(name, stream, header.size)
        else:
            _pass_over(stream, header.size, limits)
        _pass_over(stream, -header.size % _BLOCK, limits)
    # Read to the end of the stream, where gzip verifies its checksum; an archive ends with zeros.
    while rest := stream.read(_CHUNK):
        limits.charge(len(rest))
        if any(rest):
            raise limits.error("there is data after its last member")
    return found


def _pass_over(stream: IO[bytes], size: int, limits: ArchiveLimits) -> None:
    for start in range(0, size, _CHUNK):
        limits.take("a member", stream, min(_CHUNK, size - start))


_ENTRY = b"PK\x01\x02"  # signature of an entry of the central directory
_END = b"PK\x05\x06"  # signature of the end of the central directory
_MANY = 0xFFFF  # member count of a zip64 file, which stores the real one elsewhere
# Errors that zipfile raises for damaged files, including its own.
_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    IndexError,
    NotImplementedError,
    OSError,
    OverflowError,
    RuntimeError,
    ValueError,
)


def read_zip(path: Path, wanted: Callable[[str], bool], limits: ArchiveLimits) -> dict[str, bytes]:
    """Read the wanted members of a zip; see ``read_archive``.

    Raises:
        DataError: a member is hostile or the file is damaged.
    """
    try:
        content = path.read_bytes()
        # Check before zipfile creates an object for every entry: a small file can list millions.
        limits.allow_members(content.count(_ENTRY))
        with zipfile.ZipFile(BytesIO(content)) as archive:
            # zipfile does not compare the count: a damaged entry could swallow those after it.
            declared = struct.unpack_from("<H", content, content.rindex(_END) + 10)[0]
            if declared not in (_MANY, len(archive.infolist())):
                raise limits.error(
                    f"it declares {declared} members, but {len(archive.infolist())} are listed"
                )
            return _read_zip_members(archive, wanted, limits)
    except DataError:
        raise
    except _DAMAGE as problem:
        raise limits.error(f"it is not an undamaged zip ({problem or type(problem).__name__})") from problem


def _read_zip_members(
    archive: zipfile.ZipFile, wanted: Callable[[str], bool], limits: ArchiveLimits
) -> dict[str, bytes]:
    files = []
    for info in archive.infolist():
        # The name as stored in the file: `filename` is cut off at a zero byte.
        name = limits.admit(info.orig_filename)
        kind = stat.S_IFMT(info.external_attr >> 16)  # 0 if the zip was not written on Unix
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise limits.error(f"{name!r} is a link or a device, not a file")
        if info.flag_bits & 0x1:
            raise limits.error(f"{name!r} is encrypted")
        # Other methods cannot be decompressed in chunks, and no official file uses them.
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise limits.error(f"{name!r} uses a compression method other than stored or deflated")
        if not info.is_dir() and wanted(name):
            files.append((name, info))
    found = {}
    for name, info in files:
        with archive.open(info) as stream:
            found[name] = limits.read(name, stream, info.file_size)
    return found


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
