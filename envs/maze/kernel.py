"""The compiled transition of the maze for one episode, for rollouts that run in a single compiled loop.

``MazeDynamics.step`` is the definition. This module repeats it in a form that numba can compile; a test
compares the two step by step.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from plasticrl.envs.maze.env import MazeDynamics
from plasticrl.ops.numba.compilation import kernel


class MazeTables(NamedTuple):
    """A maze as arrays; S squares, G goals, D observed numbers."""

    next_square: NDArray[np.intp]  # (S * 4,) by square and action
    reward: NDArray[np.float64]  # (S * 4,)
    observation: NDArray[np.float32]  # (S * 4, D)
    windows: NDArray[np.float32]  # (S, 9)
    start_observation: NDArray[np.float32]  # (D,)
    goals: NDArray[np.intp]  # (G,)
    start: int
    find_reward: float
    episode_length: int
    observe_time: bool
    recenter: bool
    relocate_every: int  # 0: never


class MazePosition(NamedTuple):
    """State of one episode, and its position in the random numbers."""

    square: int
    goal: int
    step: int
    draws: int  # random numbers used


def maze_tables(dynamics: MazeDynamics) -> MazeTables:
    """Return the arrays of one maze."""
    config = dynamics.config
    return MazeTables(
        next_square=dynamics.next_square,
        reward=dynamics.rewards,
        observation=dynamics.observations,
        windows=np.ascontiguousarray(dynamics.layout.windows),
        start_observation=dynamics.start_observation,
        goals=np.ascontiguousarray(dynamics.goals),
        start=int(dynamics.layout.start),
        find_reward=float(config.reward),
        episode_length=int(config.episode_length),
        observe_time=bool(config.observe_time),
        recenter=bool(config.recenter),
        relocate_every=int(config.relocate_every or 0),
    )


@kernel
def maze_step(
    tables: MazeTables,
    at: MazePosition,
    action: int,
    uniform: NDArray[np.float64],
    observation: NDArray[np.float32],
) -> tuple[MazePosition, float, bool]:
    """Take one step, and start a new episode if it was the last one.

    Args:
        tables: the maze.
        at: state of the episode.
        action: 0 .. 3.
        uniform: the generator's numbers in [0, 1), of which the first ``at.draws`` are used.
        observation: (D,), overwritten with the next observation.

    Returns:
        The new state, the reward, and True if the episode ended.
    """
    code = at.square * 4 + action
    square, goal, draws = tables.next_square[code], at.goal, at.draws
    reward = tables.reward[code]
    step = at.step + 1
    ended = step >= tables.episode_length
    if square == goal:
        reward = tables.find_reward
    if ended:
        observation[:] = tables.start_observation
        goal = tables.goals[int(uniform[draws] * len(tables.goals))]
        return MazePosition(tables.start, goal, 0, draws + 1), reward, ended
    observation[:] = tables.observation[code]
    if square == goal:
        observation[9] = reward
        if tables.recenter:
            square = tables.start
        else:
            square = int(uniform[draws] * (len(tables.windows) - 1))
            square += square >= goal  # uniform over the squares that are not the goal
            draws += 1
        observation[:9] = tables.windows[square]
    if tables.observe_time:
        observation[-1] = step / tables.episode_length
    if tables.relocate_every and step % tables.relocate_every == 0:
        number = int(uniform[draws] * (len(tables.goals) - 1))
        own = np.searchsorted(tables.goals, goal)
        goal = tables.goals[number + (number >= own)]  # uniform over the other goals
        draws += 1
    return MazePosition(square, goal, step, draws), reward, ended
