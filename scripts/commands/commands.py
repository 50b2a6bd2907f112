"""The commands and their options as typed settings; each is implemented in the module of its name."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias

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

    It does the same as compare, with the same folders, table and picture. A run whose process or machine
    dies is restarted from its last checkpoint; failed runs are listed at the end and do not stop the others.
    A stopped sweep is resumed by the same command. With several machines, ROOT must be a folder that all of
    them share. Without the extra (pip install 'plasticrl[sweep]') it trains one run after another, as with
    --local.
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
    """Evaluate a trained network on episodes that it was not trained on, and print its scores.

    Nothing is written. Without --seed, a run's newest checkpoint gives exactly the numbers of its
    result.json. Options that apply to one task only name it in brackets.
    """

    run: tyro.conf.Positional[Path]
    """A run's folder (its newest checkpoint is used), or a checkpoint file in one."""
    episodes: int | None = None
    """Number of episodes; None for as many as at the end of the training."""
    seed: int | None = None
    """Seed of the episodes, and of the actions in the maze; None for the one used at the end of the \
training."""
    deterministic: bool = False
    """Take the most probable action instead of drawing one, as in training (maze)."""
    env: MazeId | None = None
    """Another environment to play in; None for that of the training (maze)."""
    size: int | None = None
    """Another side of the maze, in squares; odd. None for that of the training (maze)."""
    episode_length: int | None = None
    """Another number of steps per episode; None for that of the training (maze)."""
    relocate_every: int | Literal["off"] | None = None
    """Steps after which the reward moves to another square; off: it stays for the whole episode; None for \
that of the training (maze)."""
    layout_seed: int | Literal["off"] | None = None
    """Seed of another maze, with irregular pillars; off: pillars in rows; None for that of the training \
(maze)."""
    lesion: LesionChoice | None = None
    """Change the trace from --lesion-step of each episode on: frozen (it no longer changes), cleared (it is \
set to zero once), silenced (it stays zero) (maze, plastic and homogeneous)."""
    lesion_step: int | None = None
    """Step of the episode at which the lesion is made; None: 0 (maze)."""
    dataset: DatasetChoice | None = None
    """Held-out images of another data set; None for that of the training (images)."""
    occlusion: OcclusionChoice | None = None
    """Part hidden in the query; None for that of the training (images)."""
    share: float | None = None
    """Fraction of the image that random pixels or the square hide; None for that of the training (images)."""
    n_way: int | None = None
    """Another number of classes, at most that of the training; None for that (omniglot)."""
    k_shot: int | None = None
    """Another number of labelled drawings per class; None for that of the training (omniglot)."""
    data_dir: Path | None = None
    """Folder with the data; see train (images, omniglot)."""
    device: Device = "auto"
    """Device that computes the network."""
    json: bool = False
    """Print JSON instead of a table."""

    def given(self) -> dict[str, Any]:
        """Return the given options that only some tasks have, by name."""
        names = (field.name for field in fields(self) if field.name not in _OF_ALL_TASKS)
        options = {name: getattr(self, name) for name in names}
        return {name: value for name, value in options.items() if value is not None and value is not False}


@dataclass(frozen=True)
class Reproduce:
    """Reproduce an experiment of the paper: train every condition with many seeds, and write a report.

    The runs go to ROOT/EXPERIMENT_BUDGET/CONDITION, and the report to ROOT/EXPERIMENT_BUDGET/report: scores
    with statistics (summary.json), learning curves (curves.csv, curves.png, curves.svg), for the maze the
    steadiness of learning (steadiness.json), and, for each network of a supervised task with a checkpoint,
    pictures of its answers in a few episodes and of its w, alpha and trace. The report covers all runs of the
    experiment below ROOT, including those not requested now. The command can be stopped at any time: it then
    reports on the finished runs, and the same command resumes it.
    """

    experiment: tyro.conf.Positional[TaskName]
    """Experiment to reproduce."""
    budget: Budget = "quick"
    """quick: smaller networks or shorter trainings, hours on a laptop. paper: the paper's sizes, days."""
    seeds: int | None = None
    """Runs to train per condition, with seeds 0, 1, 2 and so on; None for the budget's number."""
    conditions: tuple[str, ...] = ()
    """Conditions to train; none means all. A wrong name prints the list."""
    train: bool = True
    """Train the missing runs; --no-train only reports on existing ones."""
    jobs: int | None = None
    """Runs to train at the same time, one thread each unless --threads is given; None: one per processor."""
    data_dir: Path | None = None
    """Folder with the data; see train (images, omniglot)."""
    output: OutputSettings = field(default_factory=lambda: OutputSettings(root=Path("runs/reproduction")))


@dataclass(frozen=True)
class TrainMaze(MazeOptions, TrainOptions):
    """Train one agent on the maze.

    The run goes to ROOT/maze/CORE/seed_SEED: settings, checkpoints, TensorBoard events, progress.csv, and
    the result of an evaluation at the end. The same command resumes a stopped run. A folder that holds
    another run is refused; --overwrite removes the files of that run first.
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
    """Train one network to classify handwritten characters that it saw once, earlier in the episode.

    The run goes to ROOT/omniglot/CORE/seed_SEED; otherwise as train maze. It is trained and evaluated on
    different characters.
    """

    core: OneShotCore = "plastic"
    """Last layer: plastic (a plasticity coefficient for every connection), homogeneous (one for all), or \
rnn (no plasticity)."""


@dataclass(frozen=True)
class Resume:
    """Resume an unfinished training, bit-exactly as if it had not been stopped.

    Running the command that began it again does the same.
    """

    resume: Path
    """The run's folder, such as runs/maze/plastic/seed_0."""
    data_dir: Path | None = None
    """Folder with the data; see train (images, omniglot)."""
    device: Device = "auto"
    """Device that computes the network."""
    threads: int | None = None
    """Number of threads for the network; None leaves the choice to torch."""
    keep: int | None = 2
    """Number of newest checkpoints to keep; None keeps all."""
    quiet: bool = False
    """Show no progress."""


@dataclass(frozen=True)
class CompareMaze(MazeOptions, CompareOptions):
    """Train several cores on the maze and compare them.

    It trains the missing runs, several at a time, prints a table, and writes it with a picture of the
    learning curves to ROOT/maze. Finished runs with the same settings are kept, and unfinished ones are
    resumed. Runs with other settings are refused; --overwrite trains them again.
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
    """Train several networks to classify characters and compare them; see compare maze."""

    cores: tuple[OneShotCore, ...] = ("plastic", "homogeneous", "rnn")
    """Networks to compare; see train."""


@dataclass(frozen=True)
class Watch:
    """Watch an agent in the maze for one episode: in the terminal, or as a GIF."""

    run: tyro.conf.Positional[Path]
    """A run's folder (its newest checkpoint is used), or a checkpoint file in one."""
    gif: Path | None = None
    """GIF file to write or replace; None shows the episode in the terminal."""
    before: bool = False
    """Also show the untrained agent, on the left, in the same maze."""
    fps: float = 12.0
    """Steps per second."""
    seed: int = 0
    """Seed of the maze and the actions."""
    deterministic: bool = False
    """Take the most probable action instead of drawing one, as in training."""
    device: Device = "auto"
    """Device that computes the network."""


@dataclass(frozen=True)
class Demo:
    """Show the benefit of plasticity in a few minutes.

    It trains plastic, homogeneous and non-plastic agents on the maze, prints a comparison with a random agent
    and an oracle, and writes a picture and a GIF. Finished runs are kept, so that a second call is quick;
    others are trained again.
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
        """Return the comparison that the demo makes."""
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
