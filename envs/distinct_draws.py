"""Draws without replacement, for many rows at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def distinct_draws(rng: np.random.Generator, rows: int, population: int, count: int) -> NDArray[np.int64]:
    """In every row, ``count`` different numbers below ``population``, in random order.

    The first ``count`` steps of a Fisher-Yates shuffle, each step for all rows: exact (every ordered choice
    is equally likely), and it neither sorts nor draws keys for the population's unused part.

    Args:
        rng: source of randomness.
        rows: number of independent rows, at least 0.
        population: numbers to choose from are 0 to ``population - 1``.
        count: numbers to draw, 0 to ``population``.

    Returns:
        (rows, count).

    Raises:
        ValueError: ``count`` is more than ``population`` or below 0.
    """
    if not 0 <= count <= population:
        raise ValueError(f"cannot draw {count} different numbers out of {population}")
    # One line per step, one column per row: a step then touches whole lines.
    deck = np.repeat(np.arange(population)[:, None], rows, axis=1)
    places = rng.integers(np.arange(count)[:, None], population, size=(count, rows))
    column = np.arange(rows)
    for step, place in enumerate(places):
        drawn = deck[place, column]
        deck[place, column] = deck[step]
        deck[step] = drawn
    return np.ascontiguousarray(deck[:count].T)
