from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare

from plasticrl.envs.supervised.one_shot import distinct_draws


@given(st.integers(0, 30), st.data(), st.integers(0, 20), st.integers(0, 2**32))
def test_rows_hold_different_numbers_of_the_population(population, data, rows, seed):
    count = data.draw(st.integers(0, population))
    drawn = distinct_draws(np.random.default_rng(seed), rows, population, count)
    assert drawn.shape == (rows, count)
    for row in drawn:
        assert len(set(row.tolist())) == count
        assert set(row.tolist()) <= set(range(population))


@pytest.mark.parametrize(("population", "count"), [(5, 3), (4, 4), (6, 1), (9, 2)])
def test_every_ordered_choice_is_equally_likely(population, count):
    drawn = distinct_draws(np.random.default_rng(3), 40_000, population, count)
    seen = dict.fromkeys(permutations(range(population), count), 0)
    for row in drawn.tolist():
        seen[tuple(row)] += 1
    assert chisquare(list(seen.values())).pvalue > 1e-3


def test_rows_are_independent():
    rng = np.random.default_rng(4)
    pairs = np.stack([distinct_draws(rng, 2, 3, 2)[:, 0] for _ in range(9_000)])
    seen = np.bincount(pairs[:, 0] * 3 + pairs[:, 1], minlength=9)
    assert chisquare(seen).pvalue > 1e-3


@pytest.mark.parametrize("count", [-1, 6])
def test_refuses_more_than_there_are(count):
    with pytest.raises(ValueError, match=f"cannot draw {count} different numbers out of 5"):
        distinct_draws(np.random.default_rng(0), 2, 5, count)
