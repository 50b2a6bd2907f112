"""Runs as data: everything that decides what one training learns, and what its results are called.

Training and evaluation of a run are in :mod:`plasticrl.scripts.experiments.training`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from plasticrl.scripts.settings.groups import (
    Grouped,
    checked_version,
    choice_from,
    merged,
    settings_from,
    value_of,
)
from plasticrl.scripts.settings.tasks import CONTRIB, TASKS, Learner, ShownMetric, Task, task_named

VERSION = 4
"""Version of ``config.json``. Files of version 1 have no version and no learner."""

_ABOUT = {"version", "task", "learner", "core", "seed", "init_from"}  # what is no group of settings
_RECURRENT_PPO = "recurrent_ppo"  # in version 1, the core of RecurrentPPO's runs
# What these cores had until version 2, when the settings of that name were not theirs.
_PLASTIC_GATED: Mapping[str, Any] = {
    "rule": "delta",
    "eta": 0.5,
    "bound_eta": True,
    "modulation": "sigmoid",
    "alpha_scale": 0.1,
    "init": "fan_in",
    "init_scale": 1.0,
}
_FORMER = dict.fromkeys(("plastic_lstm", "plastic_gru"), _PLASTIC_GATED)


@dataclass(frozen=True)
class Run(Grouped):
    """One training: the contents of ``config.json``.

    Attributes:
        task: name of the task, or id of an environment.
        learner: name of the learner.
        core: the kind of network.
        seed: seed of the weights and of the training data.
        groups: the settings of task, network, learning and training by the name of their group, each of
            which is an attribute, too.
        data_dir: folder of the data; not part of ``config.json``, since it does not affect the results.
        init_from: file or run's folder that its network came from, as it was given; None: a new network.
            The network itself is the run's first checkpoint.
    """

    task: str
    learner: str
    core: str
    seed: int
    groups: Mapping[str, Any] = field(hash=False)
    data_dir: Path | None = None
    init_from: str | None = None

    @property
    def entry(self) -> Task:
        """The entry of the task."""
        return task_named(self.task)

    @property
    def settings(self) -> Any:
        """The settings of the task itself."""
        return self.groups[self.entry.own_group]

    @property
    def place(self) -> str:
        """Folder of all runs of the task with this learner, below the root."""
        return self.entry.learners[self.learner].folder or self.task

    @property
    def title(self) -> str:
        """Task, and learner unless it is the task's default, for titles."""
        task = self.task if self.entry.kind == "environment" else self.task.capitalize()
        return task if self.learner == self.entry.learner else f"{task}, {self.learner.upper()}"

    @property
    def network_name(self) -> str:
        """Name of the network in folders and progress lines."""
        return self.entry.learners[self.learner].names.get(self.core, self.core)

    @property
    def modules(self) -> tuple[str, ...]:
        """Names of the modules that are imported to make its environment."""
        if self.entry.kind != "environment":
            return ()
        wrappers = (name.partition(":")[0] for name in self.env.wrapper)
        own = self.task.rpartition(":")[0]
        return (*self.env.imports, *wrappers, *([own] if own else []))

    @property
    def core_options(self) -> tuple[str, ...]:
        """Names of the settings that this core has, and not all cores have."""
        return self.entry.learners[self.learner].cores[self.core]

    @property
    def total(self) -> int:
        """Length of the training, in the task's own unit."""
        return int(getattr(self.training, self.entry.total))

    @property
    def eval_episodes(self) -> int:
        """Number of episodes of the final evaluation."""
        return int(self.training.eval_episodes)

    @property
    def counter(self) -> str:
        """Column of ``progress.csv`` that counts the unit of :attr:`total`."""
        return self.entry.counter

    @property
    def main_metric(self) -> ShownMetric:
        """The metric that ranks runs of this task."""
        return self.entry.metrics[0]

    def score(self, evaluation: dict[str, Any]) -> float:
        """Return the main metric from the evaluation in a ``result.json``, signed: higher is better.

        Raises:
            KeyError, TypeError, ValueError: it is missing or not a number.
        """
        metric = self.main_metric
        return metric.sign * self.entry.mean(evaluation, metric.name)

    @property
    def reads_data(self) -> bool:
        """True if the task reads files of a dataset."""
        return self.entry.reads_data

    def with_data_dir(self, data_dir: Path | None) -> Run:
        """Return the run with another folder of the data; the same run if its task reads none."""
        return replace(self, data_dir=data_dir) if self.reads_data else self

    def with_groups(self, **groups: Any) -> Run:
        """Return the run with other settings: ``run.with_groups(maze=replace(run.maze, size=5))``.

        Raises:
            TypeError: it has no such group.
        """
        if unknown := groups.keys() - self.groups.keys():
            raise TypeError(f"a run of {self.task} with {self.learner} has no {', '.join(sorted(unknown))}")
        return replace(self, groups={**self.groups, **groups})

    @property
    def label(self) -> str:
        """Name of the run in progress lines."""
        return f"{self.network_name} seed {self.seed}"

    def folder(self, root: Path) -> Path:
        """Return the run's own folder below ``root``."""
        return root / self.place / self.network_name / f"seed_{self.seed}"

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, for JSON."""
        return {
            "version": VERSION,
            "task": self.task,
            "learner": self.learner,
            "core": self.core,
            "seed": self.seed,
            **({} if self.init_from is None else {"init_from": self.init_from}),
            **{name: asdict(group, dict_factory=_listed) for name, group in self.groups.items()},
        }


def _listed(items: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return a dict without tuples, which would come back from JSON as lists."""
    return {name: list(value) if isinstance(value, tuple) else value for name, value in items}


def run_from_dict(data: Mapping[str, Any]) -> Run:
    """Restore a run from its ``as_dict``, or from that of an earlier version.

    Raises:
        KeyError: a setting is missing.
        TypeError: a setting is unknown, or its value is not allowed, or there can be no such task.
        UserError: a later version wrote it.
    """
    version = checked_version(data.get("version", 1), VERSION)
    if "env" in data:  # which only the run of an environment has
        task = task_named(value_of(str, "task", data["task"]))
    else:
        task = choice_from(TASKS, "task", data["task"])
    if version == 1:
        ppo = data["core"] == _RECURRENT_PPO
        data = {**data, "learner": CONTRIB, "core": "lstm"} if ppo else {**data, "learner": task.learner}
    elif version < 4 and data["learner"] == "ppo":  # then the name of sb3-contrib's
        data = {**data, "learner": CONTRIB}
    learner: Learner = choice_from(task.learners, "learner", data["learner"])
    choice_from(learner.cores, "core", data["core"])
    groups = task.groups(data["learner"])
    if unknown := data.keys() - groups.keys() - _ABOUT:
        raise TypeError(f"{min(unknown)} is unknown")
    settings = {name: settings_from(kind, data[name]) for name, kind in groups.items()}
    if version < 3:
        settings = merged(settings, _FORMER.get(data["core"], {}))
    return Run(
        task.name,
        data["learner"],
        data["core"],
        value_of(int, "seed", data["seed"]),
        settings,
        init_from=value_of(str | None, "init_from", data.get("init_from")),
    )


def in_this_version(data: dict[str, Any]) -> dict[str, Any]:
    """Return the contents of a ``config.json`` as this version writes them; unchanged if they are no run's.

    Raises:
        UserError: a later version wrote it.
    """
    try:
        return run_from_dict(data).as_dict()
    except (KeyError, TypeError):
        return data
