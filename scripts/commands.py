"""The commands and their options, as typed settings; what they do is in the modules named after them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeAlias

import tyro

from plasticrl.scripts.presets import MAZE_PRESETS, PresetName
from plasticrl.scripts.settings import (
    AgentSettings,
    CoreChoice,
    Device,
    MazeId,
    MazeRun,
    MazeSettings,
    OutputSettings,
    TrainingSettings,
)

_DEFAULT = MAZE_PRESETS["tuned"]


@dataclass(frozen=True)
class TrainMaze:
    """Train one agent on the maze.

    The run goes to ROOT/maze/CORE/seed_SEED: settings, checkpoints, TensorBoard events, progress.csv, and
    the result of an evaluation at the end. A folder that already holds a run is refused; --overwrite
    removes that run first.
    """

    core: CoreChoice = "plastic"
    """Network: plastic (a plasticity coefficient for every connection), homogeneous (one for all), rnn \
(no plasticity), lstm, gru, or feedforward (no memory)."""
    seed: int = 0
    """Seed of the weights, the mazes and the actions."""
    preset: PresetName = "tuned"
    """Which defaults the options below have: tuned, the paper's own (Miconi et al. 2018), or the demo's."""
    maze: MazeSettings = _DEFAULT.maze
    agent: AgentSettings = _DEFAULT.agent
    training: TrainingSettings = _DEFAULT.training
    output: OutputSettings = field(default_factory=OutputSettings)

    def run(self) -> MazeRun:
        """What is to be trained."""
        return MazeRun(self.core, self.seed, self.maze, self.agent, self.training)


@dataclass(frozen=True)
class CompareMaze:
    """Train several cores on the maze and compare them.

    Trains the runs that are missing, several at a time, prints a table, and writes it with a picture of
    the learning curves to ROOT/maze. Finished runs with the same settings are kept. Runs in the way
    (unfinished, or with other settings) are refused; --overwrite trains those again.
    """

    cores: tuple[CoreChoice, ...] = ("plastic", "homogeneous", "rnn")
    """Networks to compare; see train."""
    seeds: int = 3
    """Runs per core, with seeds 0, 1, 2 and so on."""
    jobs: int | None = None
    """Runs to train at the same time, each on one thread unless told otherwise; None: one per processor."""
    preset: PresetName = "tuned"
    """Which defaults the options below have: tuned, the paper's own (Miconi et al. 2018), or the demo's."""
    maze: MazeSettings = _DEFAULT.maze
    agent: AgentSettings = _DEFAULT.agent
    training: TrainingSettings = _DEFAULT.training
    output: OutputSettings = field(default_factory=OutputSettings)

    def runs(self) -> list[MazeRun]:
        """What is to be trained, core by core within a seed."""
        return [
            MazeRun(core, seed, self.maze, self.agent, self.training)
            for seed in range(self.seeds)
            for core in self.cores
        ]


@dataclass(frozen=True)
class Evaluate:
    """Play episodes with a trained agent and print its scores. Nothing is written.

    With the seed left open, a run's newest checkpoint gives the very numbers of its result.json.
    """

    run: tyro.conf.Positional[Path]
    """A run's folder (its newest checkpoint is taken), or a checkpoint file in one."""
    episodes: int | None = None
    """Episodes to play; None for as many as at the end of the training."""
    seed: int | None = None
    """Seed of the mazes and the actions; None for the one used at the end of the training."""
    deterministic: bool = False
    """Take the most probable action instead of drawing one, as in training."""
    env: MazeId | None = None
    """Another environment to play in; None for the run's own."""
    size: int | None = None
    """Another side of the maze, in squares; odd. None for the run's own."""
    episode_length: int | None = None
    """Another number of steps; None for the run's own."""
    device: Device = "auto"
    """What computes the network."""
    json: bool = False
    """Print JSON instead of a table."""


@dataclass(frozen=True)
class Watch:
    """Watch a trained agent for one episode: in the terminal, or as a GIF."""

    run: tyro.conf.Positional[Path]
    """A run's folder (its newest checkpoint is taken), or a checkpoint file in one."""
    gif: Path | None = None
    """File to write the GIF to; None shows the episode in the terminal. A GIF that is there is replaced."""
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


Command: TypeAlias = TrainMaze | CompareMaze | Evaluate | Watch | Demo
