"""The commands and their options, as typed settings; what they do is in the modules named after them."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, TypeAlias

import tyro

from plasticrl.scripts.commands.options import (
    CompareOptions,
    ImagesOptions,
    MazeOptions,
    OmniglotOptions,
    PatternsOptions,
    SweepOptions,
    TrainOptions,
)
from plasticrl.scripts.experiments.paper import Budget, TaskName
from plasticrl.scripts.settings.maze import (
    MAZE_PRESETS,
    CoreChoice,
    Device,
    LesionChoice,
    MazeId,
    OutputSettings,
)
from plasticrl.scripts.settings.supervised import CompletionCore, DatasetChoice, OcclusionChoice, OneShotCore


@dataclass(frozen=True)
class SweepMaze(MazeOptions, SweepOptions):
    """Train many runs on the maze, on one machine or a Ray cluster, and compare the cores.

    Does what compare does, with the same folders, table and picture. Runs whose process or machine dies are
    started again and go on from their last checkpoint; a run that fails is told at the end and stops no
    other. When the sweep itself was stopped, the same command goes on with it. On several machines ROOT
    must be a folder that all of them share. Without the extra (pip install 'plasticrl[sweep]') it trains one
    run after another, as with --local.
    """

    cores: tuple[CoreChoice, ...] = ("plastic", "homogeneous", "rnn")
    """Networks to compare; see train."""


@dataclass(frozen=True)
class SweepPatterns(PatternsOptions, SweepOptions):
    """Train many runs on patterns, on one machine or a Ray cluster; see sweep maze."""

    cores: tuple[CompletionCore, ...] = ("plastic", "homogeneous", "rnn")
    """Networks to compare; see train."""


@dataclass(frozen=True)
class SweepImages(ImagesOptions, SweepOptions):
    """Train many runs on images, on one machine or a Ray cluster; see sweep maze."""

    cores: tuple[CompletionCore, ...] = ("plastic", "homogeneous", "rnn")
    """Networks to compare; see train."""


@dataclass(frozen=True)
class SweepOmniglot(OmniglotOptions, SweepOptions):
    """Train many runs on Omniglot, on one machine or a Ray cluster; see sweep maze."""

    cores: tuple[OneShotCore, ...] = ("plastic", "homogeneous", "rnn")
    """Networks to compare; see train."""


Sweep: TypeAlias = SweepMaze | SweepPatterns | SweepImages | SweepOmniglot


_OF_ALL_TASKS = ("run", "episodes", "seed", "device", "json")


@dataclass(frozen=True)
class Evaluate:
    """Try a trained network on episodes that it was not trained on, and print its scores. Nothing is written.

    With the seed left open, a run's newest checkpoint gives the very numbers of its result.json. Many options
    are for one task only, which is named in brackets.
    """

    run: tyro.conf.Positional[Path]
    """A run's folder (its newest checkpoint is taken), or a checkpoint file in one."""
    episodes: int | None = None
    """Episodes to try; None for as many as at the end of the training."""
    seed: int | None = None
    """Seed of the episodes, and of the actions in the maze; None for the one used at the end of the \
training."""
    deterministic: bool = False
    """Take the most probable action instead of drawing one, as in training (maze)."""
    env: MazeId | None = None
    """Another environment to play in; None for the run's own (maze)."""
    size: int | None = None
    """Another side of the maze, in squares; odd. None for the run's own (maze)."""
    episode_length: int | None = None
    """Another number of steps; None for the run's own (maze)."""
    relocate_every: int | None = None
    """Steps after which the reward moves to another square; None for the run's own (maze)."""
    layout_seed: int | None = None
    """Another maze, with irregular pillars; None for the run's own (maze)."""
    lesion: LesionChoice | None = None
    """Tamper with the trace from --lesion-step of each episode on: frozen (it changes no more), cleared (it \
is zero once), silenced (it stays zero) (maze, plastic and homogeneous)."""
    lesion_step: int | None = None
    """Step of the episode at which the lesion is made; None: 0 (maze)."""
    dataset: DatasetChoice | None = None
    """Held-out images from elsewhere; None for the run's own (images)."""
    occlusion: OcclusionChoice | None = None
    """What the query hides; None for the run's own (images)."""
    share: float | None = None
    """Share that random pixels or the square hide; None for the run's own (images)."""
    n_way: int | None = None
    """Another number of classes, no more than it was trained with; None for that (omniglot)."""
    k_shot: int | None = None
    """Another number of labelled drawings of each class; None for the run's own (omniglot)."""
    data_dir: Path | None = None
    """Where the data are; see train (images, omniglot)."""
    device: Device = "auto"
    """What computes the network."""
    json: bool = False
    """Print JSON instead of a table."""

    def given(self) -> dict[str, Any]:
        """The options that only some tasks have and that were given, by name."""
        names = (field.name for field in fields(self) if field.name not in _OF_ALL_TASKS)
        options = {name: getattr(self, name) for name in names}
        return {name: value for name, value in options.items() if value is not None and value is not False}


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
