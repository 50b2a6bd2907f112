"""The sets of pictures that are completed: photographs of CIFAR, drawings of Omniglot."""

from __future__ import annotations

import os
from typing import Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from plasticrl.envs.cifar import load_cifar

ImageSet: TypeAlias = Literal["cifar-10", "cifar-100", "omniglot"]
SIDE = 32


def load_image_set(
    name: ImageSet,
    split: Literal["train", "test"] = "train",
    data_dir: str | os.PathLike[str] | None = None,
) -> NDArray[np.float32]:
    """Grey pictures ``(M, 1024)`` in [-1, 1], 32 x 32, row by row.

    Args:
        name: "cifar-10" and "cifar-100" as :func:`load_cifar` gives them; "omniglot" has its drawings, ink 1
            and paper -1, those of the characters that ``split_classes`` puts into the split.
        split: "train" or "test", which never share a picture.
        data_dir: folder of the official files; see ``find_dataset`` for what happens without.

    Raises:
        ValueError: the name or the split is unknown.
        DataError: the dataset's files cannot be used; the text names the file and a way out.
        OSError: the cache cannot be written.
    """
    if name not in get_args(ImageSet):
        raise ValueError(f"dataset must be one of {', '.join(get_args(ImageSet))}, got {name!r}")
    if name != "omniglot":
        return load_cifar(name, split=split, data_dir=data_dir)
    from plasticrl.envs.omniglot_images import load_omniglot
    from plasticrl.envs.omniglot_splits import split_classes

    drawings = load_omniglot(SIDE, data_dir).images[split_classes(split, "class")]
    pixels: NDArray[np.float32] = drawings.reshape(-1, SIDE * SIDE).astype(np.float32)
    pixels /= 127.5
    pixels -= 1
    return pixels
