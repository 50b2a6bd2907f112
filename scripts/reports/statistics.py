"""Statistics of a few runs: interquartile means, intervals, and comparisons of two groups."""

from __future__ import annotations

from math import comb
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

_SAMPLES = 10_000
_MOST_ENUMERATED = 20_000  # assignments of ranks to two groups; enough for 8 runs each
_BATCH = 500  # assignments in memory at once


class Improvement(NamedTuple):
    """Probability that a run of one group is better than one of another.

    Attributes:
        probability: fraction of all pairs of runs, with ties counting half.
        low, high: its 95 % bootstrap interval over the runs.
        p_value: p-value of the two-sided Wilcoxon rank-sum test.
    """

    probability: float
    low: float
    high: float
    p_value: float


def improvement(better: ArrayLike, worse: ArrayLike, *, seed: int = 0) -> Improvement:
    """Compare two groups of scores; higher is better.

    The probability of improvement is that of Agarwal et al. 2021, "Deep reinforcement learning at the edge of
    the statistical precipice"; the test is that of Miconi et al. 2018.

    Args:
        better: ``(n,)`` scores of the group whose improvement is estimated.
        worse: ``(m,)`` scores of the other group.
        seed: seed of the bootstrap.
    """
    ours, theirs = np.asarray(better, dtype=np.float64), np.asarray(worse, dtype=np.float64)
    wins = _wins(ours, theirs)
    rng = np.random.default_rng(seed)
    rows = rng.integers(len(ours), size=(_SAMPLES, len(ours), 1))
    columns = rng.integers(len(theirs), size=(_SAMPLES, 1, len(theirs)))
    low, high = np.quantile(wins[rows, columns].mean(axis=(1, 2)), [0.025, 0.975])
    return Improvement(float(wins.mean()), float(low), float(high), rank_sum(ours, theirs))


def rank_sum(ours: ArrayLike, theirs: ArrayLike) -> float:
    """Return the two-sided p-value of the Wilcoxon rank-sum (Mann-Whitney) test, exact for few runs."""
    return float(rank_sums(np.asarray(ours)[:, None], np.asarray(theirs)[:, None])[0])


def rank_sums(ours: NDArray[np.float64], theirs: NDArray[np.float64]) -> NDArray[np.float64]:
    """Apply :func:`rank_sum` at each point of curves.

    Args:
        ours: ``(runs, points)``.
        theirs: those of the other group, at the same points.

    Returns:
        ``(points,)``; NaN if a score is NaN.
    """
    from scipy.stats import mannwhitneyu, permutation_test, rankdata  # takes a second to load

    if comb(len(ours) + len(theirs), len(ours)) > _MOST_ENUMERATED:
        # Point by point: scipy chooses between exact and approximate once for all points in a call.
        points = zip(ours.T, theirs.T, strict=True)
        return np.array([mannwhitneyu(one, other, method="auto").pvalue for one, other in points])
    # scipy's exact test ignores ties, and its approximation with ties gives too small p-values for few runs.
    ranks = rankdata(np.concatenate([ours, theirs]), axis=0)
    found = permutation_test(
        (ranks[: len(ours)], ranks[len(ours) :]),
        lambda one, _, axis: np.sum(one, axis=axis),
        vectorized=True,
        n_resamples=_MOST_ENUMERATED,  # covers all assignments of the ranks
        batch=_BATCH,
    )
    return np.where(np.isnan(ranks).any(axis=0), np.nan, found.pvalue)


def _wins(ours: NDArray[np.float64], theirs: NDArray[np.float64]) -> NDArray[np.float64]:
    won: NDArray[np.float64] = np.heaviside(ours[:, None] - theirs[None, :], 0.5)
    return won


_BOOTSTRAP_SAMPLES = 10_000


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
    drawn = np.random.default_rng(seed).integers(runs, size=(_BOOTSTRAP_SAMPLES, tasks, runs))
    resampled = np.take_along_axis(table[None], drawn, axis=2).reshape(_BOOTSTRAP_SAMPLES, -1)
    tail = (1 - confidence) / 2
    low, high = np.quantile(interquartile_mean(resampled), [tail, 1 - tail])
    return float(low), float(high)
