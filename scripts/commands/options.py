"""Options that the commands share, for all tasks and for each task."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

from typing_extensions import Self

from plasticrl.scripts.runs.run import EpisodeRun, MazeRun, Run
from plasticrl.scripts.settings.cores import (
    COMPLETION_OPTIONS,
    MAZE_OPTIONS,
    ONE_SHOT_OPTIONS,
    CoreOptions,
    space_of_core,
)
from plasticrl.scripts.settings.maze import (
    MAZE_PRESETS,
    AgentSettings,
    MazeSettings,
    OutputSettings,
    PresetName,
    TrainingSettings,
)
from plasticrl.scripts.settings.search_space import SearchSpace
from plasticrl.scripts.settings.supervised import (
    IMAGES_PRESETS,
    OMNIGLOT_PRESETS,
    PATTERNS_PRESETS,
    ClassDescentSettings,
    CompletionSettings,
    DescentSettings,
    EpisodeTrainingSettings,
    ImagesPresetName,
    ImagesSettings,
    OmniglotPresetName,
    OmniglotSettings,
    OneShotSettings,
    PatternsPresetName,
    PatternsSettings,
)


@dataclass(frozen=True)
class TaskOptions(ABC):
    """All settings of a training except core and seed."""

    @abstractmethod
    def make_run(self, core: str, seed: int) -> Run:
        """Return the run with these settings."""

    @abstractmethod
    def core_options(self) -> CoreOptions:
        """Return the settings of the network that only some of the task's cores have."""

    @abstractmethod
    def trained_cores(self) -> tuple[str, ...]:
        """Return the names of the cores to train."""

    @abstractmethod
    def space(self, core: str) -> SearchSpace:
        """Return the preset's search space for one core."""

    def searched(self, core: str) -> SearchSpace:
        """Return the search space without the settings whose given values lie outside it; they stay fixed."""
        return {name: allowed for name, allowed in self.space(core).items() if self.value(name) in allowed}

    def value(self, name: str) -> Any:
        """Return the value of a setting, from the group that has it."""
        return next(getattr(group, name) for group in self._groups().values() if hasattr(group, name))

    def with_values(self, values: Mapping[str, Any]) -> Self:
        """Return a copy with other values of some settings; a constant learning rate stays constant."""
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
    """Options of ``train`` for every task."""

    core: str = "plastic"
    """Network; the choices depend on the task."""
    seed: int = 0
    """Seed of the weights and of the training."""
    output: OutputSettings = field(default_factory=OutputSettings)

    def trained_cores(self) -> tuple[str, ...]:
        """Return the only core; see :class:`TaskOptions`."""
        return (self.core,)


@dataclass(frozen=True)
class ManyOptions(TaskOptions):
    """Options for every task of the commands that train several networks."""

    cores: tuple[str, ...] = ()
    """Networks to compare; the choices depend on the task."""
    seeds: int = 3
    """Runs per core, with seeds 0, 1, 2 and so on."""
    output: OutputSettings = field(default_factory=OutputSettings)

    def trained_cores(self) -> tuple[str, ...]:
        """Return the cores; see :class:`TaskOptions`."""
        return self.cores

    def runs(self) -> list[Run]:
        """Return all runs, ordered by seed and then by core."""
        return [self.make_run(core, seed) for seed in range(self.seeds) for core in self.cores]


@dataclass(frozen=True)
class CompareOptions(ManyOptions):
    """Options of ``compare`` for every task."""

    jobs: int | None = None
    """Runs to train at the same time, one thread each unless --threads is given; None: one per processor."""


@dataclass(frozen=True)
class SweepOptions(ManyOptions):
    """Options of ``sweep`` for every task."""

    seeds: int = 15
    """Runs per core, with seeds 0, 1, 2 and so on."""
    address: str | None = None
    """Ray cluster to train on: auto for the one that this machine belongs to, or ray://HOST:10001; None \
for this machine alone."""
    cpus_per_run: int = 1
    """Processors, and thus threads, of each run."""
    gpus_per_run: float = 0.0
    """GPUs of each run; 0.25 lets four runs share one."""
    local: bool = False
    """Train one run after another in this process, without Ray."""
    search: bool = False
    """Search for better settings instead of comparing seeds: Optuna tries settings from the preset's search \
space, weak ones are stopped early, and the best ones of each core are printed."""
    trials: int = 30
    """Settings to try for each core, those given here first (search)."""


