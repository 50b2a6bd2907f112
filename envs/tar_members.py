"""Reading the wanted members of a tar.gz file into memory."""

from __future__ import annotations

import gzip
import tarfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import IO, cast

from plasticrl.envs.archive_limits import ArchiveLimits

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
            return _read_members(cast(IO[bytes], stream), wanted, limits)
    except (tarfile.HeaderError, zlib.error, EOFError, OSError, UnicodeError) as problem:
        raise limits.error(
            f"it is not an undamaged tar.gz ({problem or type(problem).__name__})"
        ) from problem


def _read_members(
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
