"""Statistics of a few runs: interquartile means, intervals, and comparisons of two groups."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import comb, isinf
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

# scipy.stats takes a second to load, so each function imports it: trainings do without.

UNCERTAINTY = "interquartile mean over runs, 95 % interval"  # of an estimate, in titles
_RESAMPLES = 10_000
_MOST_ENUMERATED = 20_000  # assignments of ranks to two groups; enough for 8 runs each
_BATCH = 500  # assignments in memory at once


class Estimate(NamedTuple):
    """An estimate with its 95 % interval; the limits are None if undefined, as for a single run."""

    mean: float
    low: float | None
    high: float | None

    def text(self, form: Callable[[float], str]) -> str:
        """Format for a table."""
        around = "" if self.low is None or self.high is None else f"  [{form(self.low)}, {form(self.high)}]"
        return ("∞" if isinf(self.mean) else form(self.mean)) + around


class Improvement(NamedTuple):
    """Comparison of the runs of two groups.

    Attributes:
        probability: probability that a run of one group is better than one of the other: the fraction of all
            pairs of runs, with ties counting half.
        p_value: p-value of the two-sided Wilcoxon rank-sum test.
    """

    probability: Estimate
    p_value: float

    def as_dict(self) -> dict[str, float | None]:
        """Return plain values, for JSON."""
        probability, low, high = self.probability
        return {"probability": probability, "low": low, "high": high, "p_value": self.p_value}


def interquartile_mean(scores: ArrayLike, axis: int = -1) -> NDArray[np.float64]:
    """Return the mean of the middle half: a quarter of the scores, rounded down, is cut off at each end.

    For fewer than four scores this is the plain mean.
    """
    from scipy.stats import trim_mean

    return np.asarray(trim_mean(np.asarray(scores, dtype=np.float64), 0.25, axis=axis))


def estimate(scores: ArrayLike) -> Estimate:
    """Return the interquartile mean over runs."""
    return _bootstrapped(interquartile_mean, scores)


def improvement(better: ArrayLike, worse: ArrayLike) -> Improvement:
    """Compare two groups of scores; higher is better.

    The probability of improvement is that of Agarwal et al. 2021, "Deep reinforcement learning at the edge of
    the statistical precipice"; the test is that of Miconi et al. 2018.

    Args:
        better: ``(n,)`` scores of the group whose improvement is estimated.
        worse: ``(m,)`` scores of the other group.
    """
    return Improvement(_bootstrapped(_share_of_wins, better, worse), rank_sum(better, worse))


def aggregate(tasks: Sequence[ArrayLike]) -> Estimate:
    """Return the interquartile mean over the runs of all tasks, as Agarwal et al. 2021 define it.

    Args:
        tasks: the scores of each task's runs, ``(n,)`` each, on a scale that all tasks share. The interval is
            that of runs drawn again within each task (stratified bootstrap).
    """
    return _bootstrapped(_pooled, *tasks)


def improvement_over_tasks(better: Sequence[ArrayLike], worse: Sequence[ArrayLike]) -> Estimate:
    """Return the probability of improvement on a task, averaged over tasks, as Agarwal et al. 2021 define it.

    Args:
        better: for each task the scores of the runs whose improvement is estimated, ``(n,)``.
        worse: those of the other runs in the same order of tasks, ``(m,)``.
    """
    return _bootstrapped(_mean_share_of_wins, *better, *worse)


def _pooled(*tasks: NDArray[np.float64], axis: int = -1) -> NDArray[np.float64]:
    return interquartile_mean(np.concatenate(tasks, axis=axis), axis=axis)


def _mean_share_of_wins(*groups: NDArray[np.float64], axis: int = -1) -> NDArray[np.float64]:
    half = len(groups) // 2
    shares = [_share_of_wins(*pair, axis=axis) for pair in zip(groups[:half], groups[half:], strict=True)]
    return np.asarray(np.mean(shares, axis=0))


def _share_of_wins(
    ours: NDArray[np.float64], theirs: NDArray[np.float64], axis: int = -1
) -> NDArray[np.float64]:
    from scipy.stats import rankdata

    # By ranks, since a table of all pairs, for every resample, takes gigabytes for a hundred runs.
    n, m = ours.shape[-1], theirs.shape[-1]
    ranks = rankdata(np.concatenate([ours, theirs], axis=-1), axis=-1)
    return np.asarray((ranks[..., :n].sum(axis=-1) - n * (n + 1) / 2) / (n * m))


def _bootstrapped(statistic: Callable[..., NDArray[np.float64]], *groups: ArrayLike) -> Estimate:
    """Return a statistic of groups of runs with its percentile bootstrap interval."""
    from scipy.stats import bootstrap

    scores = [np.asarray(group, dtype=np.float64) for group in groups]
    value = float(statistic(*scores))
    if min(map(len, scores)) < 2:
        return Estimate(value, None, None)
    low, high = bootstrap(
        scores,
        statistic,
        n_resamples=_RESAMPLES,
        vectorized=True,
        method="percentile",
        random_state=np.random.default_rng(0),  # the same scores give the same interval
    ).confidence_interval
    return Estimate(value, float(low), float(high))


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
    from scipy.stats import mannwhitneyu, permutation_test, rankdata

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
