"""An experiment of the paper as it is reproduced: its conditions, and the runs of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from plasticrl.scripts.placed_run import PlacedRun, seeds_in
from plasticrl.scripts.run import Run


@dataclass(frozen=True)
class Condition:
    """One of the networks that are compared, with all its settings.

    Attributes:
        name: of its folder, and in tables.
        run: the settings; its seed is not used.
        about: what it is, in half a line.
        series: which of the experiment's it belongs to; "" is the main one.
    """

    name: str
    run: Run
    about: str
    series: str = ""


@dataclass(frozen=True)
class Experiment:
    """What is trained, and what is asked.

    Attributes:
        name: of the experiment's folder.
        title: of its pictures and tables.
        conditions: the first of each series is what the others of it are compared with, and drawn with.
        seeds: runs of each condition, unless told otherwise.
        more: further series, as they are called in files, and the titles of each.
    """

    name: str
    title: str
    conditions: tuple[Condition, ...]
    seeds: int
    more: Mapping[str, str] = field(default_factory=dict)

    def condition(self, name: str) -> Condition:
        """The one of this name.

        Raises:
            KeyError: there is none.
        """
        return {one.name: one for one in self.conditions}[name]

    def titles(self) -> dict[str, str]:
        """What is said above each series, in their order."""
        return {"": self.title, **self.more}

    def names(self, series: str) -> list[str]:
        """The conditions of a series, in their order."""
        return [one.name for one in self.conditions if one.series == series]

    def runs(self, root: Path, seeds: int, names: Sequence[str] = ()) -> list[PlacedRun]:
        """Seed by seed, so that an experiment that is stopped has as many runs of each condition.

        Args:
            root: of all experiments.
            seeds: how many.
            names: of the conditions; none: all of them.
        """
        return [
            self._placed(one, root, seed)
            for seed in range(seeds)
            for one in self.conditions
            if not names or one.name in names
        ]

    def with_others(self, asked: Sequence[PlacedRun], root: Path) -> list[PlacedRun]:
        """These runs and the others that were begun below ``root``, so that a report of all loses none.

        Of a condition that was begun, the seeds that are asked for of others are counted as missing.

        Returns:
            condition by condition, in the experiment's order, seed by seed. A run that has other settings is
            none of the others.
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
