"""Building and loading the tasks and the learner of a run on a supervised task."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from stable_baselines3.common.type_aliases import Schedule
from stable_baselines3.common.utils import LinearSchedule

from plasticrl.agents.supervised import checkpoint
from plasticrl.agents.supervised.learner import EpisodeLearner
from plasticrl.envs.data.cifar import LAYOUTS
from plasticrl.envs.supervised.images import ImagesTask
from plasticrl.envs.supervised.make_task import make_task
from plasticrl.envs.supervised.one_shot import OneShotTask
from plasticrl.envs.supervised.task import EpisodeTask
from plasticrl.scripts.errors import UserError, as_user_error
from plasticrl.scripts.runs.checkpoints import check_network, checkpoint_errors
from plasticrl.scripts.runs.run import Run
from plasticrl.scripts.settings.supervised import ClassDescentSettings, ImagesSettings, OmniglotSettings
from plasticrl.scripts.tasks.task import (
    check_at_least,
    check_learning_rates,
    check_seed,
    check_shares,
    log_interval,
)


class Tasks(NamedTuple):
    """The tasks of a run; training and evaluation never share an image or a class.

    Attributes:
        train: the task for training.
        test: the task for evaluation.
        known: the data that references may use: ``train`` or, if another dataset is used for evaluation, the
            training part of that one.
    """

    train: EpisodeTask
    test: EpisodeTask
    known: EpisodeTask


def check_run(run: Run) -> None:
    """Check the settings that neither the task nor the learner checks.

    Raises:
        UserError: a setting is out of its range.
    """
    check_seed(run.seed)
    training, descent = run.training, run.descent
    check_at_least(
        1,
        total_episodes=training.total_episodes,
        eval_episodes=training.eval_episodes,
        checkpoints=training.checkpoints,
        batch_size=descent.batch_size,
        decay_every=1 if descent.decay_every is None else descent.decay_every,
    )
    check_shares(batch_size=descent.batch_size)
    check_learning_rates(descent.learning_rate, descent.final_learning_rate, descent.max_grad_norm)
    if not 0 < descent.decay_factor <= 1:
        raise UserError(f"decay_factor must be above 0 and at most 1, not {descent.decay_factor}")


def make_tasks(run: Run, elsewhere: Mapping[str, Any] = MappingProxyType({})) -> Tasks:
    """Read the data, if the task has any, and build the tasks.

    Args:
        run: the run.
        elsewhere: settings of the task that replace the run's own in the evaluation.

    Raises:
        UserError: a setting is invalid, the episodes do not fit the run's network, or the data are missing or
            damaged.
    """
    most = 0
    if isinstance(run.settings, OmniglotSettings):
        most = run.settings.way
        if most < run.settings.n_way:
            raise UserError(
                f"train_way must be at least n_way, {run.settings.n_way}, not {most}: the network has an "
                "output for each class of a training episode"
            )
    if elsewhere.get("n_way", 0) > most:
        raise UserError(
            f"the network was trained to distinguish {most} classes and has no output for more: "
            f"n_way must be from 2 to {most}, not {elsewhere['n_way']}"
        )
    name: Any = run.task
    with as_user_error(ValueError, TypeError, OSError):
        if not run.reads_data:  # every episode is newly drawn
            train = make_task(name, **asdict(run.settings))
            test = make_task(name, **{**asdict(run.settings), **elsewhere}) if elsewhere else train
            return Tasks(train, test, test)
        options = asdict(run.settings)
        of_training = {}
        if isinstance(run.settings, OmniglotSettings):
            queries, pool = options.pop("train_queries"), options.pop("pool")
            of_training = {"n_way": run.settings.way, "queries": queries, "pool": pool}
            del options["train_way"]
        train = make_task(name, split="train", data_dir=run.data_dir, **{**options, **of_training})
        options |= elsewhere
        if "occlusion" in elsewhere:  # the share depends on the kind of occlusion
            options["share"] = elsewhere.get("share")
        test = make_task(name, split="test", data_dir=run.data_dir, **options)
        known = train
        if options.get("dataset") != asdict(run.settings).get("dataset"):
            known = make_task(name, split="train", data_dir=run.data_dir, **options)
        return Tasks(train, test, known)


def make_learner(run: Run, tasks: Tasks, device: str) -> EpisodeLearner:
    """Build an untrained learner.

    Raises:
        UserError: a setting is invalid, or the task has no such core.
    """
    options, descent = run.entry.learners[run.learner].cores, run.descent
    if run.core not in options:
        raise UserError(f"{run.task} has no core {run.core}: choose one of {', '.join(options)}")
    with as_user_error(ValueError, TypeError):
        return EpisodeLearner(
            run.core,  # type: ignore[arg-type]
            tasks.train,
            learning_rate=learning_rate(run),
            batch_size=descent.batch_size,
            eval_task=tasks.test,
            loss=descent.loss if isinstance(descent, ClassDescentSettings) else None,
            max_grad_norm=math.inf if descent.max_grad_norm is None else descent.max_grad_norm,
            stats_window_size=_window(run),
            network_kwargs=network_kwargs(run),
            seed=run.seed,
            device=device,
        )


def _window(run: Run) -> int:
    """Return the episodes that a row of the log covers: those since the last one."""
    batch_size: int = run.descent.batch_size
    return log_interval(run.total, batch_size) * batch_size


def load_learner(
    path: Path, run: Run, device: str, task: EpisodeTask, eval_task: EpisodeTask | None = None
) -> EpisodeLearner:
    """Load a learner from a checkpoint.

    Args:
        path: the checkpoint.
        run: its run.
        device: device of the network.
        task: the task for training.
        eval_task: the task for evaluation; None: the same.

    Raises:
        UserError: the file is not a checkpoint, or is one of another task or another network.
    """
    with checkpoint_errors(path):  # the learning rate may be a function, which no file can hold
        learner = EpisodeLearner.load(
            path, task, eval_task, device, learning_rate=learning_rate(run), stats_window_size=_window(run)
        )
    found = {"core": learner.network_name, **(learner.network_kwargs or {})}
    check_network(path, {"core": run.core, **network_kwargs(run)}, found)
    return learner


def take_network(learner: EpisodeLearner, path: Path) -> None:
    """Give a learner the network that another learner has saved.

    Raises:
        UserError: the file is not that of a learner, or holds another network.
    """
    with checkpoint_errors(path):
        checkpoint.take_network(learner.network, checkpoint.FORMAT.load(path))


def network_kwargs(run: Run) -> dict[str, Any]:
    """Return the settings of the network that its core has."""
    return {name: getattr(run.network, name) for name in run.core_options}


def learning_rate(run: Run) -> float | Schedule:
    """Return Adam's learning rate, or its schedule as a function of the remaining progress, from 1 to 0."""
    descent = run.descent
    first, last, every = descent.learning_rate, descent.final_learning_rate, descent.decay_every
    line = LinearSchedule(first, last, end_fraction=1.0)
    if every is None:
        return first if first == last else line

    def falling(remaining: float) -> float:
        episodes = round((1 - remaining) * run.total)
        return float(line(remaining) * descent.decay_factor ** (episodes // every))

    return falling


def data_sizes(tasks: Tasks) -> dict[str, int]:
    """Return the number of images or classes for training and evaluation; empty for generated patterns."""
    for kind, things in ((ImagesTask, "images"), (OneShotTask, "classes")):
        if isinstance(tasks.train, kind) and isinstance(tasks.test, kind):
            return {
                f"train_{things}": len(tasks.train.images),
                f"test_{things}": len(tasks.test.images),
            }
    return {}


def missing_data(run: Run, tasks: Tasks) -> str | None:
    """Return a one-line notice if files of the training set are missing, else None.

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