_MAZE, _PATTERNS = MAZE_PRESETS["tuned"], PATTERNS_PRESETS["text"]
_IMAGES, _OMNIGLOT = IMAGES_PRESETS["paper"], OMNIGLOT_PRESETS["tuned"]


@dataclass(frozen=True)
class MazeOptions(TaskOptions):
    """The settings of a training on the maze."""

    preset: PresetName = "tuned"
    """Defaults of the options below: tuned, the paper's (Miconi et al. 2018), or the demo's."""
    maze: MazeSettings = _MAZE.maze
    agent: AgentSettings = _MAZE.agent
    training: TrainingSettings = _MAZE.training

    def make_run(self, core: str, seed: int) -> MazeRun:
        """Return the run with these settings."""
        return MazeRun(core, seed, self.maze, self.training, self.agent)

    def core_options(self) -> CoreOptions:
        """See :class:`TaskOptions`."""
        return MAZE_OPTIONS

    def space(self, core: str) -> SearchSpace:
        """See :class:`TaskOptions`."""
        return space_of_core(MAZE_PRESETS[self.preset].space, self.core_options(), core)


@dataclass(frozen=True)
class PatternsOptions(TaskOptions):
    """The settings of a training on patterns."""

    preset: PatternsPresetName = "text"
    """Defaults of the options below: the 1,000-bit task as in the paper's text or as in its program, or the \
small 50-bit comparison with non-plastic networks."""
    patterns: PatternsSettings = _PATTERNS.task
    network: CompletionSettings = _PATTERNS.network
    descent: DescentSettings = _PATTERNS.descent
    training: EpisodeTrainingSettings = _PATTERNS.training

    def make_run(self, core: str, seed: int) -> EpisodeRun:
        """Return the run with these settings."""
        return EpisodeRun(core, seed, "patterns", self.patterns, self.network, self.descent, self.training)

    def core_options(self) -> CoreOptions:
        """See :class:`TaskOptions`."""
        return COMPLETION_OPTIONS

    def space(self, core: str) -> SearchSpace:
        """See :class:`TaskOptions`."""
        return space_of_core(PATTERNS_PRESETS[self.preset].space, self.core_options(), core)


@dataclass(frozen=True)
class DataOptions:
    """Location of the data."""

    data_dir: Path | None = None
    """Folder with the official files, as an archive or extracted; None: $PLASTICRL_DATA, or if that is not \
set, they are downloaded."""


@dataclass(frozen=True)
class ImagesOptions(DataOptions, TaskOptions):
    """The settings of a training on images."""

    preset: ImagesPresetName = "paper"
    """Defaults of the options below: the paper's (Miconi et al. 2018)."""
    images: ImagesSettings = _IMAGES.task
    network: CompletionSettings = _IMAGES.network
    descent: DescentSettings = _IMAGES.descent
    training: EpisodeTrainingSettings = _IMAGES.training

    def make_run(self, core: str, seed: int) -> EpisodeRun:
        """Return the run with these settings."""
        settings = (self.images, self.network, self.descent, self.training)
        return EpisodeRun(core, seed, "images", *settings, self.data_dir)

    def core_options(self) -> CoreOptions:
        """See :class:`TaskOptions`."""
        return COMPLETION_OPTIONS

    def space(self, core: str) -> SearchSpace:
        """See :class:`TaskOptions`."""
        return space_of_core(IMAGES_PRESETS[self.preset].space, self.core_options(), core)


@dataclass(frozen=True)
class OmniglotOptions(DataOptions, TaskOptions):
    """The settings of a training on Omniglot."""

    preset: OmniglotPresetName = "tuned"
    """Defaults of the options below: tuned, or the paper's (Miconi et al. 2018)."""
    omniglot: OmniglotSettings = _OMNIGLOT.task
    network: OneShotSettings = _OMNIGLOT.network
    descent: ClassDescentSettings = _OMNIGLOT.descent
    training: EpisodeTrainingSettings = _OMNIGLOT.training

    def make_run(self, core: str, seed: int) -> EpisodeRun:
        """Return the run with these settings."""
        settings = (self.omniglot, self.network, self.descent, self.training)
        return EpisodeRun(core, seed, "omniglot", *settings, self.data_dir)

    def core_options(self) -> CoreOptions:
        """See :class:`TaskOptions`."""
        return ONE_SHOT_OPTIONS

    def space(self, core: str) -> SearchSpace:
        """See :class:`TaskOptions`."""
        return space_of_core(OMNIGLOT_PRESETS[self.preset].space, self.core_options(), core)
