"""The options that the commands share on each task, and what they make of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from plasticrl.scripts.command_options import TaskOptions
from plasticrl.scripts.core_options import (
    COMPLETION_OPTIONS,
    MAZE_OPTIONS,
    ONE_SHOT_OPTIONS,
    CoreOptions,
    space_of_core,
)
from plasticrl.scripts.episode_presets import (
    IMAGES_PRESETS,
    OMNIGLOT_PRESETS,
    PATTERNS_PRESETS,
    ImagesPresetName,
    OmniglotPresetName,
    PatternsPresetName,
)
from plasticrl.scripts.episode_run import EpisodeRun
from plasticrl.scripts.episode_settings import (
    ClassDescentSettings,
    CompletionSettings,
    DescentSettings,
    EpisodeTrainingSettings,
    ImagesSettings,
    OmniglotSettings,
    OneShotSettings,
    PatternsSettings,
)
from plasticrl.scripts.maze_run import MazeRun
from plasticrl.scripts.presets import MAZE_PRESETS, PresetName
from plasticrl.scripts.search_space import SearchSpace
from plasticrl.scripts.settings import AgentSettings, MazeSettings, TrainingSettings

_MAZE, _PATTERNS = MAZE_PRESETS["tuned"], PATTERNS_PRESETS["text"]
_IMAGES, _OMNIGLOT = IMAGES_PRESETS["paper"], OMNIGLOT_PRESETS["tuned"]


@dataclass(frozen=True)
class MazeOptions(TaskOptions):
    """The settings of a training on the maze."""

    preset: PresetName = "tuned"
    """Which defaults the options below have: tuned, the paper's own (Miconi et al. 2018), or the demo's."""
    maze: MazeSettings = _MAZE.maze
    agent: AgentSettings = _MAZE.agent
    training: TrainingSettings = _MAZE.training

    def make_run(self, core: str, seed: int) -> MazeRun:
        """What is to be trained."""
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
    """Which defaults the options below have: the 1,000-bit task as in the paper's text or as in its \
program, or the small 50-bit comparison with networks that are not plastic."""
    patterns: PatternsSettings = _PATTERNS.task
    network: CompletionSettings = _PATTERNS.network
    descent: DescentSettings = _PATTERNS.descent
    training: EpisodeTrainingSettings = _PATTERNS.training

    def make_run(self, core: str, seed: int) -> EpisodeRun:
        """What is to be trained."""
        return EpisodeRun(core, seed, "patterns", self.patterns, self.network, self.descent, self.training)

    def core_options(self) -> CoreOptions:
        """See :class:`TaskOptions`."""
        return COMPLETION_OPTIONS

    def space(self, core: str) -> SearchSpace:
        """See :class:`TaskOptions`."""
        return space_of_core(PATTERNS_PRESETS[self.preset].space, self.core_options(), core)


@dataclass(frozen=True)
class DataOptions:
    """Where data are."""

    data_dir: Path | None = None
    """Folder with the official files, as archive or extracted; None: $PLASTICRL_DATA, or else they are \
downloaded."""


@dataclass(frozen=True)
class ImagesOptions(DataOptions, TaskOptions):
    """The settings of a training on images."""

    preset: ImagesPresetName = "paper"
    """Which defaults the options below have: the paper's own (Miconi et al. 2018)."""
    images: ImagesSettings = _IMAGES.task
    network: CompletionSettings = _IMAGES.network
    descent: DescentSettings = _IMAGES.descent
    training: EpisodeTrainingSettings = _IMAGES.training

    def make_run(self, core: str, seed: int) -> EpisodeRun:
        """What is to be trained."""
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
    """Which defaults the options below have: tuned, or the paper's own (Miconi et al. 2018)."""
    omniglot: OmniglotSettings = _OMNIGLOT.task
    network: OneShotSettings = _OMNIGLOT.network
    descent: ClassDescentSettings = _OMNIGLOT.descent
    training: EpisodeTrainingSettings = _OMNIGLOT.training

    def make_run(self, core: str, seed: int) -> EpisodeRun:
        """What is to be trained."""
        settings = (self.omniglot, self.network, self.descent, self.training)
        return EpisodeRun(core, seed, "omniglot", *settings, self.data_dir)

    def core_options(self) -> CoreOptions:
        """See :class:`TaskOptions`."""
        return ONE_SHOT_OPTIONS

    def space(self, core: str) -> SearchSpace:
        """See :class:`TaskOptions`."""
        return space_of_core(OMNIGLOT_PRESETS[self.preset].space, self.core_options(), core)
