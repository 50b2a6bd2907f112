"""Scores over few runs: the interquartile mean and its bootstrap interval.

Agarwal et al. 2021, "Deep reinforcement learning at the edge of the statistical precipice".
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

_SAMPLES = 10_000


def interquartile_mean(scores: ArrayLike, axis: int = -1) -> NDArray[np.float64]:
    """Return the mean of the middle half: a quarter of the scores, rounded down, is cut off at each end.

    For fewer than four scores this is the plain mean.
    """
    ordered = np.sort(np.asarray(scores, dtype=np.float64), axis=axis)
    count = ordered.shape[axis]
    cut = count // 4
    middle: NDArray[np.float64] = ordered.take(np.arange(cut, count - cut), axis=axis).mean(axis=axis)
    return middle


def bootstrap_interval(
    scores: ArrayLike, *, confidence: float = 0.95, seed: int = 0
) -> tuple[float, float] | None:
    """Return the percentile bootstrap interval of the interquartile mean over runs, stratified by task.

    Args:
        scores: ``(tasks, runs)``, or ``(runs,)`` for a single task. Each resample draws the runs of every
            task with replacement; the mean is over all runs drawn.
        confidence: confidence level of the interval.
        seed: seed of the resampling.

    Returns:
        Lower and upper limit; None for a single run, which says nothing about the variation.
    """
    table = np.atleast_2d(np.asarray(scores, dtype=np.float64))
    tasks, runs = table.shape
    if runs < 2:
        return None
    drawn = np.random.default_rng(seed).integers(runs, size=(_SAMPLES, tasks, runs))
    resampled = np.take_along_axis(table[None], drawn, axis=2).reshape(_SAMPLES, -1)
    tail = (1 - confidence) / 2
    low, high = np.quantile(interquartile_mean(resampled), [tail, 1 - tail])
    return float(low), float(high)
