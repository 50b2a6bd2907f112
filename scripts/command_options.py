"""The options that a command has on every task."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import Any

from typing_extensions import Self

from plasticrl.scripts.core_options import CoreOptions
from plasticrl.scripts.run import Run
from plasticrl.scripts.search_space import SearchSpace
from plasticrl.scripts.settings import OutputSettings


@dataclass(frozen=True)
class TaskOptions(ABC):
    """All settings of a training but core and seed."""

    @abstractmethod
    def make_run(self, core: str, seed: int) -> Run:
        """What is to be trained."""

    @abstractmethod
    def core_options(self) -> CoreOptions:
        """The settings of the network that only some of the task's cores have."""

    @abstractmethod
    def trained_cores(self) -> tuple[str, ...]:
        """The cores that are asked for."""

    @abstractmethod
    def space(self, core: str) -> SearchSpace:
        """What a search may change of one core: the preset says."""

    def searched(self, core: str) -> SearchSpace:
        """The same without the settings whose given values lie outside: those stay as they are given."""
        return {name: allowed for name, allowed in self.space(core).items() if self.value(name) in allowed}

    def value(self, name: str) -> Any:
        """A setting, in whichever group it is."""
        return next(getattr(group, name) for group in self._groups().values() if hasattr(group, name))

    def with_values(self, values: Mapping[str, Any]) -> Self:
        """The same with other values of some settings. A learning rate that did not fall still does not."""
        changed = {}
        for group_name, group in self._groups().items():
            own = {name: value for name, value in values.items() if hasattr(group, name)}
            if "learning_rate" in own and group.final_learning_rate == group.learning_rate:
                own["final_learning_rate"] = own["learning_rate"]
            changed[group_name] = replace(group, **own)
        return replace(self, **changed)

    def _groups(self) -> dict[str, Any]:
        groups = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: group for name, group in groups.items() if is_dataclass(group)}


@dataclass(frozen=True)
class TrainOptions(TaskOptions):
    """What ``train`` has on every task."""

    core: str = "plastic"
    """Network; each task has its own."""
    seed: int = 0
    """Seed of the weights, and of all that happens in training."""
    output: OutputSettings = field(default_factory=OutputSettings)

    def trained_cores(self) -> tuple[str, ...]:
        """See :class:`TaskOptions`."""
        return (self.core,)


@dataclass(frozen=True)
class ManyOptions(TaskOptions):
    """What the commands that train several networks have on every task."""

    cores: tuple[str, ...] = ()
    """Networks to compare; each task has its own."""
    seeds: int = 3
    """Runs per core, with seeds 0, 1, 2 and so on."""
    output: OutputSettings = field(default_factory=OutputSettings)

    def trained_cores(self) -> tuple[str, ...]:
        """See :class:`TaskOptions`."""
        return self.cores

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
    search: bool = False
    """Look for better settings instead of comparing seeds: Optuna tries others from the preset's search \
space, the weak ones are stopped early, and the best of each core are told."""
    trials: int = 30
    """Settings to try for each core, those given here first (search)."""
