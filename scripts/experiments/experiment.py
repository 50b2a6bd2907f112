"""Experiments as data: conditions that are trained with several seeds each, and where their runs lie."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

from plasticrl.scripts.runs.folder import can_go_on, finished_score, is_kept, is_unfinished
from plasticrl.scripts.runs.run import Run


class Trial(NamedTuple):
    """One run of an experiment.

    Attributes:
        run: the settings.
        root: root folder of the run.
        condition: name of its condition.
    """

    run: Run
    root: Path
    condition: str

    @property
    def label(self) -> str:
        """Name of the run in progress lines."""
        return f"{self.condition} seed {self.run.seed}"

    @property
    def folder(self) -> Path:
        """Folder of the run."""
        return self.run.folder(self.root)

    @property
    def is_finished(self) -> bool:
        """True if exactly this run is finished."""
        return is_kept(self.run, self.root)

    @property
    def can_go_on(self) -> bool:
        """True if exactly this run was started, or has been trained for less long, and can be continued."""
        return can_go_on(self.folder, self.run)

    @property
    def is_unfinished(self) -> bool:
        """True if exactly this run was started and can be resumed."""
        return is_unfinished(self.folder, self.run)

    def score(self) -> float:
        """Return the score of the finished run; higher is better."""
        return finished_score(self.run, self.root)


class SearchTrial(NamedTuple):
    """A trial of a search.

    Attributes:
        settings: the searched settings.
        run: the run that was trained with them.
        score: score of the evaluation if it is finished, of its last episodes if it was stopped early; higher
            is better. None if it failed.
        state: its end.
        done: length of its training, in the unit of the run.
    """

    settings: dict[str, Any]
    run: Run
    score: float | None
    state: Literal["finished", "stopped early", "failed"]
    done: int


def by_condition(trials: Iterable[Trial]) -> dict[str, list[Trial]]:
    """Return the trials of each condition, in the given order."""
    groups: dict[str, list[Trial]] = {}
    for trial in trials:
        groups.setdefault(trial.condition, []).append(trial)
    return groups


@dataclass(frozen=True)
class Condition:
    """One of the compared networks, with all its settings.

    Attributes:
        name: name in tables.
        run: the settings; its seed is not used.
        about: description in half a line.
        series: the series of the experiment that it belongs to; "" is the main one.
        folder: name of its folder, which conditions with other cores may share; None for its own name.
    """

    name: str
    run: Run
    about: str = ""
    series: str = ""
    folder: str | None = None


@dataclass(frozen=True)
class Experiment:
    """Conditions, each trained with several seeds.

    Attributes:
        name: name of the experiment's folder below the root; "" for the root itself.
        title: title of its figures and tables.
        conditions: the conditions; the first of each series is the reference that the others are compared and
            drawn with.
        seeds: number of runs per condition; their seeds follow each other.
        more: further series, as file name suffix and title.
        root: root folder.
        has_condition_folders: True if the runs lie at ``ROOT/NAME/CONDITION/TASK/CORE/seed_K``, False if they
            lie at ``ROOT/TASK/CORE/seed_K``, which is enough where conditions differ in their cores.
        first_seed: the first of the seeds.
    """

    name: str
    title: str
    conditions: tuple[Condition, ...]
    seeds: int
    more: Mapping[str, str] = field(default_factory=dict)
    root: Path = Path()
    has_condition_folders: bool = True
    first_seed: int = 0

    @property
    def folder(self) -> Path:
        """Folder of the experiment."""
        return self.root / self.name

    def condition(self, name: str) -> Condition:
        """Return the condition with a name.

        Raises:
            KeyError: there is none.
        """
        return {one.name: one for one in self.conditions}[name]

    def titles(self) -> dict[str, str]:
        """Return the title of each series, in order."""
        return {"": self.title, **self.more}

    def names(self, series: str) -> list[str]:
        """Return the names of a series' conditions, in order."""
        return [one.name for one in self.conditions if one.series == series]

    def trial(self, condition: Condition, seed: int) -> Trial:
        """Return the trial of a condition with a seed."""
        root = self.folder / (condition.folder or condition.name) if self.has_condition_folders else self.root
        return Trial(replace(condition.run, seed=seed), root, condition.name)

    def trials(self) -> list[Trial]:
        """Return all trials, seed by seed: an interrupted experiment has equally many of each condition."""
        seeds = range(self.first_seed, self.first_seed + self.seeds)
        return [self.trial(one, seed) for seed in seeds for one in self.conditions]

    def with_started(self, requested: Sequence[Trial]) -> list[Trial]:
        """Add all other trials that have been started, so that a report of all of them loses none.

        A condition with any started trial also gets the seeds requested of other conditions, which count as
        missing.

        Returns:
            The trials, ordered by condition as in the experiment, then by seed. Started runs with other
            settings are not included.
        """
        trials = {(one.condition, one.run.seed): one for one in requested}
        seeds = {one.run.seed for one in requested}
        for condition in self.conditions:
            existing = [
                self.trial(condition, seed) for seed in seeds_in(self.trial(condition, 0).folder.parent)
            ]
            started = {one.run.seed for one in existing if one.is_finished or one.is_unfinished}
            for seed in started | (seeds if started else set()):
                trials.setdefault((condition.name, seed), self.trial(condition, seed))
        names = [one.name for one in self.conditions]
        return sorted(trials.values(), key=lambda one: (names.index(one.condition), one.run.seed))


def comparison_of(runs: Sequence[Run], root: Path) -> Experiment:
    """Return the experiment that compares the networks of runs of one task.

    Args:
        runs: each network with the same seeds, which follow each other.
        root: root folder of the runs.
    """
    first = {run.network_name: run for run in reversed(runs)}
    names = dict.fromkeys(run.network_name for run in runs)
    place = runs[0].place
    return Experiment(
        place,
        runs[0].title,
        tuple(Condition(name, first[name]) for name in names),
        len(runs) // len(names),
        root=root,
        has_condition_folders=False,
        first_seed=min(run.seed for run in runs),
    )


def seeds_in(folder: Path) -> list[int]:
    """Return the seeds of the runs in a folder, in ascending order."""
    names = [path.name.removeprefix("seed_") for path in folder.glob("seed_*")]
    return sorted(int(name) for name in names if name.isdecimal() and str(int(name)) == name)
