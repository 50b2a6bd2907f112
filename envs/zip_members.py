"""Reading the wanted members of a zip file into memory."""

from __future__ import annotations

import stat
import struct
import zipfile
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

from plasticrl.envs.archive_limits import ArchiveLimits
from plasticrl.envs.data_error import DataError

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
            return _read_members(archive, wanted, limits)
    except DataError:
        raise
    except _DAMAGE as problem:
        raise limits.error(f"it is not an undamaged zip ({problem or type(problem).__name__})") from problem


def _read_members(
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
