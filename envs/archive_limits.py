"""How much of an archive is believed: names that stay inside it, sizes, and how many members."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import IO

from plasticrl.envs.data_error import DataError


class ArchiveLimits:
    """Checks one archive or folder while it is read.

    A member's claimed size is charged before it is read, and no more than that is ever read of it: what an
    archive claims is not trusted, but it is the most that comes out.

    Args:
        path: the archive or folder, for the texts of errors.
        largest: most bytes that one member may have.
        total: most bytes that may be unpacked altogether.
        most: most members, folders and unwanted ones included.
    """

    def __init__(self, path: Path, largest: int, total: int, most: int) -> None:
        self._path = path
        self._largest = largest
        self._total = total
        self._left = total
        self._most = most
        self._names: set[str] = set()

    def error(self, problem: str) -> DataError:
        """The error that names the file, what is wrong with it, and the way out."""
        return DataError(
            f"{self._path}: {problem}; nothing of it was used. Put the official file in its place"
        )

    def admit(self, name: str) -> str:
        """Count a member and return its name in one spelling (``a/b``).

        Raises:
            DataError: the name leaves the archive, was seen before, or is one too many.
        """
        parts = PurePosixPath(name).parts
        if not parts or name.startswith("/") or ".." in parts or set(name) & set("\\:\0"):
            raise self.error(f"the member name {name!r} does not stay inside it")
        plain = "/".join(parts)
        if plain in self._names:
            raise self.error(f"it holds {plain!r} twice")
        self._names.add(plain)
        self.allow_members(len(self._names))
        return plain

    def allow_members(self, count: int) -> None:
        """Check a number of members.

        Raises:
            DataError: it is more than allowed.
        """
        if count > self._most:
            raise self.error(f"it holds more than the {self._most:,} members expected at most")

    def charge(self, size: int) -> None:
        """Count bytes that are about to be unpacked.

        Raises:
            DataError: together with those before they are more than allowed.
        """
        if size > self._left:
            raise self.error(f"it unpacks to more than the {self._total:,} bytes expected at most")
        self._left -= size

    def read(self, name: str, stream: IO[bytes], size: int) -> bytes:
        """Read the ``size`` bytes of a wanted member.

        Raises:
            DataError: it is larger than allowed, or as ``take``.
        """
        if size > self._largest:
            raise self.error(f"{name!r} has {size:,} bytes, more than the {self._largest:,} expected at most")
        return self.take(name, stream, size)

    def take(self, name: str, stream: IO[bytes], size: int) -> bytes:
        """Read ``size`` bytes of anything.

        Raises:
            DataError: all that was read is more than allowed, or the stream ends before.
        """
        self.charge(size)
        content = stream.read(size)
        if len(content) != size:
            raise self.error(f"{name!r} ends after {len(content):,} of {size:,} bytes")
        return content
