import numpy as np
import pytest
from scipy import stats

from plasticrl.scripts.reports.statistics import bootstrap_interval, interquartile_mean


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ([7.0], 7.0),
        ([1.0, 2.0, 9.0], 4.0),  # a quarter of 3 is less than one score: the mean
        ([100.0, 2.0, 4.0, -50.0], 3.0),
        ([0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 60.0, 70.0], 3.5),
        ([5.0, 1.0, 2.0, 3.0, 99.0], 10 / 3),
    ],
)
def test_interquartile_mean_worked_out_by_hand(scores: list[float], expected: float) -> None:
    assert interquartile_mean(scores) == pytest.approx(expected)


@pytest.mark.parametrize("count", range(1, 20))
def test_interquartile_mean_is_scipys_trimmed_mean(count: int) -> None:
    scores = np.random.default_rng(count).normal(size=count)
    assert interquartile_mean(scores) == pytest.approx(stats.trim_mean(scores, 0.25))


def test_interval_of_two_runs_is_the_runs_themselves() -> None:
    # Resamples are (a, a), (a, b), (b, a) and (b, b), a quarter each: both tails lie on a and b.
    assert bootstrap_interval([1.0, 5.0]) == pytest.approx((1.0, 5.0))


def test_interval_agrees_with_scipy() -> None:
    scores = np.random.default_rng(0).normal(size=12)
    reference = stats.bootstrap(
        (scores,), interquartile_mean, n_resamples=10_000, method="percentile", vectorized=True
    ).confidence_interval
    assert bootstrap_interval(scores) == pytest.approx((reference.low, reference.high), abs=0.05)


def test_strata_are_drawn_apart() -> None:
    # With one score in each task's every run, every stratified resample holds the same values.
    assert bootstrap_interval([[1.0, 1.0], [3.0, 3.0]]) == pytest.approx((2.0, 2.0))


def test_one_run_has_no_interval_and_equal_runs_have_no_width() -> None:
    assert bootstrap_interval([4.0]) is None
    assert bootstrap_interval([4.0, 4.0, 4.0]) == (4.0, 4.0)


def test_same_scores_give_the_same_interval() -> None:
    assert bootstrap_interval([1.0, 2.0, 4.0, 9.0]) == bootstrap_interval([1.0, 2.0, 4.0, 9.0])
