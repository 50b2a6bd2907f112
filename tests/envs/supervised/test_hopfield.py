"""The Hopfield network as a reference."""

import numpy as np
import pytest
from numpy.typing import ArrayLike

from plasticrl.envs.supervised.patterns import PatternsTask
from plasticrl.envs.supervised.references import hopfield_completion
from plasticrl.envs.supervised.task import Episode


def episode(inputs: ArrayLike) -> Episode:
    """One episode whose steps are the rows given."""
    steps = np.asarray(inputs, dtype=np.float32)[:, None]
    mask = np.zeros(steps.shape[:2], dtype=bool)
    return Episode(steps, None, None, np.zeros_like(steps[0]), mask, None)


def draw(batch: int = 8, **options: float | None) -> Episode:
    return PatternsTask(**options).sample(batch, np.random.default_rng(0))  # type: ignore[arg-type]


@pytest.mark.parametrize("input_gain", [None, 20.0])
def test_the_papers_task_is_far_below_its_capacity(input_gain: float | None) -> None:
    """5 patterns of 1,000 bits; Hopfield networks hold about 0.138 x 1,000."""
    drawn = draw(input_gain=input_gain)
    assert np.array_equal(hopfield_completion(drawn), drawn.target)


def test_beyond_its_capacity_it_fails() -> None:
    drawn = draw(n_bits=60, n_patterns=40, n_cycles=1, steps_on=1, steps_off=0)
    assert drawn.hidden is not None
    wrong = hopfield_completion(drawn) != drawn.target
    assert wrong[drawn.hidden].mean() > 0.2
    assert not wrong[~drawn.hidden].any()


def test_it_ends_where_no_hidden_bit_would_change() -> None:
    """By the definition of the weights, on crowded networks."""
    drawn = draw(batch=20, n_bits=40, n_patterns=8, n_cycles=2, steps_on=2)
    assert drawn.hidden is not None
    for b, state in enumerate(hopfield_completion(drawn)):
        rows = drawn.inputs[:, b]
        patterns = np.unique(rows[(rows != 0).all(axis=1)], axis=0)
        assert len(patterns) == 8
        weights = sum(np.outer(p, p) for p in patterns) - 8 * np.eye(40)
        sums = weights @ state
        hidden = drawn.hidden[b]
        assert ((sums * state)[hidden] >= 0).all()
        assert state[hidden].all()


def test_one_bit_recalls_a_single_pattern() -> None:
    pattern = [1, -1, -1, 1, 1]
    assert hopfield_completion(episode([pattern, 5 * [0], [0, -1, 0, 0, 0]])).tolist() == [pattern]


def test_the_mirror_image_is_as_stable_as_the_pattern() -> None:
    pattern = [1, -1, -1, 1, 1]
    assert hopfield_completion(episode([pattern, [0, 1, 0, 0, 0]])).tolist() == [[-bit for bit in pattern]]


def test_what_nothing_decides_stays_0() -> None:
    assert hopfield_completion(episode([[1, 1], [1, -1], [1, 0]])).tolist() == [[1, 0]]


def test_a_pattern_shown_longer_is_stored_once() -> None:
    """Its double weight would decide the tie."""
    assert hopfield_completion(episode([[1, 1], [1, 1], [1, -1], [1, 0]])).tolist() == [[1, 0]]


def test_values_that_are_not_binary_are_refused() -> None:
    with pytest.raises(ValueError, match="for binary patterns: inputs must be"):
        hopfield_completion(episode([[0.3, 1.0], [0.3, 0.0]]))
