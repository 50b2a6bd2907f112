"""Small environments that need memory, or do not, for the benchmark of learning."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.wrappers import TransformObservation


class Recall(gym.Env[Any, Any]):
    """Recall of one bit: a cue is shown at the first step, and must be named ``delay`` steps later.

    An observation is the cue as one-hot, zeros after the first step, and whether this is the last step. The
    right action there pays 1, nothing else pays.

    Args:
        delay: steps from the cue to its recall.
    """

    observation_space = spaces.Box(0, 1, (3,), np.float32)
    action_space = spaces.Discrete(2)

    def __init__(self, delay: int) -> None:
        self.delay = delay

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        """Show the cue."""
        super().reset(seed=seed)
        self._steps, self._cue = 0, int(self.np_random.integers(2))
        return np.eye(3, dtype=np.float32)[self._cue], {}

    def step(self, action: int) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Take one step; the last one is paid."""
        last = self._steps == self.delay
        self._steps += 1
        observation = np.zeros(3, dtype=np.float32)
        observation[2] = self._steps == self.delay
        return observation, float(last and action == self._cue), last, False, {}


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
    **{f"recall_{delay}": Task(partial(Recall, delay), 120_000) for delay in (5, 10, 20)},
    "cartpole": Task(partial(gym.make, "CartPole-v1"), 100_000),
    "cartpole_positions": Task(partial(without_velocities, "CartPole-v1", (0, 2)), 150_000),
    "maze": Task(partial(gym.make, _MAZE), 2_500_000, preset=_MAZE),
    "maze_5m": Task(partial(gym.make, _MAZE), 5_000_000, preset=_MAZE),
    "pendulum_positions": Task(partial(without_velocities, "Pendulum-v1", (0, 1)), 300_000),
    "repeat_first": Task(partial(_popgym, "RepeatFirstEasy"), 300_000, "popgym"),
    "repeat_previous": Task(partial(_popgym, "RepeatPreviousEasy"), 300_000, "popgym"),
}
