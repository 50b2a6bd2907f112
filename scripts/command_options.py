"""The options that a command has on every task."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field

from plasticrl.scripts.run import Run
from plasticrl.scripts.settings import OutputSettings


@dataclass(frozen=True)
class TaskOptions(ABC):
    """All settings of a training but core and seed."""

    @abstractmethod
    def make_run(self, core: str, seed: int) -> Run:
        """What is to be trained."""

    @abstractmethod
    def check_options(self, cores: Sequence[str]) -> None:
        """Refuse an option that none of the cores has.

        Raises:
            UserError: there is such an option.
        """


@dataclass(frozen=True)
class TrainOptions:
    """What ``train`` has on every task."""

    core: str = "plastic"
    """Network; each task has its own."""
    seed: int = 0
    """Seed of the weights, and of all that happens in training."""
    output: OutputSettings = field(default_factory=OutputSettings)


@dataclass(frozen=True)
class ManyOptions(TaskOptions):
    """What the commands that train several networks have on every task."""

    cores: tuple[str, ...] = ()
    """Networks to compare; each task has its own."""
    seeds: int = 3
    """Runs per core, with seeds 0, 1, 2 and so on."""
    output: OutputSettings = field(default_factory=OutputSettings)

    def runs(self) -> list[Run]:
        """What is to be trained, core by core within a seed."""
        return [self.make_run(core, seed) for seed in range(self.seeds) for core in self.cores]


@dataclass(frozen=True)
class CompareOptions(ManyOptions):
    """What ``compare`` has on every task."""

    jobs: int | None = None
    """Runs to train at the same time, each on one thread unless told otherwise; None: one per processor."""


@dataclass(frozen=True)
class SweepOptions(ManyOptions):
    """What ``sweep`` has on every task."""

    seeds: int = 15
    """Runs per core, with seeds 0, 1, 2 and so on."""
    address: str | None = None
    """Ray cluster to train on: auto for the one that this machine belongs to, or ray://HOST:10001; None \
for this machine alone."""
    cpus_per_run: int = 1
    """Processors, and so threads, of each run."""
    gpus_per_run: float = 0.0
    """GPUs of each run; 0.25 lets four runs share one."""
    local: bool = False
    """Train one run after another in this process, without Ray."""
