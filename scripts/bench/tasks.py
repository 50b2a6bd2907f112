"""The tasks of the benchmark of learning: small environments that need memory, or do not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.wrappers import TransformObservation

import plasticrl.envs.registration  # noqa: F401  (registers PlasticRecall-v0 and the maze)


def without_velocities(env_id: str, keep: Sequence[int]) -> gym.Env[Any, Any]:
    """Return an environment whose observations have only the given columns."""
    env = gym.make(env_id)
    assert isinstance(env.observation_space, spaces.Box)
    low, high = (bound[list(keep)] for bound in (env.observation_space.low, env.observation_space.high))
    return TransformObservation(env, lambda seen: seen[list(keep)], spaces.Box(low, high, dtype=np.float32))


def _popgym(env_id: str) -> gym.Env[Any, Any]:
    return gym.make(f"popgym:popgym-{env_id}-v0")


class Task(NamedTuple):
    """A task of the benchmark.

    Attributes:
        make: makes one environment.
        steps: env steps of a training.
        needs: the package to install, if it is not one of plasticrl's.
        preset: id of the environment whose preset the agents have; empty for the general defaults.
    """

    make: Callable[[], gym.Env[Any, Any]]
    steps: int
    needs: str = ""
    preset: str = ""


_MAZE = "PlasticMaze-v0"
TASKS = {
    **{
        f"recall_{delay}": Task(partial(gym.make, "PlasticRecall-v0", delay=delay), 120_000)
        for delay in (5, 10, 20)
    },
    "cartpole": Task(partial(gym.make, "CartPole-v1"), 100_000),
    "cartpole_positions": Task(partial(without_velocities, "CartPole-v1", (0, 2)), 150_000),
    "maze": Task(partial(gym.make, _MAZE), 2_500_000, preset=_MAZE),
    "maze_5m": Task(partial(gym.make, _MAZE), 5_000_000, preset=_MAZE),
    "pendulum_positions": Task(partial(without_velocities, "Pendulum-v1", (0, 1)), 300_000),
    "repeat_first": Task(partial(_popgym, "RepeatFirstEasy"), 300_000, "popgym"),
    "repeat_previous": Task(partial(_popgym, "RepeatPreviousEasy"), 300_000, "popgym"),
}
