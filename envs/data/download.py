"""Locating the files of the datasets: existing files, or official ones that are downloaded and verified."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import NamedTuple


class DataError(ValueError):
    """Dataset files that cannot be used; the message names the file, the problem and a way out."""


class DataPart(NamedTuple):
    """One official archive of a dataset."""

    folder: str  # folder that it unpacks to
    archive: str  # its file name
    address: str
    sha256: str


_OMNIGLOT = "https://github.com/brendenlake/omniglot/raw/master/python"
_CIFAR = "https://www.cs.toronto.edu/~kriz"

DATASETS: dict[str, tuple[DataPart, ...]] = {
    "omniglot": (
        DataPart(
            "images_background",
            "images_background.zip",
            f"{_OMNIGLOT}/images_background.zip",
            "ad41ab679c8b5d90b271ef46be6987cc81211774a695c29dcc5367b2b26ee640",
        ),
        DataPart(
            "images_evaluation",
            "images_evaluation.zip",
            f"{_OMNIGLOT}/images_evaluation.zip",
            "1f61a8f3366785b057fc117d9228e78a16e3d976c8953b2a10fcc74cf0609cee",
        ),
    ),
    "cifar-10": (
        DataPart(
            "cifar-10-batches-bin",
            "cifar-10-binary.tar.gz",
            f"{_CIFAR}/cifar-10-binary.tar.gz",
            "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
        ),
    ),
    "cifar-100": (
        DataPart(
            "cifar-100-binary",
            "cifar-100-binary.tar.gz",
            f"{_CIFAR}/cifar-100-binary.tar.gz",
            "58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec",
        ),
    ),
}
"""The official archives of every dataset, with pinned checksums."""


def find_dataset(
    name: str, data_dir: str | os.PathLike[str] | None = None, download: bool = True
) -> dict[str, Path]:
    """Return the path of every part of a dataset: an archive or a folder to pass to ``read_members``.

    The files are expected in ``data_dir`` if given, else in the folder of the environment variable
    ``PLASTICRL_DATA`` if set. Each part lies there or in the subfolder ``name``, as the official archive or
    as the unpacked folder; if both exist, the archive is used. These files are not compared with the
    pinned checksums: their readers check structure and counts. Without such a folder, the archives are
    taken from ``cache_dir()``. Missing ones are downloaded to it and verified by SHA-256.

    Args:
        name: "omniglot", "cifar-10" or "cifar-100".
        data_dir: folder of existing files.
        download: allow downloading.

    Returns:
        Path of each part by folder name: ``images_background`` and ``images_evaluation``,
        ``cifar-10-batches-bin``, or ``cifar-100-binary``.

    Raises:
        ValueError: the dataset is unknown.
        DataError: a part is missing or its download failed; the message says how to provide it.
    """
    if name not in DATASETS:
        raise ValueError(f"dataset must be one of {', '.join(DATASETS)}, got {name!r}")
    place = data_dir if data_dir is not None else os.environ.get("PLASTICRL_DATA") or None
    if place is None:
        return {part.folder: _from_cache(part, download) for part in DATASETS[name]}
    origin = "data_dir" if data_dir is not None else "PLASTICRL_DATA"
    return {
        part.folder: _from_folder(name, part, Path(os.path.expanduser(place)), origin)
        for part in DATASETS[name]
    }


def cache_dir() -> Path:
    """Return the folder of downloads and of data computed from them; it may not exist yet.

    It is ``PLASTICRL_CACHE`` if set, else the user's cache folder for plasticrl.
    """
    given = os.environ.get("PLASTICRL_CACHE")
    if given:
        return Path(os.path.expanduser(given))
    import pooch

    return Path(pooch.os_cache("plasticrl"))


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that it exists complete or not at all; creates its folder.

    Raises:
        OSError: the folder is not writable; no partial file is left behind.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        os.umask(mask := os.umask(0o077))  # the umask can only be read by setting it; be strict meanwhile
        Path(name).chmod(0o666 & ~mask)  # mkstemp gives access to the owner only
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _from_folder(name: str, part: DataPart, place: Path, origin: str) -> Path:
    for folder in (place, place / name):
        if (folder / part.archive).is_file():
            return folder / part.archive
        if (folder / part.folder).is_dir():
            return folder / part.folder
    raise DataError(
        f"{place} ({origin}): neither {part.archive} nor the folder {part.folder} is there or in its "
        f"subfolder {name}. Put one of them there ({part.address}), or "
        f"{'give no data_dir' if origin == 'data_dir' else 'unset PLASTICRL_DATA'} to have it downloaded"
    )


def _from_cache(part: DataPart, download: bool) -> Path:
    import pooch

    file = cache_dir() / part.archive
    known = f"sha256:{part.sha256}"
    if not download and not (file.is_file() and pooch.file_hash(str(file)) == part.sha256):
        raise DataError(
            f"{file}: the official archive is not there, and downloading is disabled. Enable it, or name "
            f"a folder that holds {part.archive} with data_dir or PLASTICRL_DATA"
        )
    try:
        pooch.retrieve(part.address, known, fname=part.archive, path=cache_dir())
    except (OSError, ValueError) as problem:
        raise DataError(
            f"{part.address} could not be downloaded to {file} ({problem}). Try again, or get {part.archive} "
            "by other means and name its folder with data_dir or PLASTICRL_DATA"
        ) from problem
    return file
