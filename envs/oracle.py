"""The two agents between which every maze result lies, and their exact expected scores.

A policy is a table of action probabilities, indexed by (goal, square, action) over the layout's squares:
the agent that knows the goal and walks shortest paths, and the one that acts at random. Because both
policies and the maze's rules are known, their expected scores are computed, not sampled.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from plasticrl.envs.maze_config import MazeConfig
from plasticrl.envs.maze_dynamics import MazeDynamics
from plasticrl.envs.maze_layout import ACTIONS, MazeLayout, layout_of

Policy = NDArray[np.float64]  # (F, F, 4): goal, square, action


@dataclass(frozen=True)
class MazeBracket:
    """Expected scores per episode: acting at random, and walking shortest paths to a known goal."""

    random: float
    oracle: float


def shortest_distances(layout: MazeLayout) -> NDArray[np.intp]:
    """Steps from every square (second index) to every goal (first index), (F, F)."""
    unknown = layout.n_squares  # longer than any shortest path
    distance = np.full((layout.n_squares,) * 2, unknown, dtype=np.intp)
    np.fill_diagonal(distance, 0)
    while (distance == unknown).any():
        distance = np.minimum(distance, distance[:, layout.next_square].min(axis=2) + 1)
    return distance


def oracle_policy(layout: MazeLayout) -> Policy:
    """Probabilities of the agent that takes the first action along a shortest path to the goal."""
    onward = shortest_distances(layout)[:, layout.next_square]  # (F, F, 4)
    policy: Policy = np.eye(len(ACTIONS))[onward.argmin(axis=2)]
    return policy


def random_policy(layout: MazeLayout) -> Policy:
    """Probabilities of the agent that takes every action equally often."""
    return np.full((layout.n_squares, layout.n_squares, len(ACTIONS)), 1 / len(ACTIONS))


def expected_score(config: MazeConfig, policy: Policy) -> float:
    """Expected sum of an episode's rewards, by backward induction over its steps.

    Args:
        config: the maze.
        policy: (F, F, 4) probabilities by goal, square and action. Memory grows as F squared.
    """
    dynamics = MazeDynamics(config)
    layout, goals = dynamics.layout, dynamics.goals
    each = np.arange(len(goals))
    chance = policy[goals]  # (G, F, 4)
    finds = layout.next_square == goals[:, None, None]
    hits = layout.next_square == np.arange(layout.n_squares)[:, None]
    pay = np.where(finds, config.reward, -config.wall_penalty * hits)  # (G, F, 4)
    now = (chance * pay).sum(axis=2)
    value = np.zeros_like(now)  # what the rest of the episode brings, (G, F)
    for step in range(int(config.episode_length), 0, -1):  # the one that is taken now
        if config.relocate_every is not None and step % config.relocate_every == 0:
            value = (value.sum(axis=0) - value) / (len(goals) - 1)  # the reward moves to one of the others
        if config.recenter:
            respawned = value[:, layout.start]
        else:
            respawned = (value.sum(axis=1) - value[each, goals]) / (layout.n_squares - 1)
        value[each, goals] = respawned  # arriving at the goal is continuing from the respawn
        value = now + sum(chance[..., a] * value[:, layout.next_square[:, a]] for a in range(len(ACTIONS)))
    return float(value[:, layout.start].mean())


@lru_cache(maxsize=64)
def maze_bracket(config: MazeConfig) -> MazeBracket:
    """Expected scores of the random and of the shortest-path agent.

    At the defaults -0.06 and 405.3. Computed once for each configuration, in well under a second at the
    paper's sizes.

    Raises:
        ValueError: the reward is not positive, so that knowing where it is does not help.
    """
    if config.reward <= 0:
        raise ValueError(f"a bracket needs a maze with a positive reward, got reward={config.reward}")
    layout = layout_of(config)
    return MazeBracket(
        random=expected_score(config, random_policy(layout)),
        oracle=expected_score(config, oracle_policy(layout)),
    )


def oracle_share(score: float, config: MazeConfig) -> float:
    """A mean episode score as a share of the way from the random agent (0) to the oracle (1).

    Raises:
        ValueError: as ``maze_bracket``.
    """
    bracket = maze_bracket(config)
    return (score - bracket.random) / (bracket.oracle - bracket.random)
