"""The exact expected score of an agent that knows the maze, by backward induction over an episode's steps.

A value is the expected return of the remaining steps, by square and goal, (F, G). Different goals interact
only when the reward moves, so they are processed a few at a time: their values then fit into the CPU cache.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from plasticrl.envs.maze.config import MazeConfig
from plasticrl.envs.maze.dynamics import MazeDynamics
from plasticrl.envs.maze.layout import MazeLayout, layout_of

Goals = NDArray[np.intp]  # (G,) square numbers
Value = NDArray[np.float64]  # (F, G)
_VALUES_AT_A_TIME = 2**16  # 512 KiB


class KnownAgent(Protocol):
    """One step of an agent, from every square and for some goals.

    Attributes:
        pay: expected reward of the step, (F, G).
    """

    pay: Value

    def ahead(self, value: Value) -> Value:
        """Return the expected value of the square that the step leads to, (F, G), as a new array."""
        ...


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
    *later, first = _stays(config)
    if later:
        parts = list(parts)
    for steps in later:
        for part in parts:
            part.go_back(steps)
        _move_reward(parts, len(goals))
    score = 0.0
    for part in parts:
        part.go_back(first)
        score += float(part.value[layout.start].sum())
    return score / len(goals)


def _stays(config: MazeConfig) -> list[int]:
    """Return the numbers of steps for which the reward stays in one place, latest first."""
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

    def go_back(self, steps: int) -> None:
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
