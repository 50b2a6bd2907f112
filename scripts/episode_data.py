"""How much data a supervised task was made of, and whether that is all there is."""

from __future__ import annotations

from plasticrl.envs.cifar import LAYOUTS
from plasticrl.envs.images import ImagesTask
from plasticrl.envs.one_shot import OneShotTask
from plasticrl.scripts.episode_run import EpisodeRun
from plasticrl.scripts.episode_settings import ImagesSettings
from plasticrl.scripts.episode_setup import Tasks


def data_sizes(tasks: Tasks) -> dict[str, int]:
    """Images or classes that are trained and evaluated on; nothing where a task draws its own."""
    for kind, things in ((ImagesTask, "images"), (OneShotTask, "classes")):
        if isinstance(tasks.train, kind) and isinstance(tasks.test, kind):
            return {
                f"train_{things}": len(tasks.train.images),
                f"test_{things}": len(tasks.test.images),
            }
    return {}


def remark_on_data(run: EpisodeRun, tasks: Tasks) -> str | None:
    """One line where files of the training set are missing; None where none is.

    A part of them is enough to train on, but scores are then not those of the whole.
    """
    if not isinstance(run.settings, ImagesSettings) or run.settings.dataset not in LAYOUTS:
        return None
    layout, there = LAYOUTS[run.settings.dataset], data_sizes(tasks)["train_images"]
    if there == layout.all_train_images:
        return None
    return (
        f"trains on {there:,} of the {layout.all_train_images:,} images of {run.settings.dataset}: "
        f"not all of {', '.join(layout.train)} are there"
    )
