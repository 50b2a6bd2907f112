import numpy as np
import pytest

from plasticrl.scripts.reports.statistics import estimate, interquartile_mean


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
def test_interquartile_mean_is_that_of_the_sorted_middle_half(count: int) -> None:
    scores = np.random.default_rng(count).normal(size=(3, count))
    middle = np.sort(scores, axis=1)[:, count // 4 : count - count // 4]
    np.testing.assert_allclose(interquartile_mean(scores, axis=1), middle.mean(axis=1))


def test_interval_of_two_runs_is_the_runs_themselves() -> None:
    # Resamples are (a, a), (a, b), (b, a) and (b, b), a quarter each: both tails lie on a and b.
    assert estimate([1.0, 5.0]) == pytest.approx((3.0, 1.0, 5.0))


@pytest.mark.parametrize("runs", [3, 5])
def test_interval_is_that_of_all_resamples(runs: int) -> None:
    """The quantiles of the exact distribution, over all multisets of runs and their probabilities."""
    scores = np.random.default_rng(runs).normal(size=runs)
    drawn = np.array(list(np.ndindex(*[runs] * runs)))
    assert len(drawn) == runs**runs
    means = interquartile_mean(scores[drawn], axis=1)
    found = estimate(scores)
    assert found.low is not None
    assert found.high is not None
    sd = np.sqrt(0.025 * 0.975 / 10_000)  # of the share of resamples below a limit
    for limit, share in ((found.low, 0.025), (found.high, 0.975)):
        assert np.mean(means < limit - 1e-9) <= share + 5 * sd
        assert np.mean(means <= limit + 1e-9) >= share - 5 * sd


def test_worse_and_better_are_mirrored() -> None:
    scores = np.random.default_rng(0).normal(size=7)
    mean, low, high = estimate(scores)
    assert low is not None
    assert high is not None
    assert estimate(-scores) == pytest.approx((-mean, -high, -low))


def test_one_run_has_no_interval_and_equal_runs_have_no_width() -> None:
    assert estimate([4.0]) == (4.0, None, None)
    assert estimate([4.0, 4.0, 4.0]) == (4.0, 4.0, 4.0)


def test_same_scores_give_the_same_interval() -> None:
    assert estimate([1.0, 2.0, 4.0, 9.0]) == estimate([1.0, 2.0, 4.0, 9.0])


def test_estimates_read_well() -> None:
    assert estimate([4.0]).text("{:.1f}".format) == "4.0"
    assert estimate([1.0, 5.0]).text("{:.0f}".format) == "3  [1, 5]"
