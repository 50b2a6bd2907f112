"""The CIFAR loaders: formats, splits, normalisation, and what they refuse."""

import os
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from plasticrl.envs.data.cifar import LAYOUTS, load_cifar
from plasticrl.envs.data.download import DataError

Name = Literal["cifar-10", "cifar-100"]
TRAIN = {"cifar-10": [f"data_batch_{number}.bin" for number in (1, 2, 3, 4)], "cifar-100": ["train.bin"]}
TEST = {"cifar-10": ["test_batch.bin"], "cifar-100": ["test.bin"]}


@pytest.fixture(params=["cifar-10", "cifar-100"])
def both(request: pytest.FixtureRequest) -> tuple[Name, Any]:
    fixture = {"cifar-10": "miniature_cifar", "cifar-100": "miniature_cifar100"}[request.param]
    return request.param, request.getfixturevalue(fixture)


def grey(record: np.ndarray) -> np.ndarray:
    """The definition, for one record: sum of the colours, less the mean, by the largest absolute value."""
    red, green, blue = record[-3072:].astype(np.float64).reshape(3, 1024)
    image = red + green + blue
    image -= image.mean()
    return image / np.abs(image).max()


def test_records_are_those_of_the_binary_version() -> None:
    assert [LAYOUTS[name].record for name in ("cifar-10", "cifar-100")] == [3073, 3074]


@pytest.mark.parametrize("form", ["archives", "trees"])
@pytest.mark.parametrize("split", ["train", "test"])
def test_every_image_is_the_definition_of_its_record(
    both: tuple[Name, Any], split: Literal["train", "test"], form: str
) -> None:
    name, miniature = both
    files = (TRAIN if split == "train" else TEST)[name]
    records = np.concatenate([miniature.content[file] for file in files])
    images = load_cifar(name, split, getattr(miniature, form))
    assert images.dtype == np.float32
    assert images.shape == (len(records), 1024)
    assert_allclose(images, [grey(record) for record in records], atol=1e-6)
    assert_allclose(np.abs(images).max(axis=1), 1)
    assert_allclose(images.mean(axis=1), 0, atol=1e-6)


def test_an_image_of_one_colour_is_zero(miniature_cifar: Any) -> None:
    file = miniature_cifar.trees / "cifar-10-batches-bin" / "test_batch.bin"
    records = miniature_cifar.content["test_batch.bin"].copy()
    records[0, 1:] = np.repeat([10, 20, 31], 1024)
    file.write_bytes(records.tobytes())
    images = load_cifar("cifar-10", "test", miniature_cifar.trees)
    assert_array_equal(images[0], 0)
    assert np.isfinite(images).all()


@pytest.mark.parametrize("missing", [(2,), (2, 3, 4, 5)])
def test_a_part_of_the_training_batches_is_enough(missing: tuple[int, ...], miniature_cifar: Any) -> None:
    whole = load_cifar("cifar-10", "train", miniature_cifar.trees)
    for number in missing:
        (miniature_cifar.trees / "cifar-10-batches-bin" / f"data_batch_{number}.bin").unlink()
    left = [batch for batch in range(4) if batch + 1 not in missing]
    assert_array_equal(
        load_cifar("cifar-10", "train", miniature_cifar.trees),
        whole.reshape(4, 6, 1024)[left].reshape(-1, 1024),
    )


def test_the_batch_that_the_paper_held_out_is_in_no_split(miniature_cifar: Any) -> None:
    held_out = np.array([grey(record) for record in miniature_cifar.content["data_batch_5.bin"]])
    for split in ("train", "test"):
        images = load_cifar("cifar-10", split, miniature_cifar.trees)
        assert np.abs(images[:, None] - held_out).max(axis=2).min() > 0.1


@pytest.mark.parametrize(
    ("fault", "text"),
    [
        ("cut", "expected|bytes instead of"),
        ("too long", "at most|bytes instead of"),
        ("label", "labels beyond"),
        ("missing", "holds none of"),
        ("empty", "bytes instead of"),
    ],
)
@pytest.mark.parametrize("form", ["archives", "trees"])
def test_files_that_are_not_the_dataset_are_refused(
    both: tuple[Name, Any], form: str, fault: str, text: str, pin: Callable[[str, Path], None]
) -> None:
    name, miniature = both
    tree = miniature.trees / LAYOUTS[name].folder
    file = tree / TEST[name][0]
    content = file.read_bytes()
    record = LAYOUTS[name].record
    if fault == "missing":
        file.unlink()
    else:
        wrong_label = bytearray(content)
        wrong_label[record] = LAYOUTS[name].labels[0]
        changed = {
            "cut": content[:-record],
            "too long": content + content[:record],
            "label": wrong_label,
            "empty": b"",
        }
        file.write_bytes(changed[fault])
    place = miniature.trees
    if form == "archives":
        (archive,) = miniature.archives.iterdir()
        with tarfile.open(archive, "w:gz") as tar:
            tar.add(tree, arcname=tree.name)
        place = miniature.archives
        pin(name, place)
    load_cifar(name, "train", place)
    with pytest.raises(DataError, match=text):
        load_cifar(name, "test", place)


def test_the_other_dataset_under_this_name_is_refused(miniature_cifar: Any, miniature_cifar100: Any) -> None:
    folder = miniature_cifar.trees / "cifar-10-batches-bin"
    shutil.rmtree(folder)
    shutil.copytree(miniature_cifar100.trees / "cifar-100-binary", folder)
    with pytest.raises(DataError, match="holds none of"):
        load_cifar("cifar-10", "train", miniature_cifar.trees)
    shutil.copy(
        miniature_cifar100.archives / "cifar-100-binary.tar.gz",
        miniature_cifar.archives / "cifar-10-binary.tar.gz",
    )
    with pytest.raises(DataError, match="is not the official archive"):
        load_cifar("cifar-10", "train", miniature_cifar.archives)


def test_unknown_names_are_refused() -> None:
    with pytest.raises(ValueError, match=r"cifar-10, cifar-100, got 'cifar-20'"):
        load_cifar("cifar-20")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"'train' or 'test', got 'all'"):
        load_cifar("cifar-10", "all")  # type: ignore[arg-type]


def test_the_real_files() -> None:
    place = os.environ.get("PLASTICRL_DATA")
    if place is None or not any(Path(place).glob("**/cifar-10-batches-bin/test_batch.bin")):
        pytest.skip("PLASTICRL_DATA names no folder with the extracted cifar-10-batches-bin")
    test = load_cifar("cifar-10", "test", place)
    assert test.shape == (10_000, 1024)
    train = load_cifar("cifar-10", "train", place)
    assert len(train) % 10_000 == 0
    # The dataset itself has a few photographs twice.
    shared = {image.tobytes() for image in train} & {image.tobytes() for image in test}
    assert len(shared) < 100
    # A photograph's neighbouring pixels are alike, which a wrong order of planes or pixels would undo.
    rows = test[:1000].reshape(-1, 32, 32)
    for one, other in ((rows[:, 1:], rows[:, :-1]), (rows[:, :, 1:], rows[:, :, :-1])):
        assert np.corrcoef(one.ravel(), other.ravel())[0, 1] > 0.85
