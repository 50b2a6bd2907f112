"""The references against their definitions, one episode at a time."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from plasticrl.envs.supervised.images import ImagesTask, OcclusionKind
from plasticrl.envs.supervised.patterns import PatternsTask
from plasticrl.envs.supervised.references import mean_image_reference, nearest_shown_reference, zero_reference
from plasticrl.envs.supervised.task import Episode


def draw(occlusion: OcclusionKind = "half") -> tuple[Episode, np.ndarray]:
    rng = np.random.default_rng(0)
    known = rng.uniform(-1, 1, (20, 64)).astype(np.float32)
    task = ImagesTask(
        known, n_images=4, n_cycles=2, steps_on=2, steps_off=1, test_steps=2, occlusion=occlusion
    )
    return task.sample(50, rng), known


def test_zero_and_mean_fill_the_hidden_pixels_alone() -> None:
    episode, known = draw()
    for prediction, fill in (
        (zero_reference(episode), np.zeros(64)),
        (mean_image_reference(episode, known[:10]), known[:10].mean(axis=0)),
    ):
        for one in range(50):
            hidden = episode.hidden[one]
            assert_allclose(prediction[one][hidden], fill[hidden], atol=1e-6)
            assert_array_equal(prediction[one][~hidden], episode.target[one][~hidden])


@pytest.mark.parametrize("occlusion", ["half", "quarter", "pixels", "square"])
def test_the_nearest_shown_image_completes_without_error(occlusion: OcclusionKind) -> None:
    episode, _ = draw(occlusion)
    assert_array_equal(nearest_shown_reference(episode), episode.target)


def test_the_nearest_is_so_in_the_visible_pixels_alone() -> None:
    """With another query than any image shown, it is the image that a search finds."""
    episode, _ = draw()
    rng = np.random.default_rng(1)
    query = np.where(episode.hidden, 0, rng.uniform(-1, 1, (50, 64))).astype(np.float32)
    inputs = episode.inputs.copy()
    inputs[-2:] = query
    found = nearest_shown_reference(episode._replace(inputs=inputs))
    differs = 0
    for one in range(50):
        hidden = episode.hidden[one]
        shown = np.unique(inputs[:-2, one][(inputs[:-2, one] != 0).any(axis=1)], axis=0)
        assert len(shown) == 4
        best = shown[np.square(shown - query[one])[:, ~hidden].sum(axis=1).argmin()]
        differs += not np.array_equal(best, shown[np.square(shown - query[one]).sum(axis=1).argmin()])
        assert_array_equal(found[one], np.where(hidden, best, query[one]))
    assert differs > 0  # else the hidden pixels could have had a part in it


def test_an_episode_of_another_kind_is_refused() -> None:
    episode = PatternsTask(n_bits=10).sample(2, np.random.default_rng(0))._replace(hidden=None)
    references = (zero_reference, nearest_shown_reference, lambda e: mean_image_reference(e, e.target))
    for reference in references:
        with pytest.raises(ValueError, match="hidden is None"):
            reference(episode)
