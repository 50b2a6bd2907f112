"""The commands and their options, as typed settings; what they do is in the modules named after them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

import tyro

from plasticrl.scripts.command_options import CompareOptions, TrainOptions
from plasticrl.scripts.episode_settings import CompletionCore, OneShotCore
from plasticrl.scripts.evaluate_command import Evaluate
from plasticrl.scripts.presets import MAZE_PRESETS
from plasticrl.scripts.reproduce_command import Reproduce
from plasticrl.scripts.settings import CoreChoice, Device, OutputSettings
from plasticrl.scripts.sweep_commands import Sweep
from plasticrl.scripts.task_options import ImagesOptions, MazeOptions, OmniglotOptions, PatternsOptions


@dataclass(frozen=True)
class TrainMaze(MazeOptions, TrainOptions):
    """Train one agent on the maze.

    The run goes to ROOT/maze/CORE/seed_SEED: settings, checkpoints, TensorBoard events, progress.csv, and
    the result of an evaluation at the end. A run that was stopped goes on when the same command is given
    again; a folder that holds another run is refused, and --overwrite removes the files of that run first.
    """

    core: CoreChoice = "plastic"
    """Network: plastic (a plasticity coefficient for every connection), homogeneous (one for all), rnn \
(no plasticity), lstm, gru, or feedforward (no memory)."""


@dataclass(frozen=True)
class TrainPatterns(PatternsOptions, TrainOptions):
    """Train one network to memorize patterns of bits within an episode.

    The run goes to ROOT/patterns/CORE/seed_SEED; otherwise as train maze.
    """

    core: CompletionCore = "plastic"
    """Network: plastic (a plasticity coefficient for every connection), homogeneous (one for all), rnn \
(no plasticity), or lstm."""


@dataclass(frozen=True)
class TrainImages(ImagesOptions, TrainOptions):
    """Train one network to complete images that it saw earlier in the episode.

    The run goes to ROOT/images/CORE/seed_SEED; otherwise as train maze. It is trained and evaluated on
    different images.
    """

    core: CompletionCore = "plastic"
    """Network: plastic (a plasticity coefficient for every connection), homogeneous (one for all), rnn \
(no plasticity), or lstm."""


@dataclass(frozen=True)
class TrainOmniglot(OmniglotOptions, TrainOptions):
    """Train one network to tell handwritten characters apart that it saw once, earlier in the episode.

    The run goes to ROOT/omniglot/CORE/seed_SEED; otherwise as train maze. It is trained and evaluated on
    different characters.
    """

    core: OneShotCore = "plastic"
    """Last layer: plastic (a plasticity coefficient for every connection), homogeneous (one for all), or \
rnn (no plasticity)."""


@dataclass(frozen=True)
class Resume:
    """Go on with a training that did not come to its end, to the same bits as if it had not stopped.

    The same command that began it, run again, does so too.
    """

    resume: Path
    """The run's folder, such as runs/maze/plastic/seed_0."""
    data_dir: Path | None = None
    """Where the data are; see train (images, omniglot)."""
    device: Device = "auto"
    """What computes the network."""
    threads: int | None = None
    """Threads of the network's computations; None leaves the choice to torch."""
    keep: int | None = 2
    """Checkpoints to keep, the newest ones; None keeps all."""
    quiet: bool = False
    """Show no progress."""


@dataclass(frozen=True)
class CompareMaze(MazeOptions, CompareOptions):
    """Train several cores on the maze and compare them.

    Trains the runs that are missing, several at a time, prints a table, and writes it with a picture of
    the learning curves to ROOT/maze. Finished runs with the same settings are kept, unfinished
    ones go on where they stopped. Runs with other settings are refused; --overwrite trains those again.
    """

    cores: tuple[CoreChoice, ...] = ("plastic", "homogeneous", "rnn")
    """Networks to compare; see train."""


@dataclass(frozen=True)
class ComparePatterns(PatternsOptions, CompareOptions):
    """Train several networks to memorize patterns and compare them; see compare maze."""

    cores: tuple[CompletionCore, ...] = ("plastic", "homogeneous", "rnn")
    """Networks to compare; see train."""


@dataclass(frozen=True)
class CompareImages(ImagesOptions, CompareOptions):
    """Train several networks to complete images and compare them; see compare maze."""

    cores: tuple[CompletionCore, ...] = ("plastic", "homogeneous", "rnn")
    """Networks to compare; see train."""


@dataclass(frozen=True)
class CompareOmniglot(OmniglotOptions, CompareOptions):
    """Train several networks to tell characters apart and compare them; see compare maze."""

    cores: tuple[OneShotCore, ...] = ("plastic", "homogeneous", "rnn")
    """Networks to compare; see train."""


@dataclass(frozen=True)
class Watch:
    """Watch an agent in the maze for one episode: in the terminal, or as a GIF."""

    run: tyro.conf.Positional[Path]
    """A run's folder (its newest checkpoint is taken), or a checkpoint file in one."""
    gif: Path | None = None
    """File to write the GIF to; None shows the episode in the terminal. A GIF that is there is replaced."""
    before: bool = False
    """Show the agent as it was before its training, too: on the left, in the same maze."""
    fps: float = 12.0
    """Steps per second."""
    seed: int = 0
    """Seed of the maze and the actions."""
    deterministic: bool = False
    """Take the most probable action instead of drawing one, as in training."""
    device: Device = "auto"
    """What computes the network."""


@dataclass(frozen=True)
class Demo:
    """See in a few minutes what plasticity is good for.

    Trains plastic, homogeneous and non-plastic agents on the maze, prints how they compare with acting at
    random and with an oracle, and writes a picture and a GIF. Finished runs are kept, so that a second call
    is quick; others are trained again.
    """

    root: Path = Path("runs/demo")
    """Folder of the demo."""
    seeds: int = 3
    """Runs per core."""
    jobs: int | None = None
    """Runs to train at the same time; None for one per processor."""
    total_timesteps: int = MAZE_PRESETS["demo"].training.total_timesteps
    """Environment steps of each training."""
    quiet: bool = False
    """Show no progress."""

    def comparison(self) -> CompareMaze:
        """The comparison that the demo makes."""
        preset = MAZE_PRESETS["demo"]
        return CompareMaze(
            seeds=self.seeds,
            jobs=self.jobs,
            preset="demo",
            maze=preset.maze,
            agent=preset.agent,
            training=replace(preset.training, total_timesteps=self.total_timesteps),
            output=OutputSettings(root=self.root, overwrite=True, device="cpu", quiet=self.quiet),
        )


Train: TypeAlias = TrainMaze | TrainPatterns | TrainImages | TrainOmniglot
Compare: TypeAlias = CompareMaze | ComparePatterns | CompareImages | CompareOmniglot
Command: TypeAlias = Train | Resume | Compare | Sweep | Evaluate | Watch | Demo | Reproduce
