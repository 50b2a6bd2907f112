"""Reproduction of one experiment of the paper: its conditions, and the runs of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from plasticrl.scripts.runs.folder import PlacedRun, seeds_in
from plasticrl.scripts.runs.run import Run


@dataclass(frozen=True)
class Condition:
    """One of the compared networks, with all its settings.

    Attributes:
        name: name of its folder, and name in tables.
        run: the settings; its seed is not used.
        about: description in half a line.
        series: the series of the experiment that it belongs to; "" is the main one.
    """

    name: str
    run: Run
    about: str
    series: str = ""


@dataclass(frozen=True)
class Experiment:
    """The conditions of an experiment, and the presentation of its results.

    Attributes:
        name: name of the experiment's folder.
        title: title of its figures and tables.
        conditions: the conditions; the first of each series is the reference that the others are compared and
            drawn with.
        seeds: default number of runs per condition.
        more: further series, as file name suffix and title.
    """

    name: str
    title: str
    conditions: tuple[Condition, ...]
    seeds: int
    more: Mapping[str, str] = field(default_factory=dict)

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

    def runs(self, root: Path, seeds: int, names: Sequence[str] = ()) -> list[PlacedRun]:
        """Return the runs seed by seed, so that an interrupted experiment has equally many of each condition.

        Args:
            root: root folder of all experiments.
            seeds: number of seeds.
            names: names of the conditions; empty for all of them.
        """
        return [
            self._placed(one, root, seed)
            for seed in range(seeds)
            for one in self.conditions
            if not names or one.name in names
        ]

    def with_others(self, asked: Sequence[PlacedRun], root: Path) -> list[PlacedRun]:
        """Add all other runs started below ``root``, so that a report of all runs loses none.

        A condition with any started run also gets the seeds requested of other conditions, which count as
        missing.

        Returns:
            The runs, ordered by condition as in the experiment, then by seed. Started runs with other
            settings are not included.
        """
        runs = {(one.group, one.run.seed): one for one in asked}
        seeds = {one.run.seed for one in asked}
        for condition in self.conditions:
            there = seeds_in(self._placed(condition, root, 0).folder.parent)
            begun = {seed for seed in there if self._placed(condition, root, seed).is_begun}
            for seed in begun | (seeds if begun else set()):
                runs.setdefault((condition.name, seed), self._placed(condition, root, seed))
        names = [one.name for one in self.conditions]
        return sorted(runs.values(), key=lambda one: (names.index(one.group), one.run.seed))

    def _placed(self, condition: Condition, root: Path, seed: int) -> PlacedRun:
        run = replace(condition.run, seed=seed)
        return PlacedRun(run, root / self.name / condition.name, condition.name)
