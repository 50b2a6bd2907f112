"""Locating, verifying and reading the files of the datasets."""

from __future__ import annotations

import os
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from plasticrl.whole_files import check_size, open_regular


class DataError(ValueError):
    """Dataset files that cannot be used; the message names the file, the problem and a way out."""


class DataPart(NamedTuple):
    """One official archive of a dataset."""

    folder: str  # folder that it unpacks to
    address: str
    sha256: str

    @property
    def archive(self) -> str:
        """Name of the file."""
        return self.address.rpartition("/")[2]


_OMNIGLOT = "https://github.com/brendenlake/omniglot/raw/master/python"
_CIFAR = "https://www.cs.toronto.edu/~kriz"

DATASETS: dict[str, tuple[DataPart, ...]] = {
    "omniglot": (
        DataPart(
            "images_background",
            f"{_OMNIGLOT}/images_background.zip",
            "ad41ab679c8b5d90b271ef46be6987cc81211774a695c29dcc5367b2b26ee640",
        ),
        DataPart(
            "images_evaluation",
            f"{_OMNIGLOT}/images_evaluation.zip",
            "1f61a8f3366785b057fc117d9228e78a16e3d976c8953b2a10fcc74cf0609cee",
        ),
    ),
    "cifar-10": (
        DataPart(
            "cifar-10-batches-bin",
            f"{_CIFAR}/cifar-10-binary.tar.gz",
            "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
        ),
    ),
    "cifar-100": (
        DataPart(
            "cifar-100-binary",
            f"{_CIFAR}/cifar-100-binary.tar.gz",
            "58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec",
        ),
    ),
}
"""The official archives of every dataset, with pinned checksums."""


def find_dataset(
    name: str, data_dir: str | os.PathLike[str] | None = None, download: bool = True
) -> dict[str, Path]:
    """Return the path of every part of a dataset: an archive or a folder to pass to ``read_files``.

    The files are expected in ``data_dir`` if given, else in the folder of the environment variable
    ``PLASTICRL_DATA`` if set. Each part lies there or in the subfolder ``name``, as the official archive or
    as the unpacked folder; if both exist, the archive is used. Without such a folder, the archives are
    taken from ``cache_dir()``, and missing ones are downloaded to it.

    An archive must have the pinned SHA-256, wherever it lies. An unpacked folder is not compared with
    anything here: its readers check structure and counts.

    Args:
        name: "omniglot", "cifar-10" or "cifar-100".
        data_dir: folder of existing files.
        download: allow downloading.

    Returns:
        Path of each part by folder name: ``images_background`` and ``images_evaluation``,
        ``cifar-10-batches-bin``, or ``cifar-100-binary``.

    Raises:
        ValueError: the dataset is unknown.
        DataError: a part is missing, another file lies in its place, or its download failed; the message
            says how to provide it.
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


def read_files(source: Path, wanted: Callable[[str], bool], largest: int) -> dict[str, bytes]:
    """Return the contents of the wanted files of a dataset by name (``folder/file``).

    Args:
        source: an archive or a folder that ``find_dataset`` returned. The names of a folder's files start
            with that of the folder itself, so that both give the same names.
        wanted: returns true for the name of a file to read.
        largest: maximum size of a wanted file of a folder, in bytes.

    Raises:
        DataError: a wanted file is too large, is not a regular file, or cannot be read; the message names it.
    """
    try:
        if source.is_dir():
            found = {name: path for path, name in walk_files(source) if wanted(name)}
            return {name: _read_file(path, largest) for name, path in sorted(found.items())}
        if source.suffix == ".zip":
            with zipfile.ZipFile(source) as archive:
                return {name: archive.read(name) for name in archive.namelist() if wanted(name)}
        with tarfile.open(source) as tar:
            members = ((member.name, tar.extractfile(member)) for member in tar if wanted(member.name))
            return {name: stream.read() for name, stream in members if stream is not None}
    except OSError as problem:
        raise unreadable(source, problem) from problem


def walk_files(folder: Path) -> Iterator[tuple[Path, str]]:
    """Yield every file below a folder with its name (``folder/file``); links to folders are not followed.

    Raises:
        OSError: a folder cannot be read.
    """

    def stop(problem: OSError) -> None:
        raise problem  # os.walk would skip the folder

    for below, _, names in os.walk(folder, onerror=stop):
        for path in (Path(below, name) for name in names):
            yield path, f"{folder.name}/{path.relative_to(folder).as_posix()}"


def unreadable(source: Path, problem: OSError) -> DataError:
    """Return the error of a source of which a file cannot be used; it names the file and the way out."""
    return DataError(
        f"{problem.filename or source} cannot be read ({problem.strerror or problem}): "
        "make it readable, or put the official file in its place"
    )


def _read_file(path: Path, largest: int) -> bytes:
    with open_regular(path, links=True) as stream:
        check_size(path, stream, largest)
        return stream.read()


def _from_folder(name: str, part: DataPart, place: Path, origin: str) -> Path:
    for folder in (place, place / name):
        archive, unpacked = folder / part.archive, folder / part.folder
        found = _sha256(archive) if archive.is_file() else None
        if found == part.sha256:
            return archive
        if unpacked.is_dir():
            return unpacked
        if found is not None:
            raise DataError(
                f"{archive} is not the official archive: its SHA-256 is {found} instead of {part.sha256}. "
                f"Delete it and download {part.address} again, or unpack it into the folder {part.folder}"
            )
    raise DataError(
        f"{place} ({origin}): neither {part.archive} nor the folder {part.folder} is there or in its "
        f"subfolder {name}. Put one of them there ({part.address}), or "
        f"{'give no data_dir' if origin == 'data_dir' else 'unset PLASTICRL_DATA'} to have it downloaded"
    )


def _sha256(archive: Path) -> str:
    import pooch

    try:
        return str(pooch.file_hash(str(archive)))
    except OSError as problem:
        raise unreadable(archive, problem) from problem


def _from_cache(part: DataPart, download: bool) -> Path:
    import pooch

    file = cache_dir() / part.archive
    known = f"sha256:{part.sha256}"
    if not download and not (file.is_file() and _sha256(file) == part.sha256):
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
