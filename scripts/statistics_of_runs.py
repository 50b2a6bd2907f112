"""Comparisons of two groups of runs: how probably one is better, and whether chance would do."""

from __future__ import annotations

from math import comb
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import mannwhitneyu, permutation_test, rankdata

_SAMPLES = 10_000
_MOST_ENUMERATED = 20_000  # ways to share out ranks between two groups: up to 8 and 8 runs
_BATCH = 500  # of them, at once in memory


class Improvement(NamedTuple):
    """How probably a run of one group is better than one of another.

    Attributes:
        probability: over all pairs of runs, ties counting half.
        low, high: its 95 % bootstrap interval over the runs.
        p_value: of the Wilcoxon rank-sum test, two-sided.
    """

    probability: float
    low: float
    high: float
    p_value: float


def improvement(better: ArrayLike, worse: ArrayLike, *, seed: int = 0) -> Improvement:
    """Compare two groups of scores, more is better.

    Agarwal et al. 2021, "Deep reinforcement learning at the edge of the statistical precipice"; the test is
    that of Miconi et al. 2018.

    Args:
        better: ``(n,)`` scores of the group that is asked about.
        worse: ``(m,)`` scores of the other.
        seed: of the bootstrap.
    """
    ours, theirs = np.asarray(better, dtype=np.float64), np.asarray(worse, dtype=np.float64)
    wins = _wins(ours, theirs)
    rng = np.random.default_rng(seed)
    rows = rng.integers(len(ours), size=(_SAMPLES, len(ours), 1))
    columns = rng.integers(len(theirs), size=(_SAMPLES, 1, len(theirs)))
    low, high = np.quantile(wins[rows, columns].mean(axis=(1, 2)), [0.025, 0.975])
    return Improvement(float(wins.mean()), float(low), float(high), rank_sum(ours, theirs))


def rank_sum(ours: ArrayLike, theirs: ArrayLike) -> float:
    """The two-sided p-value of the Wilcoxon rank-sum (Mann-Whitney) test; exact for few runs, ties or not."""
    return float(rank_sums(np.asarray(ours)[:, None], np.asarray(theirs)[:, None])[0])


def rank_sums(ours: NDArray[np.float64], theirs: NDArray[np.float64]) -> NDArray[np.float64]:
    """The same at each point of curves.

    Args:
        ours: ``(runs, points)``.
        theirs: the other group's, at the same points.

    Returns:
        ``(points,)``; NaN where a score is.
    """
    if comb(len(ours) + len(theirs), len(ours)) > _MOST_ENUMERATED:
        # Point by point: scipy decides whether it can be exact for all that it is given at once.
        points = zip(ours.T, theirs.T, strict=True)
        return np.array([mannwhitneyu(one, other, method="auto").pvalue for one, other in points])
    # Not scipy's exact test, which takes ties for none; its approximation with ties is too sure of few runs.
    ranks = rankdata(np.concatenate([ours, theirs]), axis=0)
    found = permutation_test(
        (ranks[: len(ours)], ranks[len(ours) :]),
        lambda one, _, axis: np.sum(one, axis=axis),
        vectorized=True,
        n_resamples=_MOST_ENUMERATED,  # all ways to share out the ranks
        batch=_BATCH,
    )
    return np.where(np.isnan(ranks).any(axis=0), np.nan, found.pvalue)


def _wins(ours: NDArray[np.float64], theirs: NDArray[np.float64]) -> NDArray[np.float64]:
    won: NDArray[np.float64] = np.heaviside(ours[:, None] - theirs[None, :], 0.5)
    return won
