from math import inf
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from plasticrl.agents.supervised.metrics import evaluate_predictor
from plasticrl.envs.supervised.patterns import PatternsTask
from plasticrl.envs.supervised.task import Episode, EpisodeTask

TASK = PatternsTask(n_bits=20, n_patterns=2, n_cycles=1, steps_on=2, steps_off=1, test_steps=2)


def oracle(episode: Episode) -> NDArray[Any]:
    return episode.target


def query(episode: Episode) -> NDArray[Any]:
    return episode.inputs[-1]


def test_knowing_the_target_is_without_error() -> None:
    metrics = evaluate_predictor(oracle, TASK, 50).metrics
    assert metrics == {"bit_error": (0, 0, 0), "hidden_bit_error": (0, 0, 0)}


def test_repeating_the_query_misses_what_it_hides() -> None:
    metrics = evaluate_predictor(query, TASK, 50).metrics
    assert metrics["bit_error"].mean == 0.5
    assert metrics["hidden_bit_error"].mean == 1


def test_guessing_misses_half_within_the_interval() -> None:
    rng = np.random.default_rng(0)
    estimate = evaluate_predictor(lambda e: rng.normal(size=e.target.shape), TASK, 400).metrics["bit_error"]
    assert estimate.low < 0.5 < estimate.high
    assert estimate.high - estimate.low < 0.05


def test_every_episode_counts_once_and_equal_arguments_mean_equal_episodes() -> None:
    def run(**options: int) -> list[NDArray[Any]]:
        seen = []

        def predict(episode: Episode) -> NDArray[Any]:
            seen.append(episode.target)
            return episode.target

        assert evaluate_predictor(predict, TASK, 70, **options).n_episodes == 70
        return seen

    first, again, other = run(seed=1), run(seed=1), run(seed=2)
    assert [len(batch) for batch in first] == [32, 32, 6]
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first[0], other[0])
    training = TASK.sample(32, np.random.default_rng(np.random.SeedSequence(1)))
    assert not np.array_equal(first[0], training.target)


class Echo(EpisodeTask):
    """Vectors of the user's own, shown and asked for: nothing is clamped, and nothing told to be hidden."""

    steps = 2
    input_shape = (6,)

    def sample(self, batch_size: int, rng: np.random.Generator) -> Episode:
        target = rng.uniform(-1, 1, (batch_size, 6)).astype(np.float32)
        mask = np.tile([[False], [True]], (1, batch_size))
        return Episode(np.tile(target, (2, 1, 1)), None, None, target, mask, None)


def test_values_without_any_error() -> None:
    metrics = evaluate_predictor(oracle, Echo(), 40).metrics
    assert metrics["hidden_mse"] == (0, 0, 0)
    assert metrics["hidden_psnr"] == (inf, -inf, inf)
    assert metrics["hidden_correlation"].mean == 1


def test_values_are_judged_in_double_precision() -> None:
    """Against numpy's, in double precision, of numbers that are single."""

    def predict(episode: Episode) -> NDArray[Any]:
        seen.append((episode.target, 0.7 * episode.target))
        return seen[-1][1]

    seen: list[tuple[NDArray[Any], NDArray[Any]]] = []
    metrics = evaluate_predictor(predict, Echo(), 40).metrics
    target, prediction = (np.concatenate(part).astype(np.float64) for part in zip(*seen, strict=True))
    errors = np.square(prediction - target).mean(axis=1)
    assert metrics["hidden_mse"].mean == pytest.approx(errors.mean(), rel=1e-14)
    assert metrics["hidden_psnr"].mean == pytest.approx(10 * np.log10(4 / errors).mean(), rel=1e-14)
    expected = np.mean([np.corrcoef(p, t)[0, 1] for p, t in zip(prediction, target, strict=True)])
    assert metrics["hidden_correlation"].mean == pytest.approx(expected, abs=1e-14)


def test_plain_values() -> None:
    evaluation = evaluate_predictor(query, TASK, 3, seed=7)
    assert evaluation.as_dict() == {
        "n_episodes": 3,
        "seed": 7,
        "bit_error": {"mean": 0.5, "low": 0.5, "high": 0.5},
        "hidden_bit_error": {"mean": 1.0, "low": 1.0, "high": 1.0},
    }


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("n_episodes", {"n_episodes": 0}),
        ("batch_size", {"n_episodes": 5, "batch_size": 0}),
        ("seed", {"n_episodes": 5, "seed": -1}),
        ("seed", {"n_episodes": 5, "seed": 1.5}),
        ("seed", {"n_episodes": 5, "seed": None}),
    ],
)
def test_arguments_are_checked_by_name(name: str, options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=name):
        evaluate_predictor(oracle, TASK, **options)
