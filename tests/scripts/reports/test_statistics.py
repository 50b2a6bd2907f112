import tracemalloc
from itertools import combinations, product

import numpy as np
import pytest
from scipy.stats import mannwhitneyu, rankdata

from plasticrl.scripts.reports.statistics import improvement, rank_sum, rank_sums

RNG = np.random.default_rng(0)


def test_the_probability_is_counted_over_all_pairs() -> None:
    ours, theirs = [3.0, 1.0, 2.0], [2.0, 0.0]
    pairs = [1.0 if a > b else 0.5 if a == b else 0.0 for a, b in product(ours, theirs)]
    assert improvement(ours, theirs).probability.mean == np.mean(pairs)


@pytest.mark.parametrize(("n", "m"), [(5, 5), (3, 8), (15, 15)])
def test_it_is_the_u_statistic(n: int, m: int) -> None:
    ours, theirs = RNG.normal(1, 1, n), RNG.normal(0, 1, m)
    found = improvement(ours, theirs)
    told = mannwhitneyu(ours, theirs)
    assert found.probability.mean == pytest.approx(told.statistic / n / m)
    assert found.p_value == pytest.approx(told.pvalue)
    mean, low, high = found.probability
    assert low is not None
    assert high is not None
    assert low <= mean <= high


def test_who_is_always_better_is_surely_better() -> None:
    assert improvement([2, 3, 4], [0, 1]).probability == (1.0, 1.0, 1.0)
    assert improvement([0, 1], [2, 3, 4]).probability == (0.0, 0.0, 0.0)


def test_the_two_sides_add_up() -> None:
    ours, theirs = RNG.normal(size=6), RNG.normal(size=7)
    one, other = improvement(ours, theirs), improvement(theirs, ours)
    assert one.probability.mean + other.probability.mean == pytest.approx(1)
    assert one.p_value == pytest.approx(other.p_value)


def test_a_hundred_runs_fit_into_little_memory() -> None:
    """A table of all pairs for each of 10,000 resamples would have 800 MB."""
    ours, theirs = RNG.normal(size=(2, 100))
    tracemalloc.start()
    try:
        improvement(ours, theirs)
        assert tracemalloc.get_traced_memory()[1] < 2**28
    finally:
        tracemalloc.stop()


def test_the_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    """Two groups of 15 from one distribution: the probability is a half."""
    rng = np.random.default_rng(1)
    found = [improvement(*rng.normal(size=(2, 15))).probability for _ in range(120)]
    held = np.mean([one.low <= 0.5 <= one.high for one in found])  # type: ignore[operator]
    assert 0.85 <= held <= 1.0


@pytest.mark.parametrize("n", [3, 4, 5, 10, 15])
def test_chance_is_taken_for_a_difference_no_more_often_than_the_p_value_says(n: int) -> None:
    rng = np.random.default_rng(2)
    p = rank_sums(rng.normal(size=(n, 4000)), rng.normal(size=(n, 4000)))
    assert np.mean(p < 0.05) <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 4000)


def test_few_runs_are_tested_exactly() -> None:
    """Of the 20 ways to share out 6 ranks among 3 and 3, 2 are as extreme as this."""
    assert rank_sum([1, 2, 3], [4, 5, 6]) == pytest.approx(2 / 20)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [([1, 1, 1], [2, 2, 2]), ([1, 1, 2], [2, 3, 3]), ([0, 0, 0], [0, 0, 0]), ([1, 2, 2, 5], [2, 3, 5])],
)
def test_few_runs_with_ties_are_tested_exactly_too(ours: list[int], theirs: list[int]) -> None:
    """Counted by hand: how many ways to share out the ranks give a sum as extreme on that side."""
    ranks = rankdata(ours + theirs)
    sums = np.array([sum(some) for some in combinations(ranks, len(ours))])
    own = ranks[: len(ours)].sum()
    expected = min(1.0, 2 * min(np.mean(sums <= own), np.mean(sums >= own)))
    assert rank_sum(ours, theirs) == pytest.approx(expected)


@pytest.mark.parametrize(("n", "m"), [(3, 60), (8, 9)])
def test_without_ties_it_is_exact_for_more_runs_too(n: int, m: int) -> None:
    ours, theirs = RNG.normal(2, 1, n), RNG.normal(0, 1, m)
    assert rank_sum(ours, theirs) == pytest.approx(mannwhitneyu(ours, theirs, method="exact").pvalue)


@pytest.mark.parametrize("n", [3, 30])
def test_a_score_that_is_none_is_no_evidence(n: int) -> None:
    ours, theirs = np.arange(n, dtype=np.float64), np.arange(n) + 100.0
    ours[0] = np.nan
    assert np.isnan(rank_sum(ours, theirs))


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize(("n", "m"), [(5, 6), (9, 10)])
def test_each_point_is_tested_by_itself(n: int, m: int, tied: bool) -> None:
    ours, theirs = RNG.normal(size=(n, 7)), RNG.normal(size=(m, 7))
    if tied:
        theirs[:2, 3] = ours[:2, 3]
    expected = [rank_sum(ours[:, point], theirs[:, point]) for point in range(7)]
    np.testing.assert_allclose(rank_sums(ours, theirs), expected)
