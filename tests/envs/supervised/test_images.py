"""The image task keeps to the protocol of experiment 2."""

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from plasticrl.envs.data.cifar import load_cifar
from plasticrl.envs.supervised.images import ImagesTask, OcclusionKind

BATCH = 40


def images(count: int = 12, pixels: int = 1024, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, (count, pixels)).astype(np.float32)


def identify(vectors: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Index in ``known`` of each vector (..., D), -1 where it is none of them."""
    same = (vectors[..., None, :] == known).all(axis=-1)
    return np.where(same.any(axis=-1), same.argmax(axis=-1), -1)


def test_an_episode_is_that_of_the_text() -> None:
    """3 images, 3 cycles, 20 steps on and 3 off, then 3 steps of the query: 3 * 3 * 23 + 3."""
    known = images()
    task = ImagesTask(known)
    episode = task.sample(BATCH, np.random.default_rng(1))
    assert (task.steps, task.input_shape, task.n_classes) == (210, (1024,), None)
    assert episode.inputs.shape == (210, BATCH, 1024)
    assert episode.inputs.dtype == np.float32
    assert episode.labels is None
    shown = identify(episode.inputs[:207], known).reshape(9, 23, BATCH)
    assert (shown[:, :20] == shown[:, :1]).all()
    assert (episode.inputs[:207].reshape(9, 23, BATCH, 1024)[:, 20:] == 0).all()
    cycles = np.sort(shown[:, 0].reshape(3, 3, BATCH), axis=1)
    assert (cycles == cycles[0]).all()
    assert (np.diff(cycles[0], axis=0) > 0).all()  # three different images
    assert (cycles[0] >= 0).all()
    asked = identify(episode.target, known)
    assert (cycles[0] == asked).any(axis=0).all()
    assert_array_equal(np.flatnonzero(episode.target_mask.all(axis=1)), [209])
    assert_array_equal(episode.target_mask.any(axis=1), episode.target_mask.all(axis=1))
    assert episode.hidden is not None
    assert_array_equal(
        episode.inputs[207:], np.broadcast_to(np.where(episode.hidden, 0, episode.target), (3, BATCH, 1024))
    )
    assert_array_equal(episode.clamp, episode.inputs != 0)


@pytest.mark.parametrize(
    ("occlusion", "hidden"), [("half", 512), ("quarter", 256), ("pixels", 512), ("square", 529)]
)
def test_the_query_hides_what_was_asked_for(occlusion: OcclusionKind, hidden: int) -> None:
    episode = ImagesTask(images(), occlusion=occlusion).sample(BATCH, np.random.default_rng(2))
    assert episode.hidden is not None
    assert_array_equal(episode.hidden.sum(axis=1), hidden)
    assert_array_equal((episode.inputs[-1] == 0).sum(axis=1), hidden)


def test_every_knob_counts() -> None:
    task = ImagesTask(
        images(5, 16),
        n_images=2,
        n_cycles=4,
        steps_on=5,
        steps_off=2,
        test_steps=6,
        occlusion="pixels",
        share=0.25,
    )
    episode = task.sample(3, np.random.default_rng(0))
    assert episode.inputs.shape == (4 * 2 * 7 + 6, 3, 16) == (task.steps, 3, *task.input_shape)
    assert episode.hidden is not None
    assert_array_equal(episode.hidden.sum(axis=1), 4)


@pytest.mark.parametrize(("n_images", "count"), [(3, 3), (3, 4), (2, 7)])
def test_every_set_of_images_is_equally_likely(n_images: int, count: int) -> None:
    known = images(count, 4)
    task = ImagesTask(known, n_images=n_images, n_cycles=1, steps_on=1, steps_off=0, test_steps=1)
    episode = task.sample(8000, np.random.default_rng(0))
    shown = np.sort(identify(episode.inputs[:n_images], known), axis=0)
    sets, drawn = np.unique(shown, axis=1, return_counts=True)
    n_sets = {(3, 3): 1, (3, 4): 4, (2, 7): 21}[n_images, count]
    assert sets.shape[1] == n_sets
    assert np.abs(drawn - 8000 / n_sets).max() < 5 * np.sqrt(8000 / n_sets)
    assert (sets[1:] > sets[:-1]).all()
    asked = np.bincount(identify(episode.target, known), minlength=count)
    assert np.abs(asked - 8000 / count).max() < 5 * np.sqrt(8000 / count)


def test_the_generator_decides_everything() -> None:
    task = ImagesTask(images())
    one, same, other = (task.sample(4, np.random.default_rng(seed)) for seed in (5, 5, 6))
    for field, again in zip(one, same, strict=True):
        assert_array_equal(field, again)
    assert (one.inputs != other.inputs).any()


def test_training_and_held_out_images_never_mix(miniature_cifar: Any) -> None:
    train, test = (load_cifar("cifar-10", split, miniature_cifar.trees) for split in ("train", "test"))
    for mine, others in ((train, test), (test, train)):
        episode = ImagesTask(mine).sample(50, np.random.default_rng(0))
        shown = episode.inputs[:207].reshape(9, 23, 50, 1024)[:, 0]
        assert (identify(shown, mine) >= 0).all()
        assert (identify(shown, others) == -1).all()


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"n_images": 13}, "at most 12, the number of images, got 13"),
        ({"n_images": 0}, "n_images"),
        ({"n_cycles": 0}, "n_cycles"),
        ({"steps_on": 0}, "steps_on"),
        ({"steps_off": -1}, "steps_off"),
        ({"test_steps": 0}, "test_steps"),
        ({"occlusion": "third"}, "'third'"),
        ({"images": np.zeros((3, 1000))}, r"\(3, 1000\)"),
        ({"images": np.zeros((3, 32, 32))}, r"\(3, 32, 32\)"),
        ({"images": np.zeros((0, 1024))}, r"\(0, 1024\)"),
        ({"images": np.zeros((3, 25))}, "even"),
        ({"images": np.full((3, 1024), 1.01)}, r"\[-1, 1\]"),
        ({"images": np.full((3, 1024), np.nan)}, r"\[-1, 1\]"),
    ],
)
def test_what_is_not_allowed_is_named(options: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        ImagesTask(**{"images": images(), **options})


def test_a_batch_has_an_episode() -> None:
    with pytest.raises(ValueError, match="batch_size"):
        ImagesTask(images()).sample(0, np.random.default_rng(0))
