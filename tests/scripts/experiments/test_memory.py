"""The benchmark of memory: its tasks are in the presets, and their bounds are what they are said to be."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from plasticrl.agents.presets import PPO, make_envs, missing_packages
from plasticrl.envs import MazeConfig, cue_reward_bracket, maze_bracket
from plasticrl.nn.factory import CORE_NAMES
from plasticrl.scripts.experiments.memory import CORES, PLAIN, TASKS, memory_experiment

SHORT = {"seeds": 2, "first_seed": 3, "total_timesteps": 70}
WITH_PACKAGE = [
    pytest.param(
        name,
        marks=pytest.mark.skipif(
            bool(missing_packages(PPO[task.env_id].imports)), reason="its package is missing"
        ),
    )
    for name, task in TASKS.items()
]


def played(env_id: str, episodes: int) -> tuple[np.ndarray[Any, Any], list[dict[str, Any]]]:
    """Return the points and the last infos of episodes with random actions."""
    env = make_envs(env_id, PPO[env_id], 8, seed=0)
    env.action_space.seed(0)
    env.reset()
    ends: list[dict[str, Any]] = []
    while len(ends) < episodes:
        actions = np.array([env.action_space.sample() for _ in range(8)])
        ends += [info for info in env.step(actions)[3] if "episode" in info]
    env.close()
    return np.array([end["episode"]["r"] for end in ends]), ends


@pytest.mark.filterwarnings("ignore::UserWarning")  # Gymnasium's remarks on others' environments
@pytest.mark.parametrize("name", WITH_PACKAGE)
def test_random_actions_are_worth_the_lower_bound_and_never_more_than_the_upper(name: str) -> None:
    task = TASKS[name]
    points, _ = played(task.env_id, 40 if "Grid" in task.env_id or "Maze" in task.env_id else 120)
    assert abs(points.mean() - task.low) < 4 * points.std() / np.sqrt(len(points)) + 0.02
    assert task.low < task.high
    assert (task.normalized(task.low), task.normalized(task.high)) == (0, 1)
    assert task.normalized(points.max()) < 1 or name == "multiarmed_bandit"  # where single arms pay more


@pytest.mark.parametrize("name", ["maze", "maze_moving", "maze_random"])
def test_the_bounds_of_a_maze_are_its_bracket(name: str) -> None:
    spec = gym.spec(TASKS[name].env_id)
    bracket = maze_bracket(MazeConfig(**spec.kwargs))
    assert TASKS[name].low == pytest.approx(bracket.random, abs=0.005)
    assert TASKS[name].high == pytest.approx(bracket.oracle, abs=0.005)


def test_the_limit_of_cue_reward_is_the_ideal_observers() -> None:
    """Its right answers pay 1 and its wrong ones cost 1."""
    _, ends = played("CueReward-v0", 400)
    answers = np.mean([end["answers"] for end in ends])
    assert TASKS["cue_reward"].high == pytest.approx(answers * (2 * cue_reward_bracket().ideal - 1), rel=0.02)


def test_the_limit_of_higher_lower_is_a_player_who_counts_cards() -> None:
    rng, points = np.random.default_rng(0), []
    for _ in range(1500):
        deck = rng.permutation(np.repeat(np.arange(13), 4))
        left = np.full(13, 4)
        won = 0
        for shown, following in pairwise(deck):
            left[shown] -= 1
            higher = left[shown + 1 :].sum() > left[:shown].sum()
            won += 0 if following == shown else 1 if (following > shown) == higher else -1
        points.append(won / 52)
    assert np.mean(points) == pytest.approx(TASKS["higher_lower"].high, abs=0.01)


def test_the_limit_of_the_bandit_is_the_mean_of_its_best_arm() -> None:
    """The largest of ten uniform numbers is 10 / 11 on average; a pay-out is worth 1, none -1."""
    assert TASKS["multiarmed_bandit"].high == pytest.approx(2 * 10 / 11 - 1, abs=0.001)


def test_the_lower_bound_of_count_recall_is_that_of_27_answers() -> None:
    assert TASKS["count_recall"].low == pytest.approx(2 / 27 - 1, abs=0.001)


def test_cores_of_a_task_differ_in_their_core_only(tmp_path: Path) -> None:
    assert sorted(CORES) == sorted(CORE_NAMES)
    assert {*PLAIN, *PLAIN.values()} <= {*CORES}
    experiment = memory_experiment([*TASKS], CORES, **SHORT, root=tmp_path)  # type: ignore[arg-type]
    assert len(experiment.conditions) == len(TASKS) * len(CORES)
    for task in TASKS:
        runs = [one.run for one in experiment.conditions if one.folder == task]
        assert [run.core for run in runs] == [*CORES]
        for name in ("learning_rate", "final_learning_rate", "n_epochs", "gamma", "ent_coef", "hidden_size"):
            assert len({getattr(run.agent, name) for run in runs}) == 1, name
        assert {run.training.total_timesteps for run in runs} == {70}


def test_every_run_has_a_folder_of_its_own_below_its_task(tmp_path: Path) -> None:
    experiment = memory_experiment([*TASKS], CORES, **SHORT, root=tmp_path)  # type: ignore[arg-type]
    trials = experiment.trials()
    assert {one.run.seed for one in trials} == {3, 4}
    assert len({one.folder for one in trials}) == len(trials) == 2 * len(TASKS) * len(CORES)
    assert {one.folder.relative_to(tmp_path).parts[0] for one in trials} == {*TASKS}


@pytest.mark.parametrize("name", TASKS)
def test_a_training_is_as_long_as_the_presets_unless_the_task_says_otherwise(
    name: str, tmp_path: Path
) -> None:
    options: Any = {**SHORT, "total_timesteps": None}
    run = memory_experiment([name], ["lstm"], **options, root=tmp_path).conditions[0].run
    assert run.total == (TASKS[name].total_timesteps or PPO[TASKS[name].env_id].total_timesteps)
