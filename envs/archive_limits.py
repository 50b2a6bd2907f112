"""Limits on the contents of an archive: member names, sizes and the number of members."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import IO

from plasticrl.envs.data_error import DataError


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
