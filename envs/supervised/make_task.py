"""The supervised tasks by name; modules and data are loaded on first use."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

from plasticrl.envs.supervised.task import EpisodeTask

if TYPE_CHECKING:
    from plasticrl.envs.data.image_sets import ImageSet

TaskName: TypeAlias = Literal["patterns", "images", "omniglot"]
TASK_NAMES: tuple[TaskName, ...] = get_args(TaskName)


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
    if name == "patterns":
        from plasticrl.envs.supervised.patterns import PatternsTask

        return PatternsTask(**options)
    if name == "images":
        return _images(**options)
    if name == "omniglot":
        from plasticrl.envs.supervised.one_shot import OmniglotTask

        return OmniglotTask(**options)
    raise ValueError(f"unknown task {name!r}: choose one of {', '.join(map(repr, TASK_NAMES))}")


def _images(
    dataset: ImageSet = "cifar-10",
    split: Literal["train", "test"] = "train",
    data_dir: str | os.PathLike[str] | None = None,
    **options: Any,
) -> EpisodeTask:
    from plasticrl.envs.data.image_sets import load_image_set
    from plasticrl.envs.supervised.images import ImagesTask

    return ImagesTask(load_image_set(dataset, split, data_dir), **options)
