"""The random and the shortest-path agent, which bracket every maze result, and their exact expected scores.

One knows the goal and walks shortest paths, the other acts at random. Because both agents and the rules of
the maze are known, their expected scores are computed, not sampled, by backward induction over an episode's
steps. A value is the expected return of the remaining steps, by square and goal, (F, G). Different goals
interact only when the reward moves, so they are processed a few at a time: their values then fit into the
CPU cache.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from plasticrl.envs.maze.config import ACTIONS, MazeConfig, MazeLayout, layout_of
from plasticrl.envs.maze.env import MazeDynamics

Policy = NDArray[np.float64]  # (F, F, 4): action probabilities by goal, square and action
Goals = NDArray[np.intp]  # (G,) square numbers
Value = NDArray[np.float64]  # (F, G)
_VALUES_AT_A_TIME = 2**16  # 512 KiB
_SQUARES = 6_500  # of the layouts whose mean stands for all random ones; scores of large mazes differ less


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


class KnownAgent(NamedTuple):
    """One step of an agent from every square, for G goals."""

    pay: Value  # expected reward
    ahead: Callable[[Value], Value]  # from values to those of the square that the step leads to, a new array


AgentOf = Callable[[MazeConfig, Goals], KnownAgent]


def expected_score(config: MazeConfig, agent_of: AgentOf) -> float:
    """Return the expected sum of rewards of an episode.

    Takes about 3 ns per step, square and goal. If the reward moves, memory grows as squares times goals.

    Args:
        config: the maze.
        agent_of: creates the agent for some goals.
    """
    layout, goals = layout_of(config), MazeDynamics(config).goals
    several = max(1, _VALUES_AT_A_TIME // layout.n_squares)
    parts: Iterable[_Part] = (
        _Part(config, layout, goals[k : k + several], agent_of) for k in range(0, len(goals), several)
    )
    *later, first = _phases(config)
    if later:
        parts = list(parts)
    for steps in later:
        for part in parts:
            part.step_back(steps)
        _move_reward(parts, len(goals))
    score = 0.0
    for part in parts:
        part.step_back(first)
        score += float(part.value[layout.start].sum())
    return score / len(goals)


def _phases(config: MazeConfig) -> list[int]:
    """Return the numbers of steps between the reward's moves, latest first."""
    length = int(config.episode_length)
    every = length if config.relocate_every is None else int(config.relocate_every)
    moves = (length - 1) // every
    return [length - moves * every, *[every] * moves]


class _Part:
    """Some of the goals, with the value of the steps that follow the current one."""

    def __init__(self, config: MazeConfig, layout: MazeLayout, goals: Goals, agent_of: AgentOf) -> None:
        self._at_goal = (goals, np.arange(len(goals)))
        self._agent = agent_of(config, goals)
        self._respawn = layout.start if config.recenter else None
        self.value: Value = np.zeros((layout.n_squares, len(goals)))

    def step_back(self, steps: int) -> None:
        """Move the value back in time by ``steps`` steps."""
        for _ in range(steps):
            # Arriving at the goal has the value of the square to respawn on.
            if self._respawn is not None:
                respawned = self.value[self._respawn]
            else:
                elsewhere = np.einsum("fg->g", self.value) - self.value[self._at_goal]
                respawned = elsewhere / (len(self.value) - 1)
            self.value[self._at_goal] = respawned
            self.value = self._agent.ahead(self.value)
            self.value += self._agent.pay


def _move_reward(parts: Iterable[_Part], n_goals: int) -> None:
    """Replace the values by those just before the reward moves to one of the other goals."""
    of_all = sum(part.value.sum(axis=1, keepdims=True) for part in parts)
    for part in parts:
        part.value = (of_all - part.value) / (n_goals - 1)


def _shortest_path_agent(config: MazeConfig, goals: Goals) -> KnownAgent:
    layout = layout_of(config)
    there = np.take_along_axis(layout.next_square, first_actions(layout, goals), axis=1)
    pay = np.where(there == goals, config.reward, 0.0)  # it never walks into a wall
    places = there * len(goals) + np.arange(len(goals))  # indices into the flat value
    return KnownAgent(pay, lambda value: value.take(places))


def _random_agent(config: MazeConfig, goals: Goals) -> KnownAgent:
    next_square = layout_of(config).next_square
    finds = next_square[:, :, None] == goals  # (F, 4, G)
    hits = (next_square == np.arange(len(next_square))[:, None])[:, :, None]

    def ahead(value: Value) -> Value:
        first, *others = next_square.T
        total: Value = value.take(first, axis=0)
        for there in others:
            total += value.take(there, axis=0)
        total /= len(ACTIONS)
        return total

    return KnownAgent(np.where(finds, config.reward, -config.wall_penalty * hits).mean(axis=1), ahead)


@lru_cache(maxsize=64)
def maze_bracket(config: MazeConfig) -> MazeBracket:
    """Return the expected scores of the random and of the shortest-path agent.

    They are -0.06 and 405.3 at the defaults. Each configuration is computed once, in well under a second at
    the paper's sizes and in about 4 s at size 41. With ``random_layout`` they are means over several layouts:
    100 at size 9, which take 2 s, and fewer in larger mazes; their standard error is 0.7 % of the oracle's
    score.

    Raises:
        ValueError: the reward is not positive, so that knowing its location does not help.
    """
    config.check_bracket()
    if not config.random_layout:
        return _bracket(config)
    seeds = range(max(2, _SQUARES // layout_of(config).n_squares))
    each = [_bracket(replace(config, random_layout=False, layout_seed=seed)) for seed in seeds]
    random, oracle = np.mean([(one.random, one.oracle) for one in each], axis=0).tolist()
    return MazeBracket(random, oracle)


def _bracket(config: MazeConfig) -> MazeBracket:
    """Return the bracket of one layout."""
    return MazeBracket(
        random=expected_score(config, _random_agent),
        oracle=expected_score(config, _shortest_path_agent),
    )


def oracle_share(score: float, config: MazeConfig) -> float:
    """Return a mean episode score on a scale from the random agent (0) to the oracle (1).

    Raises:
        ValueError: the reward is not positive; see ``maze_bracket``.
    """
    bracket = maze_bracket(config)
    return (score - bracket.random) / (bracket.oracle - bracket.random)
