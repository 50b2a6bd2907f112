"""CIFAR-10 and CIFAR-100 in the binary format, as grey vectors in [-1, 1]."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from plasticrl.envs.data.download import DataError, find_dataset, read_files

PIXELS = 1024  # 32 rows of 32


class CifarLayout(NamedTuple):
    """Files of one dataset; a record is its label bytes, then the red, green and blue planes."""

    folder: str
    labels: tuple[int, ...]  # number of classes of each label byte
    train: tuple[str, ...]
    test: str
    train_images: int  # in each training file
    test_images: int

    @property
    def record(self) -> int:
        """Size of one record in bytes: 3,073 (CIFAR-10) or 3,074 (CIFAR-100)."""
        return len(self.labels) + 3 * PIXELS

    @property
    def all_train_images(self) -> int:
        """Number of images in all training files: 40,000 (CIFAR-10) or 50,000 (CIFAR-100)."""
        return len(self.train) * self.train_images


LAYOUTS = {
    # The paper held out batch 5. It stays unused here, so that it can serve for model selection.
    "cifar-10": CifarLayout(
        folder="cifar-10-batches-bin",
        labels=(10,),
        train=tuple(f"data_batch_{number}.bin" for number in (1, 2, 3, 4)),
        test="test_batch.bin",
        train_images=10_000,
        test_images=10_000,
    ),
    "cifar-100": CifarLayout(
        folder="cifar-100-binary",
        labels=(20, 100),  # coarse, fine
        train=("train.bin",),
        test="test.bin",
        train_images=50_000,
        test_images=10_000,
    ),
}


def load_cifar(
    name: Literal["cifar-10", "cifar-100"] = "cifar-10",
    split: Literal["train", "test"] = "train",
    data_dir: str | os.PathLike[str] | None = None,
    download: bool = True,
) -> NDArray[np.float32]:
    """Load images as the grey vectors of experiment 2 of Miconi et al. (2018).

    The colours of each image are summed, its mean is subtracted, and it is divided by its largest absolute
    value. An image of a single colour becomes zero. The splits never share a file:

    - "train": for CIFAR-10, batches 1 to 4 as in the paper (40,000 images), or as many of them as are
      present, since part of the dataset is enough for training; the length of the result gives the number
      of images. For CIFAR-100, its 50,000 training images.
    - "test": the 10,000 images of the dataset's own test file. (The paper held out batch 5.)

    Args:
        name: the dataset.
        split: the images to load.
        data_dir: folder of the files; see ``find_dataset``.
        download: allow downloading the archive if no folder is given.

    Returns:
        (M, 1024) in [-1, 1]: 32 rows of 32 pixels, in file order.

    Raises:
        ValueError: the dataset or split is unknown.
        DataError: the files are missing, damaged, or not in the binary format.
    """
    if name not in LAYOUTS:
        raise ValueError(f"name must be one of {', '.join(LAYOUTS)}, got {name!r}")
    if split not in ("train", "test"):
        raise ValueError(f"split must be 'train' or 'test', got {split!r}")
    layout = LAYOUTS[name]
    path = find_dataset(name, data_dir, download)[layout.folder]
    files, count = (
        (layout.train, layout.train_images) if split == "train" else ((layout.test,), layout.test_images)
    )
    wanted = {f"{layout.folder}/{file}" for file in files}
    found = read_files(path, wanted.__contains__, largest=count * layout.record)
    if not found:
        raise DataError(
            f"{path}: holds none of {', '.join(sorted(wanted))}, the files of the split {split!r}. "
            "Put the official files there"
        )
    return np.concatenate([_grey(_planes(path, file, found[file], layout, count)) for file in sorted(found)])


def _planes(path: Path, file: str, content: bytes, layout: CifarLayout, count: int) -> NDArray[np.uint8]:
    """Return the colour planes (count, 3, 1024) of one file after checking its size and labels."""
    if len(content) != count * layout.record:
        raise DataError(
            f"{path}: {file} has {len(content):,} bytes instead of {count:,} records of {layout.record:,} "
            "bytes. Put the official binary version there"
        )
    records = np.frombuffer(content, dtype=np.uint8).reshape(count, layout.record)
    if (records[:, : len(layout.labels)] >= np.array(layout.labels)).any():
        raise DataError(
            f"{path}: {file} has labels beyond those of the dataset, so it is not in the binary format. "
            "Put the official binary version there"
        )
    return records[:, len(layout.labels) :].reshape(count, 3, PIXELS)


def _grey(planes: NDArray[np.uint8]) -> NDArray[np.float32]:
    grey: NDArray[np.float32] = planes.sum(axis=1, dtype=np.float32)
    grey -= grey.mean(axis=1, keepdims=True, dtype=np.float64)
    largest = np.abs(grey).max(axis=1, keepdims=True)
    grey /= np.where(largest > 0, largest, 1)
    return grey
