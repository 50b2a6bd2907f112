"""The masks: shape, size and place of what each kind of occlusion hides."""

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from scipy.stats import chisquare

from plasticrl.envs.supervised.images import Occlusion, OcclusionKind


def masks(kind: OcclusionKind, share: float | None = None, side: int = 32) -> np.ndarray:
    occlusion = Occlusion(kind, side, share)
    drawn = occlusion.draw(2000, np.random.default_rng(0))
    assert drawn.dtype == np.bool_
    assert_array_equal(drawn.sum(axis=1), occlusion.n_hidden)
    return drawn.reshape(-1, side, side)


def test_half_is_the_top_or_the_bottom() -> None:
    drawn = masks("half")
    top, bottom = drawn[:, :16].all(axis=(1, 2)), drawn[:, 16:].all(axis=(1, 2))
    assert (top ^ bottom).all()
    assert 0.45 < top.mean() < 0.55


def test_quarter_is_one_of_four_quadrants() -> None:
    quadrants = masks("quarter").reshape(-1, 2, 16, 2, 16).transpose(0, 1, 3, 2, 4).reshape(-1, 4, 256)
    assert_array_equal(quadrants.all(axis=2), quadrants.any(axis=2))
    assert ((quadrants.all(axis=2).mean(axis=0) > 0.22) & (quadrants.all(axis=2).mean(axis=0) < 0.28)).all()


@pytest.mark.parametrize(
    ("share", "hidden"), [(None, 512), (0.25, 256), (0.1, 102), (1e-9, 1), (1 - 1e-9, 1023)]
)
def test_pixels_hides_its_share_evenly(share: float | None, hidden: int) -> None:
    drawn = masks("pixels", share).reshape(-1, 1024)
    assert_array_equal(drawn.sum(axis=1), hidden)
    expected = hidden / 1024
    assert np.abs(drawn.mean(axis=0) - expected).max() < 5 * np.sqrt(expected * (1 - expected) / 2000) + 1e-3


@pytest.mark.parametrize(("share", "edge"), [(None, 23), (0.25, 16), (1e-9, 1), (1 - 1e-9, 31)])
def test_square_lies_anywhere_inside(share: float | None, edge: int) -> None:
    drawn = masks("square", share)
    rows, columns = drawn.any(axis=2), drawn.any(axis=1)
    assert_array_equal(drawn, rows[:, :, None] & columns[:, None, :])
    for line in (rows, columns):
        assert_array_equal(line.sum(axis=1), edge)
        first = line.argmax(axis=1)
        assert_array_equal(line[np.arange(2000), first + edge - 1], True)
        assert set(first) == set(range(32 - edge + 1))


def test_every_place_of_the_square_is_as_likely() -> None:
    drawn = Occlusion("square", 8, 0.25).draw(10_000, np.random.default_rng(1)).reshape(-1, 8, 8)
    row, column = drawn.any(axis=2).argmax(axis=1), drawn.any(axis=1).argmax(axis=1)
    seen = np.bincount(5 * row + column, minlength=25)  # a square of 4 x 4 has 5 x 5 places
    assert chisquare(seen).pvalue > 1e-3


@pytest.mark.parametrize(
    ("kind", "side", "share", "text"),
    [
        ("third", 32, None, "half, quarter, pixels, square, got 'third'"),
        ("half", 5, None, "even, at least 2 pixels, got 5"),
        ("half", 32, 0.5, "got 0.5 with 'half'"),
        ("quarter", 32, 0.25, "got 0.25 with 'quarter'"),
        ("pixels", 32, 0.0, "got 0.0"),
        ("square", 32, 1.0, "got 1.0"),
        ("square", 32, float("nan"), "got nan"),
        ("square", 32, "0.5", "got '0.5'"),
    ],
)
def test_what_is_not_allowed_is_named(kind: OcclusionKind, side: int, share: Any, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        Occlusion(kind, side, share)
