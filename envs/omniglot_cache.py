"""Cache of the Omniglot drawings as one array: its file name and its validation."""

from __future__ import annotations

import hashlib
import io
import os
import struct
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from plasticrl.envs.data import cache_dir, write_atomically
from plasticrl.envs.data_error import DataError
from plasticrl.envs.omniglot_layout import is_drawing

# Part of every key: increase it when the same drawings would give different arrays.
_VERSION = 1

# Errors that zipfile and numpy raise for files that are missing, damaged or of another format.
_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    KeyError,
    OSError,
    RuntimeError,
    ValueError,
)


def source_key(sources: Iterable[Path], settings: str) -> str:
    """Return a hex digest that changes with the source files and the settings.

    The digest of an archive covers its bytes. That of a folder covers the names, sizes and modification
    times of the drawings, since reading every file would take as long as the cache saves.

    Raises:
        DataError: a source cannot be read; the message names the file.
    """
    digest = hashlib.sha256(f"{_VERSION} {settings}".encode())
    for source in sources:
        try:
            digest.update(_tree_digest(source) if source.is_dir() else _file_digest(source))
        except OSError as problem:
            raise DataError(
                f"{problem.filename or source} cannot be read ({problem.strerror or problem}): "
                "make it readable, or put the official file in its place"
            ) from problem
    return digest.hexdigest()


def cache_file(key: str, size: int) -> Path:
    """Return the path of the cached array for a key."""
    return cache_dir() / f"omniglot-{size}-{key[:16]}.npz"


def read_cache(
    file: Path, key: str, shape: tuple[int, ...]
) -> tuple[NDArray[np.uint8], NDArray[np.str_]] | None:
    """Return images and alphabets from a cached file; None if it is missing, damaged or has another key."""
    try:
        with file.open("rb") as stream:
            # Verify the checksums first: numpy would trust the shape in a damaged header.
            with zipfile.ZipFile(stream) as archive:
                if archive.testzip() is not None:
                    return None
            stream.seek(0)
            with np.load(stream, allow_pickle=False) as stored:
                images, alphabets, its_key = stored["images"], stored["alphabets"], stored["key"]
    except _DAMAGE:
        return None
    if str(its_key) != key or images.dtype != np.uint8 or images.shape != shape:
        return None
    if alphabets.dtype.kind != "U" or alphabets.shape != shape[:1]:
        return None
    return images, alphabets


def write_cache(file: Path, key: str, images: NDArray[np.uint8], alphabets: NDArray[np.str_]) -> None:
    """Store the arrays compressed (8 MB at size 31); the file exists complete or not at all.

    Raises:
        OSError: the folder is not writable; the message names the way out.
    """
    packed = io.BytesIO()
    np.savez_compressed(packed, images=images, alphabets=alphabets, key=np.array(key))
    try:
        write_atomically(file, packed.getvalue())
    except OSError as problem:
        hint = "the cache is not writable, set PLASTICRL_CACHE to another folder"
        raise OSError(problem.errno, f"{problem.strerror or problem}: {hint}", str(file)) from problem


def _file_digest(file: Path) -> bytes:
    with file.open("rb") as stream:
        digest = hashlib.sha256()
        while block := stream.read(2**20):
            digest.update(block)
    return digest.digest()


def _tree_digest(folder: Path) -> bytes:
    def refuse(problem: OSError) -> None:
        raise problem  # os.walk would skip the folder

    entries = []
    for below, _, names in os.walk(folder, onerror=refuse):
        for name in names:
            path = Path(below, name).relative_to(folder).as_posix()
            if is_drawing(path):
                status = os.stat(os.path.join(below, name))
                entries.append(f"{path} {status.st_size} {status.st_mtime_ns}")
    return hashlib.sha256("\n".join(sorted(entries)).encode()).digest()
