from math import inf

import numpy as np
import pytest
import torch
from scipy.stats import binomtest, norm

from plasticrl.agents.supervised.metrics import episode_kind, episode_metrics, mean_interval, share_interval

TARGET = torch.tensor([[1.0, -1, 1, -1], [1, 1, 1, 1]])
HIDDEN = torch.tensor([[True, True, False, False], [False, False, False, True]])


def test_a_bit_is_right_where_its_sign_is() -> None:
    prediction = torch.tensor([[0.1, -0.2, -3, -1], [1, 0, 1, torch.nan]])
    metrics = episode_metrics(prediction, TARGET, HIDDEN, "bits")
    assert metrics["bit_error"].tolist() == [0.25, 0.5]  # neither 0 nor NaN is right
    assert metrics["hidden_bit_error"].tolist() == [0, 1]


def test_values_are_judged_where_they_were_hidden_only() -> None:
    rng = np.random.default_rng(0)
    prediction, target = rng.uniform(-1, 1, (2, 3, 20)).astype(np.float32)
    hidden = rng.random((3, 20)) < 0.5
    metrics = episode_metrics(*(torch.tensor(x) for x in (prediction, target, hidden)), kind="values")
    for b in range(3):
        p, t = prediction[b, hidden[b]], target[b, hidden[b]]
        mse = ((p - t) ** 2).mean()
        assert metrics["hidden_mse"][b].item() == pytest.approx(mse, rel=1e-5)
        assert metrics["hidden_psnr"][b].item() == pytest.approx(10 * np.log10(4 / mse), rel=1e-5)
        assert metrics["hidden_correlation"][b].item() == pytest.approx(np.corrcoef(p, t)[0, 1], abs=1e-5)


def test_a_constant_prediction_does_not_correlate() -> None:
    target = torch.tensor([[0.5, -0.5, 0.1, 0.2]])
    metrics = episode_metrics(torch.zeros(1, 4), target, torch.ones(1, 4, dtype=torch.bool), "values")
    assert metrics["hidden_correlation"].item() == 0


def test_classes() -> None:
    metrics = episode_metrics(torch.tensor([1, 2, 0]), torch.tensor([1, 0, 0]), None, "classes")
    assert metrics["accuracy"].tolist() == [1, 0, 1]


def test_vectors_that_tell_nothing_of_what_is_hidden_are_judged_as_a_whole() -> None:
    rng = np.random.default_rng(1)
    prediction, target = torch.tensor(rng.uniform(-1, 1, (2, 3, 20)))
    everything = torch.ones(3, 20, dtype=torch.bool)
    for goal, kind in ((target, "values"), (target.sign(), "bits")):
        whole = episode_metrics(prediction, goal, None, kind)  # type: ignore[arg-type]
        told = episode_metrics(prediction, goal, everything, kind)  # type: ignore[arg-type]
        assert {name: v.tolist() for name, v in whole.items()} == {n: v.tolist() for n, v in told.items()}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_correlation_is_never_beyond_1(dtype: torch.dtype) -> None:
    target = torch.tensor(np.random.default_rng(0).normal(size=(2000, 7)), dtype=dtype)
    for sign in (1, -1):
        found = episode_metrics(3 * sign * target + 0.1, target, None, "values")["hidden_correlation"]
        assert found.abs().max() <= 1
        torch.testing.assert_close(found, torch.full_like(found, sign))


def test_the_kind_is_that_of_task_and_target() -> None:
    bits, values = np.array([[1, -1, -1, 1]], np.float32), np.array([[1, -1, 0.5, 1]], np.float32)
    assert episode_kind(bits, None) == "bits"
    assert episode_kind(values, None) == "values"
    assert episode_kind(np.ones(1, np.int64), 5) == "classes"


@pytest.mark.parametrize(("successes", "n"), [(0, 10), (10, 10), (7, 10), (983, 1000), (1, 1)])
def test_wilsons_interval_is_scipys(successes: int, n: int) -> None:
    expected = binomtest(successes, n).proportion_ci(0.95, method="wilson")
    estimate = share_interval(successes, n)
    assert estimate.mean == successes / n
    assert estimate.low == pytest.approx(expected.low, abs=1e-7)
    assert estimate.high == pytest.approx(expected.high, abs=1e-7)


def test_the_means_interval_is_the_normal_one() -> None:
    values = np.random.default_rng(0).normal(3, 2, 50)
    expected = norm.interval(0.95, values.mean(), values.std(ddof=1) / np.sqrt(50))
    assert mean_interval(values) == pytest.approx((values.mean(), *expected), rel=1e-6)
    assert mean_interval(values[:1]) == (values[0], -inf, inf)
    assert mean_interval(np.array([3.0, inf, inf])) == (inf, -inf, inf)


def test_the_means_interval_holds_the_truth_as_often_as_it_says() -> None:
    means = [mean_interval(values) for values in np.random.default_rng(0).uniform(-1, 1, (2000, 100))]
    assert np.mean([e.low <= 0 <= e.high for e in means]) == pytest.approx(0.95, abs=0.02)
