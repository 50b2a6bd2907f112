"""The random and the shortest-path agent, which bracket every maze result, and their exact expected scores.

One knows the goal and walks shortest paths, the other acts at random. Because both agents and the rules of
the maze are known, their expected scores are computed, not sampled. A policy is a table of action
probabilities, indexed by (goal, square, action) over the layout's squares.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from plasticrl.envs.maze.config import MazeConfig
from plasticrl.envs.maze.expected_score import Goals, Value, expected_score
from plasticrl.envs.maze.layout import ACTIONS, MazeLayout, layout_of

Policy = NDArray[np.float64]  # (F, F, 4): goal, square, action


@dataclass(frozen=True)
class MazeBracket:
    """Expected scores per episode: of random actions, and of shortest paths to a known goal."""

    random: float
    oracle: float


def shortest_distances(layout: MazeLayout, goals: Goals) -> NDArray[np.intp]:
    """Return the distances of every square to G goals in steps, (F, G), by breadth-first search."""
    n_goals = len(goals)
    distance = np.full(layout.n_squares * n_goals, -1)
    reached, steps = goals * n_goals + np.arange(n_goals), 0  # indices into the flat table
    while len(reached):
        distance[reached] = steps
        square, goal = np.divmod(reached, n_goals)
        near = layout.next_square[square] * n_goals + goal[:, None]
        reached, steps = np.unique(near[distance[near] < 0]), steps + 1
    return distance.reshape(layout.n_squares, n_goals)


def first_actions(layout: MazeLayout, goals: Goals) -> NDArray[np.intp]:
    """Return the first action on a shortest path from every square to each of G goals, (F, G)."""
    actions: NDArray[np.intp] = shortest_distances(layout, goals)[layout.next_square].argmin(axis=1)
    return actions


def oracle_policy(layout: MazeLayout) -> Policy:
    """Return the probabilities of the agent that takes the first action on a shortest path to the goal."""
    policy: Policy = np.eye(len(ACTIONS))[first_actions(layout, np.arange(layout.n_squares)).T]
    return policy


def random_policy(layout: MazeLayout) -> Policy:
    """Return the probabilities of the agent that takes all actions with equal probability."""
    return np.full((layout.n_squares, layout.n_squares, len(ACTIONS)), 1 / len(ACTIONS))


class _Oracle:
    """The shortest-path agent, a :class:`plasticrl.envs.maze.expected_score.KnownAgent`."""

    def __init__(self, config: MazeConfig, goals: Goals) -> None:
        layout, each = layout_of(config), np.arange(len(goals))
        there = np.take_along_axis(layout.next_square, first_actions(layout, goals), axis=1)
        self.pay: Value = np.where(there == goals, config.reward, 0.0)  # it never walks into a wall
        self._there = there * len(goals) + each  # indices into the flat value

    def ahead(self, value: Value) -> Value:
        ahead: Value = value.take(self._there)
        return ahead


class _Random:
    """The random agent, a :class:`plasticrl.envs.maze.expected_score.KnownAgent`."""

    def __init__(self, config: MazeConfig, goals: Goals) -> None:
        next_square = layout_of(config).next_square
        finds = next_square[:, :, None] == goals  # (F, 4, G)
        hits = (next_square == np.arange(len(next_square))[:, None])[:, :, None]
        self.pay: Value = np.where(finds, config.reward, -config.wall_penalty * hits).mean(axis=1)
        self._there = list(next_square.T)

    def ahead(self, value: Value) -> Value:
        first, *others = self._there
        total: Value = value.take(first, axis=0)
        for there in others:
            total += value.take(there, axis=0)
        total /= len(ACTIONS)
        return total


@lru_cache(maxsize=64)
def maze_bracket(config: MazeConfig) -> MazeBracket:
    """Return the expected scores of the random and of the shortest-path agent.

    They are -0.06 and 405.3 at the defaults. Each configuration is computed once, in well under a second at
    the paper's sizes and in about 4 s at size 41.

    Raises:
        ValueError: the reward is not positive, so that knowing its location does not help.
    """
    if config.reward <= 0:
        raise ValueError(f"a bracket needs a maze with a positive reward, got reward={config.reward}")
    return MazeBracket(
        random=expected_score(config, _Random),
        oracle=expected_score(config, _Oracle),
    )


def oracle_share(score: float, config: MazeConfig) -> float:
    """Return a mean episode score on a scale from the random agent (0) to the oracle (1).

    Raises:
        ValueError: the reward is not positive; see ``maze_bracket``.
    """
    bracket = maze_bracket(config)
    return (score - bracket.random) / (bracket.oracle - bracket.random)
