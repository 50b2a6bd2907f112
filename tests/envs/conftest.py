"""Miniature datasets in the official formats, as archives and as the folders that they unpack to."""

import hashlib
import io
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from plasticrl.envs.data import cifar
from plasticrl.envs.data.download import DATASETS


class Miniature(NamedTuple):
    archives: Path  # a data_dir that holds the archives
    trees: Path  # a data_dir that holds the folders
    # CIFAR: file name -> records (images, bytes) uint8; Omniglot: "ink" (characters, drawings, 105, 105) bool
    content: dict[str, NDArray[np.generic]]


@pytest.fixture
def pin(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, Path], None]:
    """Make the archives in a folder the official ones of a dataset."""

    def made_official(name: str, folder: Path) -> None:
        parts = (
            part._replace(sha256=hashlib.sha256((folder / part.archive).read_bytes()).hexdigest())
            for part in DATASETS[name]
        )
        monkeypatch.setitem(DATASETS, name, tuple(parts))

    return made_official


def cifar_records(images: int, labels: tuple[int, ...], seed: int) -> NDArray[np.uint8]:
    rng = np.random.default_rng(seed)
    told = rng.integers(0, labels, (images, len(labels)), dtype=np.uint8)
    return np.hstack([told, rng.integers(0, 256, (images, 3072), dtype=np.uint8)])


def _cifar(folder: Path, name: str, archive: str, files: dict[str, int]) -> Miniature:
    layout = cifar.LAYOUTS[name]
    content = {
        file: cifar_records(images, layout.labels, seed) for seed, (file, images) in enumerate(files.items())
    }
    tree = folder / "trees" / layout.folder
    tree.mkdir(parents=True)
    (folder / "archives").mkdir()
    for file, records in content.items():
        (tree / file).write_bytes(records.tobytes())
    (tree / "readme.html").write_text("<html></html>")
    with tarfile.open(folder / "archives" / archive, "w:gz") as tar:
        tar.add(tree, arcname=layout.folder)
    return Miniature(folder / "archives", folder / "trees", dict(content))


@pytest.fixture
def miniature_cifar(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pin: Callable[[str, Path], None]
) -> Miniature:
    """CIFAR-10 with 6 images in each of the 5 training files and 4 in the test file."""
    small = cifar.LAYOUTS["cifar-10"]._replace(train_images=6, test_images=4)
    monkeypatch.setitem(cifar.LAYOUTS, "cifar-10", small)
    files = {f"data_batch_{number}.bin": 6 for number in range(1, 6)} | {"test_batch.bin": 4}
    found = _cifar(tmp_path / "cifar-10-mini", "cifar-10", "cifar-10-binary.tar.gz", files)
    pin("cifar-10", found.archives)
    return found


@pytest.fixture
def miniature_cifar100(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pin: Callable[[str, Path], None]
) -> Miniature:
    """CIFAR-100 with 12 training and 5 test images."""
    small = cifar.LAYOUTS["cifar-100"]._replace(train_images=12, test_images=5)
    monkeypatch.setitem(cifar.LAYOUTS, "cifar-100", small)
    files = {"train.bin": 12, "test.bin": 5}
    found = _cifar(tmp_path / "cifar-100-mini", "cifar-100", "cifar-100-binary.tar.gz", files)
    pin("cifar-100", found.archives)
    return found


@pytest.fixture
def miniature_omniglot(tmp_path: Path, pin: Callable[[str, Path], None]) -> Miniature:
    """Omniglot with 8 characters of 20 drawings: 3 + 2 in background alphabets, 3 in an evaluation one."""
    folder = tmp_path / "omniglot-mini"
    (folder / "archives").mkdir(parents=True)
    alphabets = {
        "images_background": {"Greek": (1, 2, 3), "Japanese_(hiragana)": (4, 5)},
        "images_evaluation": {"Ge_ez": (6, 7, 8)},
    }
    ink = np.random.default_rng(0).random((8, 20, 105, 105)) < 0.1
    for part, its_alphabets in alphabets.items():
        for alphabet, numbers in its_alphabets.items():
            for place, number in enumerate(numbers, 1):
                character = folder / "trees" / part / alphabet / f"character{place:02d}"
                character.mkdir(parents=True)
                for drawing, pixels in enumerate(ink[number - 1], 1):
                    (character / f"{number:04d}_{drawing:02d}.png").write_bytes(_png(pixels))
        with zipfile.ZipFile(folder / "archives" / f"{part}.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            for path in sorted((folder / "trees" / part).rglob("*")):
                archive.write(path, path.relative_to(folder / "trees"))
    pin("omniglot", folder / "archives")
    return Miniature(folder / "archives", folder / "trees", {"ink": ink})


def _png(ink: NDArray[np.bool_]) -> bytes:
    """A drawing as the official ones are: 1 bit, ink 0 on paper 1."""
    file = io.BytesIO()
    Image.fromarray(np.where(ink, 0, 255).astype(np.uint8)).convert("1", dither=Image.Dither.NONE).save(
        file, "PNG"
    )
    return file.getvalue()
