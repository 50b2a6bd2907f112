"""The compiled plan of the belief agent: the value of each action under a belief, for many episodes."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from plasticrl.ops.numba.compilation import kernel


class PlanTables(NamedTuple):
    """A maze as arrays, for the plan; F squares."""

    next_square: NDArray[np.intp]  # (F, 4)
    distance: NDArray[np.intp]  # (F, F) steps from one square to another
    order: NDArray[np.intp]  # (F, F) for each square: all squares, the nearest first
    window: NDArray[np.intp]  # (F,) number of the 3x3 window; squares that look alike share it
    gamma: float  # discount of a find for each step until it
    curiosity: float  # weight of telling squares apart
    bump: float  # penalty for walking into a wall, in finds


@kernel
def action_values(
    tables: PlanTables,
    bounds: NDArray[np.intp],
    square: NDArray[np.intp],
    goal: NDArray[np.intp],
    chance: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return the value of each action, in discounted finds.

    From every square on which the agent may be, it is the largest sum of discounted chances along a shortest
    path that begins with the action, as if the step told the agent where it is. Added are the penalty for
    a wall, and the chance that the next window tells two squares apart that are drawn from the belief.

    Args:
        tables: the maze.
        bounds: (B + 1,) the hypotheses of episode b are ``bounds[b] : bounds[b + 1]``.
        square: (K,) the agent's square in each hypothesis, ascending within an episode.
        goal: (K,) the reward's square in each hypothesis.
        chance: (K,) its probability.

    Returns:
        (B, 4)
    """
    next_square, window = tables.next_square, tables.window
    episodes, squares = len(bounds) - 1, len(next_square)
    values = np.zeros((episodes, 4))
    reward_at, sums = np.zeros(squares), np.zeros(squares)
    alike = np.zeros((4, squares))
    for episode in range(episodes):
        alike[:] = 0.0
        first = bounds[episode]
        while first < bounds[episode + 1]:
            here, last, mass = square[first], first, 0.0
            while last < bounds[episode + 1] and square[last] == here:
                reward_at[goal[last]] = chance[last]
                mass += chance[last]
                last += 1
            for action in range(4):
                there = next_square[here, action]
                alike[action, window[there]] += mass
                if there == here:
                    values[episode, action] -= tables.bump * mass
                if last == first + 1:  # its reward has one place: no path is better than the shortest
                    best = tables.gamma ** tables.distance[there, goal[first]] * mass
                else:
                    best = _best_path(tables, there, reward_at, sums)
                values[episode, action] += tables.gamma * best
            for place in range(first, last):
                reward_at[goal[place]] = 0.0
            first = last
        for action in range(4):
            together = 0.0
            for number in range(squares):
                together += alike[action, number] ** 2
            values[episode, action] += tables.curiosity * (1.0 - together)
    return values


@kernel
def _best_path(
    tables: PlanTables, start: int, reward_at: NDArray[np.float64], sums: NDArray[np.float64]
) -> float:
    """Return the largest discounted sum of chances along a shortest path; both arrays are (F,).

    ``sums`` is overwritten.
    """
    best = 0.0
    for there in tables.order[start]:
        steps, before = tables.distance[start, there], 0.0
        for near in tables.next_square[there]:
            if tables.distance[start, near] < steps:
                before = max(before, sums[near])
        sums[there] = before + tables.gamma**steps * reward_at[there]
        best = max(best, sums[there])
    return best
