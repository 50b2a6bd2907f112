"""The supervised tasks and their image sets by name."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from plasticrl.envs.data import omniglot
from plasticrl.envs.data.cifar import load_cifar
from plasticrl.envs.supervised.images import ImagesTask
from plasticrl.envs.supervised.one_shot import OmniglotTask
from plasticrl.envs.supervised.patterns import PatternsTask
from plasticrl.envs.supervised.task import EpisodeTask

TaskName: TypeAlias = Literal["patterns", "images", "omniglot"]
ImageSet: TypeAlias = Literal["cifar-10", "cifar-100", "omniglot"]
_SIDE = 32


def make_task(name: TaskName, **options: Any) -> EpisodeTask:
    """Build a task.

    Args:
        name: "patterns", "images" or "omniglot".
        **options: the arguments of ``PatternsTask`` or ``OmniglotTask``. For "images", those of
            ``ImagesTask`` except ``images``, which is selected by ``dataset`` (default "cifar-10"),
            ``split`` (default "train") and ``data_dir``, as for ``load_image_set``.

    Raises:
        ValueError: the name or an option is invalid, or the data is.
        TypeError: the task has no such option.
    """
    if name not in _TASKS:
        raise ValueError(f"unknown task {name!r}: choose one of {', '.join(map(repr, _TASKS))}")
    return _TASKS[name](**options)


def _images_task(
    dataset: ImageSet = "cifar-10",
    split: Literal["train", "test"] = "train",
    data_dir: str | os.PathLike[str] | None = None,
    **options: Any,
) -> EpisodeTask:
    return ImagesTask(load_image_set(dataset, split, data_dir), **options)


_TASKS: dict[str, Callable[..., EpisodeTask]] = {
    "patterns": PatternsTask,
    "images": _images_task,
    "omniglot": OmniglotTask,
}


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
    drawings = omniglot.load_omniglot(_SIDE, data_dir).images[omniglot.split_classes(split, "class")]
    pixels: NDArray[np.float32] = drawings.reshape(-1, _SIDE * _SIDE).astype(np.float32)
    pixels /= 127.5
    pixels -= 1
    return pixels
