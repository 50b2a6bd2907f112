"""Image sets for completion: CIFAR photographs and Omniglot drawings."""

from __future__ import annotations

import os
from typing import Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from plasticrl.envs.data.cifar import load_cifar

ImageSet: TypeAlias = Literal["cifar-10", "cifar-100", "omniglot"]
SIDE = 32


def load_image_set(
    name: ImageSet,
    split: Literal["train", "test"] = "train",
    data_dir: str | os.PathLike[str] | None = None,
) -> NDArray[np.float32]:
    """Load grey images ``(M, 1024)`` in [-1, 1], 32 x 32, row by row.

    Args:
        name: "cifar-10" and "cifar-100" as returned by :func:`load_cifar`; "omniglot" for drawings, with
            ink 1 and paper -1, of the characters that ``split_classes`` assigns to the split.
        split: "train" or "test", which never share an image.
        data_dir: folder of the official files; see ``find_dataset`` for the default.

    Raises:
        ValueError: the name or the split is unknown.
        DataError: the dataset's files cannot be used; the message names the file and a way out.
        OSError: the cache is not writable.
    """
    if name not in get_args(ImageSet):
        raise ValueError(f"dataset must be one of {', '.join(get_args(ImageSet))}, got {name!r}")
    if name != "omniglot":
        return load_cifar(name, split=split, data_dir=data_dir)
    from plasticrl.envs.data.omniglot import load_omniglot, split_classes

    drawings = load_omniglot(SIDE, data_dir).images[split_classes(split, "class")]
    pixels: NDArray[np.float32] = drawings.reshape(-1, SIDE * SIDE).astype(np.float32)
    pixels /= 127.5
    pixels -= 1
    return pixels
