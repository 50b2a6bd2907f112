"""The options of the command ``reproduce``."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import tyro

from plasticrl.scripts.reproduction_presets import Budget, TaskName
from plasticrl.scripts.settings import OutputSettings


@dataclass(frozen=True)
class Reproduce:
    """Reproduce an experiment of the paper: train every condition with many seeds, and sum up.

    The runs go to ROOT/EXPERIMENT_BUDGET/CONDITION, and what they say to ROOT/EXPERIMENT_BUDGET/report:
    scores with statistics (summary.json), learning curves (curves.csv, curves.png, curves.svg), on the maze
    how steadily agents learned (steadiness.json), and, of each network of a supervised task whose checkpoints
    are there, its answers in a few episodes and its w, alpha and trace as pictures. The report is of all runs
    of the experiment that are there, also of those that are not asked for now. It can be stopped at any time:
    the same command goes on, and what is finished by then is summed up.
    """

    experiment: tyro.conf.Positional[TaskName]
    """Which experiment."""
    budget: Budget = "quick"
    """quick: smaller networks or shorter trainings, hours on a laptop. paper: the paper's sizes, days."""
    seeds: int | None = None
    """Runs to train of each condition, with seeds 0, 1, 2 and so on; None for as many as the budget has."""
    conditions: tuple[str, ...] = ()
    """Conditions to train; none: all. A wrong name lists them."""
    train: bool = True
    """Train what is missing; --no-train only sums up what is there."""
    jobs: int | None = None
    """Runs to train at the same time, each on one thread unless told otherwise; None: one per processor."""
    data_dir: Path | None = None
    """Where the data are; see train (images, omniglot)."""
    output: OutputSettings = field(default_factory=lambda: OutputSettings(root=Path("runs/reproduction")))
