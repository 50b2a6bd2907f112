"""A run and where it goes."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from plasticrl.scripts.finished_runs import is_kept
from plasticrl.scripts.resuming import is_unfinished
from plasticrl.scripts.run import Run


class PlacedRun(NamedTuple):
    """One run among others.

    Attributes:
        run: the settings.
        root: its folder is below it.
        group: what it belongs to: its core, or the condition of an experiment.
    """

    run: Run
    root: Path
    group: str

    @property
    def label(self) -> str:
        """How it is called in progress lines."""
        return f"{self.group} seed {self.run.seed}"

    @property
    def folder(self) -> Path:
        """The run's own folder."""
        return self.run.folder(self.root)

    @property
    def is_finished(self) -> bool:
        """Whether just this run came to its end."""
        return is_kept(self.run, self.root)

    @property
    def is_begun(self) -> bool:
        """Whether just this run was begun, finished or not."""
        return self.is_finished or is_unfinished(self.folder, self.run)


def seeds_in(folder: Path) -> list[int]:
    """The seeds of the runs in a folder, in their order."""
    names = [path.name.removeprefix("seed_") for path in folder.glob("seed_*")]
    return sorted(int(name) for name in names if name.isdecimal() and str(int(name)) == name)


def grouped(runs: Iterable[PlacedRun]) -> dict[str, list[PlacedRun]]:
    """The runs of each group, in the order in which they come."""
    groups: dict[str, list[PlacedRun]] = {}
    for one in runs:
        groups.setdefault(one.group, []).append(one)
    return groups
