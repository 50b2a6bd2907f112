"""The compiled transition of the maze for one episode, for rollouts that run in a single compiled loop.

``MazeDynamics.step`` is the definition. This module repeats it in a form that numba can compile; a test
compares the two step by step.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from plasticrl.envs.maze.config import IntArray, MazeState
from plasticrl.envs.maze.env import MazeDynamics, PlasticMazeVectorEnv
from plasticrl.ops.numba.compilation import kernel


class Mazes(NamedTuple):
    """L layouts of a maze as arrays; S squares, at most G goals, D observed numbers."""

    next_square: NDArray[np.intp]  # (L, S * 4) by square and action
    reward: NDArray[np.float64]  # (L, S * 4)
    observation: NDArray[np.float32]  # (L, S * 4, D)
    windows: NDArray[np.float32]  # (L, S, 9)
    start_observation: NDArray[np.float32]  # (L, D)
    goals: NDArray[np.intp]  # (L, G)
    n_goals: NDArray[np.intp]  # (L,)
    start: NDArray[np.intp]  # (L,)
    find_reward: float
    episode_length: int
    observe_time: bool
    recenter: bool
    relocate_every: int  # 0: never
    random_layout: bool


class Maze(NamedTuple):
    """One of them."""

    next_square: NDArray[np.intp]  # (S * 4,)
    reward: NDArray[np.float64]  # (S * 4,)
    observation: NDArray[np.float32]  # (S * 4, D)
    windows: NDArray[np.float32]  # (S, 9)
    start_observation: NDArray[np.float32]  # (D,)
    goals: NDArray[np.intp]  # (G,) only its own
    start: int
    find_reward: float
    episode_length: int
    observe_time: bool
    recenter: bool
    relocate_every: int
    random_layout: bool


class MazePosition(NamedTuple):
    """State of one episode, and its position in the random numbers."""

    square: int
    goal: int
    step: int
    draws: int  # random numbers used


def mazes_of(dynamics: MazeDynamics, layout: IntArray) -> Mazes:
    """Return the arrays of the mazes of B episodes.

    Args:
        dynamics: their rules.
        layout: (B,) the numbers of their layouts; L is B if layouts are random, else 1.
    """
    config, tables = dynamics.config, dynamics.tables(layout)
    count = len(tables.start)
    return Mazes(
        next_square=tables.next_square.reshape(count, -1),
        reward=tables.rewards.reshape(count, -1),
        observation=tables.observations.reshape(count, dynamics.n_squares * 4, -1),
        windows=tables.windows.reshape(count, -1, 9),
        start_observation=tables.start_observation,
        goals=tables.goals,
        n_goals=tables.n_goals,
        start=tables.start,
        find_reward=float(config.reward),
        episode_length=int(config.episode_length),
        observe_time=bool(config.observe_time),
        recenter=bool(config.recenter),
        relocate_every=int(config.relocate_every or 0),
        random_layout=bool(config.random_layout),
    )


class Stretch(NamedTuple):
    """Steps of B episodes in the same mazes."""

    steps: tuple[int, int]  # the first one, and the one after the last
    mazes: Mazes
    positions: NDArray[np.intp]  # (B, 4): square, goal, step and draws of each, before the first step


def stretches(
    env: PlasticMazeVectorEnv, uniform: NDArray[np.float64], observations: NDArray[np.float32]
) -> Iterator[Stretch]:
    """Divide T steps into stretches, which the caller plays one after the other; the env is not changed.

    There is one unless layouts are random: then each ends with its episodes, all of which do together. The
    next ones are started here, after the caller has changed the positions to those after the last step.

    Args:
        env: the mazes.
        uniform: the numbers in [0, 1) that each maze draws next, enough for T steps.
        observations: (T + 1, B, D), of which the caller writes those within a stretch, and this function the
            first ones of new episodes.
    """
    dynamics, state, end = env.dynamics, env.state, len(observations) - 1
    layout, positions, first = state.layout, _positions(state, 0), 0
    while first < end:
        last = end
        if env.config.random_layout:
            last = min(end, first + env.episode_length - int(positions[0, 2]))
        yield Stretch((first, last), mazes_of(dynamics, layout), positions)
        if env.config.random_layout and positions[0, 2] == env.episode_length:
            draws = positions[:, 3:]
            numbers = np.take_along_axis(uniform, draws + np.arange(dynamics.draws), axis=1)
            state, observations[last] = dynamics.begin(numbers)
            layout, positions = state.layout, _positions(state, draws[:, 0] + dynamics.draws)
        first = last


def _positions(state: MazeState, draws: IntArray | int) -> NDArray[np.intp]:
    used = np.broadcast_to(draws, state.square.shape)
    return np.stack([state.square, state.goal, state.step, used], axis=1)


@kernel
def maze_of(mazes: Mazes, episode: int) -> Maze:
    """Return the maze of one of the episodes."""
    row = episode if mazes.random_layout else 0
    return Maze(
        mazes.next_square[row],
        mazes.reward[row],
        mazes.observation[row],
        mazes.windows[row],
        mazes.start_observation[row],
        mazes.goals[row, : mazes.n_goals[row]],
        mazes.start[row],
        mazes.find_reward,
        mazes.episode_length,
        mazes.observe_time,
        mazes.recenter,
        mazes.relocate_every,
        mazes.random_layout,
    )


@kernel
def maze_step(
    maze: Maze,
    at: MazePosition,
    action: int,
    uniform: NDArray[np.float64],
    observation: NDArray[np.float32],
) -> tuple[MazePosition, float, bool]:
    """Take one step, and start a new episode if it was the last one.

    With random layouts the caller starts it, in another maze: ``MazeDynamics.begin``.

    Args:
        maze: the maze.
        at: state of the episode.
        action: 0 .. 3.
        uniform: the generator's numbers in [0, 1), of which the first ``at.draws`` are used.
        observation: (D,), overwritten with the next observation.

    Returns:
        The new state, the reward, and True if the episode ended.
    """
    code = at.square * 4 + action
    square, goal, draws = maze.next_square[code], at.goal, at.draws
    reward = maze.reward[code]
    step = at.step + 1
    ended = step >= maze.episode_length
    if square == goal:
        reward = maze.find_reward
    if ended and maze.random_layout:
        return MazePosition(square, goal, step, draws), reward, ended
    if ended:
        observation[:] = maze.start_observation
        goal = maze.goals[int(uniform[draws] * len(maze.goals))]
        return MazePosition(maze.start, goal, 0, draws + 1), reward, ended
    observation[:] = maze.observation[code]
    if square == goal:
        observation[9] = reward
        if maze.recenter:
            square = maze.start
        else:
            square = int(uniform[draws] * (len(maze.windows) - 1))
            square += square >= goal  # uniform over the squares that are not the goal
            draws += 1
        observation[:9] = maze.windows[square]
    if maze.observe_time:
        observation[-1] = step / maze.episode_length
    if maze.relocate_every and step % maze.relocate_every == 0:
        number = int(uniform[draws] * (len(maze.goals) - 1))
        own = np.searchsorted(maze.goals, goal)
        goal = maze.goals[number + (number >= own)]  # uniform over the other goals
        draws += 1
    return MazePosition(square, goal, step, draws), reward, ended
