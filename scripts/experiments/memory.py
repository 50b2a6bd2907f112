"""The benchmark of memory: its tasks with their bounds, and the experiment that trains every core on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, get_args

from plasticrl.scripts.experiments.experiment import Condition, Experiment
from plasticrl.scripts.runs.run import Run
from plasticrl.scripts.settings.environments import TUNED
from plasticrl.scripts.settings.groups import changed
from plasticrl.scripts.settings.maze import MazeId
from plasticrl.scripts.settings.tasks import task_named

ALGO = "ppo"


class MemoryTask(NamedTuple):
    """A task of the benchmark. Its settings are the preset of its environment, for every core alike.

    Attributes:
        env_id: id of the environment.
        low: points of random actions, which count as 0 in aggregates.
        high: points that count as 1.
        limit: what they are.
        total_timesteps: env steps of a training; None for the preset's.
    """

    env_id: str
    low: float
    high: float
    limit: str
    total_timesteps: int | None = None

    def normalized(self, points: float) -> float:
        """Return points on a scale from random actions (0) to the limit (1)."""
        return (points - self.low) / (self.high - self.low)


_ALL_RIGHT = "every answer right"
_ORACLE = "an oracle that knows where the reward is"
TASKS: Mapping[str, MemoryTask] = {
    "cartpole_positions": MemoryTask("CartPolePositions-v0", 22.0, 500.0, "the longest episode"),
    "pendulum_positions": MemoryTask("PendulumPositions-v0", -1232.0, 0.0, "no cost at all"),
    "repeat_first": MemoryTask("popgym-RepeatFirstEasy-v0", -0.5, 1.0, _ALL_RIGHT),
    "repeat_previous": MemoryTask("popgym-RepeatPreviousEasy-v0", -0.5, 1.0, _ALL_RIGHT),
    "autoencode": MemoryTask("popgym-AutoencodeEasy-v0", -0.5, 1.0, _ALL_RIGHT),
    "count_recall": MemoryTask("popgym-CountRecallEasy-v0", -0.926, 1.0, _ALL_RIGHT),
    "concentration": MemoryTask("popgym-ConcentrationEasy-v0", -0.193, 1.0, "every pair and no miss"),
    "higher_lower": MemoryTask("popgym-HigherLowerEasy-v0", 0.0, 0.528, "a player who counts cards"),
    "multiarmed_bandit": MemoryTask("popgym-MultiarmedBanditEasy-v0", 0.0, 0.818, "the best arm, always"),
    "minigrid_memory": MemoryTask("MiniGrid-MemoryS7-v0", 0.18, 1.0, "the right object at once"),
    "maze": MemoryTask("PlasticMaze-v0", -0.06, 405.35, _ORACLE, 2_500_000),
    "maze_moving": MemoryTask("PlasticMazeMoving-v0", 2.24, 395.52, _ORACLE, 2_500_000),
    "maze_random": MemoryTask("PlasticMazeRandom-v0", 2.84, 381.78, _ORACLE, 2_500_000),
    "cue_reward": MemoryTask("CueReward-v0", 0.0, 16.2, "the ideal observer"),
}
"""The tasks by name. Points of random actions are exact, or measured in 2,000 episodes."""

CORES = ("plastic", "plastic_lstm", "plastic_gru", "homogeneous", "rnn", "lstm", "gru", "feedforward")
PLAIN = {"plastic": "rnn", "homogeneous": "rnn", "plastic_lstm": "lstm", "plastic_gru": "gru"}
"""The core of the same cell without plasticity, for each plastic core."""


def memory_experiment(
    tasks: Sequence[str],
    cores: Sequence[str],
    *,
    seeds: int,
    first_seed: int,
    total_timesteps: int | None,
    root: Path,
) -> Experiment:
    """Return the experiment that trains cores on tasks with PPO.

    Args:
        tasks: names of the tasks.
        cores: names of the cores.
        seeds: runs of each core on each task.
        first_seed: the first of their seeds.
        total_timesteps: env steps of each training; None for the task's own number.
        root: root folder of the runs.
    """
    conditions = tuple(
        Condition(condition_of(task, core), _run(task, core, total_timesteps), folder=task)
        for task in tasks
        for core in cores
    )
    return Experiment("", "Memory", conditions, seeds, root=root, first_seed=first_seed)


def condition_of(task: str, core: str) -> str:
    """Return the name of a core's condition on a task."""
    return f"{task} {core}"


def _run(name: str, core: str, total_timesteps: int | None) -> Run:
    task = TASKS[name]
    of_maze = task.env_id in get_args(MazeId)  # its own task, in which actions are drawn in evaluations, too
    entry = task_named("maze" if of_maze else task.env_id)
    groups = entry.learners[ALGO].presets[TUNED].for_core(core)
    total = total_timesteps if total_timesteps is not None else task.total_timesteps
    values: dict[str, Any] = {} if total is None else {"total_timesteps": total}
    if of_maze:
        values["env"] = task.env_id
    return Run(entry.name, ALGO, core, 0, changed(groups, **values))
