"""The amount of data behind a supervised task, and a remark if it is incomplete."""

from __future__ import annotations

from plasticrl.envs.cifar import LAYOUTS
from plasticrl.envs.images import ImagesTask
from plasticrl.envs.one_shot import OneShotTask
from plasticrl.scripts.episode_run import EpisodeRun
from plasticrl.scripts.episode_settings import ImagesSettings
from plasticrl.scripts.episode_setup import Tasks


def data_sizes(tasks: Tasks) -> dict[str, int]:
    """Return the number of images or classes for training and evaluation; empty for generated patterns."""
    for kind, things in ((ImagesTask, "images"), (OneShotTask, "classes")):
        if isinstance(tasks.train, kind) and isinstance(tasks.test, kind):
            return {
                f"train_{things}": len(tasks.train.images),
                f"test_{things}": len(tasks.test.images),
            }
    return {}


def remark_on_data(run: EpisodeRun, tasks: Tasks) -> str | None:
    """Return a one-line remark if files of the training set are missing, else None.

    Part of the files is enough for training, but the scores are then not those of the whole set.
    """
    if not isinstance(run.settings, ImagesSettings) or run.settings.dataset not in LAYOUTS:
        return None
    layout, there = LAYOUTS[run.settings.dataset], data_sizes(tasks)["train_images"]
    if there == layout.all_train_images:
        return None
    return (
        f"trains on {there:,} of the {layout.all_train_images:,} images of {run.settings.dataset}: "
        f"not all of {', '.join(layout.train)} are present"
    )
