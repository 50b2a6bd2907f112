"""Sampling without replacement, for many rows at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def distinct_draws(rng: np.random.Generator, rows: int, population: int, count: int) -> NDArray[np.int64]:
    """Draw ``count`` different numbers below ``population`` in every row, in random order.

    Runs the first ``count`` steps of a Fisher-Yates shuffle on all rows at once. Every ordered selection is
    equally likely. It neither sorts nor draws random numbers for the unused part of the population.

    Args:
        rng: source of randomness.
        rows: number of independent rows, at least 0.
        population: the numbers are drawn from 0 to ``population - 1``.
        count: numbers to draw, 0 to ``population``.

    Returns:
        (rows, count).

    Raises:
        ValueError: ``count`` is more than ``population`` or below 0.
    """
    if not 0 <= count <= population:
        raise ValueError(f"cannot draw {count} different numbers out of {population}")
    # Transposed, (population, rows), so that each step of the shuffle writes contiguous memory.
    deck = np.repeat(np.arange(population)[:, None], rows, axis=1)
    places = rng.integers(np.arange(count)[:, None], population, size=(count, rows))
    column = np.arange(rows)
    for step, place in enumerate(places):
        drawn = deck[place, column]
        deck[place, column] = deck[step]
        deck[step] = drawn
    return np.ascontiguousarray(deck[:count].T)
