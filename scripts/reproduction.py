"""An experiment of the paper as it is reproduced: its conditions, and the runs of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from plasticrl.scripts.placed_run import PlacedRun
from plasticrl.scripts.run import Run


@dataclass(frozen=True)
class Condition:
    """One of the networks that are compared, with all its settings.

    Attributes:
        name: of its folder, and in tables.
        run: the settings; its seed is not used.
        about: what it is, in half a line.
    """

    name: str
    run: Run
    about: str


@dataclass(frozen=True)
class Experiment:
    """What is trained, and what is asked.

    Attributes:
        name: of the experiment's folder.
        title: of its picture.
        conditions: the first is what the others are compared with.
        seeds: runs of each condition, unless told otherwise.
    """

    name: str
    title: str
    conditions: tuple[Condition, ...]
    seeds: int

    def condition(self, name: str) -> Condition:
        """The one of this name.

        Raises:
            KeyError: there is none.
        """
        return {one.name: one for one in self.conditions}[name]

    def runs(self, root: Path, seeds: int, names: Sequence[str] = ()) -> list[PlacedRun]:
        """Seed by seed, so that an experiment that is stopped has as many runs of each condition.

        Args:
            root: of all experiments.
            seeds: how many.
            names: of the conditions; none: all of them.
        """
        return [
            PlacedRun(replace(one.run, seed=seed), root / self.name / one.name, one.name)
            for seed in range(seeds)
            for one in self.conditions
            if not names or one.name in names
        ]
