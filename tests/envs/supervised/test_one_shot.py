from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from plasticrl.envs.supervised.one_shot import OneShotTask
from plasticrl.envs.supervised.task import Episode


def numbered_images(classes, pictures):
    """Pictures of 3 x 3 that tell their class and number, and which way up they are."""
    images = np.zeros((classes, pictures, 3, 3), dtype=np.uint8)
    images[:, :, 0, 0] = 255
    images[:, :, 1, 1] = np.arange(classes)[:, None]
    images[:, :, 0, 1] = images[:, :, 1, 0] = images[:, :, 1, 2] = images[:, :, 2, 1] = np.arange(pictures)
    return images


def told(inputs):
    """Class, number and quarter turns (counterclockwise) of each picture of ``numbered_images``."""
    pixels = inputs * 255
    corners = pixels[..., (0, 2, 2, 0), (0, 0, 2, 2)]  # where the mark goes, turn by turn
    assert ((corners == 255).sum(axis=-1) == 1).all()
    return pixels[..., 1, 1].astype(int), pixels[..., 0, 1].astype(int), corners.argmax(axis=-1)


@settings(max_examples=60, deadline=None)
@given(
    st.data(),
    st.integers(2, 9),
    st.integers(2, 6),
    st.booleans(),
    st.booleans(),
    st.booleans(),
    st.integers(0, 2**32),
)
def test_every_episode_keeps_the_protocol(data, classes, pictures, rotations, pooled, all_asked, seed):
    n_way = data.draw(st.integers(2, classes))
    k_shot = data.draw(st.integers(1, pictures - 1))
    batch = data.draw(st.integers(1, 7))
    pool = data.draw(st.integers(n_way, classes)) if pooled else None
    queries = "all" if all_asked else "one"
    task = OneShotTask(numbered_images(classes, pictures), n_way, k_shot, rotations, pool, queries)
    drawn = task.sample(batch, np.random.default_rng(seed))
    assert (drawn.picture is None) == (pool is None)
    episode = drawn.expanded()
    shown = n_way * k_shot
    steps = shown + (n_way if all_asked else 1)
    assert (task.steps, task.n_classes, task.input_shape) == (steps, n_way, (3, 3))
    assert episode.inputs.shape == (steps, batch, 3, 3)
    assert episode.inputs.dtype == np.float32
    assert episode.labels.shape == (steps, batch)
    assert episode.labels.dtype == episode.target.dtype == np.int64
    assert episode.target.shape == ((steps, batch) if all_asked else (batch,))
    assert episode.picture is None
    assert episode.clamp is None
    assert episode.hidden is None
    assert not episode.target_mask[:shown].any()
    assert episode.target_mask[shown:].all()
    assert (episode.labels[shown:] == -1).all()
    names, numbers, turns = told(episode.inputs)
    if not rotations:
        assert (turns == 0).all()
    for b in range(batch):
        labels = episode.labels[:shown, b].tolist()
        assert sorted(labels) == sorted(list(range(n_way)) * k_shot)
        of_label = {label: (names[t, b], turns[t, b]) for t, label in enumerate(labels)}
        assert len({name for name, _ in of_label.values()}) == n_way
        assert all((names[t, b], turns[t, b]) == of_label[label] for t, label in enumerate(labels))
        asked = episode.target[shown:, b].tolist() if all_asked else [episode.target[b]]
        for t, answer in enumerate(asked, shown):
            assert (names[t, b], turns[t, b]) == of_label[answer]
        assert len(set(zip(names[:, b], numbers[:, b], strict=True))) == steps
        if all_asked:
            assert sorted(asked) == list(range(n_way))
            assert episode.target[:shown, b].tolist() == labels
        assert episode.answers()[b] == asked[-1]


def even(*values, sizes):
    """Whether all combinations of the values turn up equally often."""
    seen = np.bincount(np.ravel_multi_index(values, sizes), minlength=int(np.prod(sizes)))
    return chisquare(seen).pvalue > 1e-3


def independent_episodes(task, count, rng):
    """Inputs, labels and targets of that many episodes; of a pooled batch only the last, since it shares."""
    if task.pool is None:
        episode = task.sample(count, rng)
        return episode.inputs, episode.labels, episode.target
    lasts = [task.sample(3, rng).rows(slice(2, 3)).expanded() for _ in range(count)]
    inputs, labels = (np.concatenate([e[field] for e in lasts], axis=1) for field in (0, 2))
    return inputs, labels, np.concatenate([e.target for e in lasts])


@pytest.mark.parametrize(("pool", "count"), [(None, 60_000), (4, 8_000)])
def test_choices_are_even_and_independent(pool, count):
    task = OneShotTask(numbered_images(5, 3), n_way=2, k_shot=1, pool=pool)
    inputs, labels, target = independent_episodes(task, count, np.random.default_rng(5))
    names, numbers, turns = told(inputs)
    first = labels[0]
    pair = np.where(first == 0, names[:2], names[1::-1])  # class of label 0, class of label 1
    which = {choice: place for place, choice in enumerate(permutations(range(5), 2))}
    chosen = np.array([which[a, b] for a, b in pair.T.tolist()])
    assert even(chosen, first, target, sizes=(20, 2, 2))
    assert even(turns[0], turns[1], sizes=(4, 4))
    assert even(numbers[0], numbers[1], sizes=(3, 3))
    shown = numbers[np.where(first == target, 0, 1), np.arange(count)]
    assert even(shown, (numbers[2] - shown) % 3 - 1, first, sizes=(3, 2, 2))


def test_pictures_come_in_any_order():
    task = OneShotTask(numbered_images(5, 4), n_way=2, k_shot=2)
    labels = task.sample(30_000, np.random.default_rng(6)).labels[:-1]
    seen = np.bincount(2 ** np.arange(4) @ labels, minlength=16)
    assert chisquare(seen[seen > 0]).pvalue > 1e-3
    assert (seen > 0).sum() == 6


def test_pixels_become_ink_between_0_and_1():
    images = np.zeros((2, 3, 16, 16), dtype=np.uint8)
    images[:] = np.arange(256).reshape(16, 16)
    inputs = OneShotTask(images, 2, rotations=False).sample(1, np.random.default_rng(0)).inputs
    np.testing.assert_array_equal(inputs[0, 0].ravel(), np.arange(256, dtype=np.float32) / np.float32(255))


def test_generator_decides_alone():
    images = numbered_images(9, 5)
    kept = images.copy()
    task = OneShotTask(images, 5, 2)
    first = task.sample(8, np.random.default_rng(1))
    other = task.sample(8, np.random.default_rng(2))
    again = task.sample(8, np.random.default_rng(1))
    for one, two in zip(first, again, strict=True):
        np.testing.assert_array_equal(one, two)
    assert (first.inputs != other.inputs).any()
    np.testing.assert_array_equal(images, kept)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"n_way": 1}, "n_way must be a whole number, at least 2, got 1"),
        ({"n_way": 10}, "n_way must be at most 9, the number of classes, got 10"),
        ({"n_way": 2.5}, "n_way must be a whole number, at least 2, got 2.5"),
        ({"k_shot": 0}, "k_shot must be a whole number, at least 1, got 0"),
        ({"k_shot": 5}, "k_shot must be at most 4, got 5"),
        ({"k_shot": True}, "k_shot must be a whole number, at least 1, got True"),
        ({"rotations": 1}, "rotations must be True or False, got 1"),
        ({"images": np.zeros((9, 5, 3, 4), np.uint8)}, r"shape \(9, 5, 3, 4\)"),
        ({"images": np.zeros((9, 5, 3, 3))}, "got float64 of shape"),
        ({"images": np.zeros((9, 5, 3), np.uint8)}, r"shape \(9, 5, 3\)"),
        ({"images": [[1]]}, "images must be uint8 .* got list: give an array"),
    ],
)
def test_refuses_what_cannot_be(options, text):
    with pytest.raises(ValueError, match=text):
        OneShotTask(**{"images": numbered_images(9, 5), **options})


@pytest.mark.parametrize("batch_size", [0, -1, 1.0])
def test_refuses_an_empty_batch(batch_size):
    task = OneShotTask(numbered_images(9, 5))
    with pytest.raises(ValueError, match=f"batch_size must be a whole number, at least 1, got {batch_size}"):
        task.sample(batch_size, np.random.default_rng(0))


def test_the_episodes_of_a_pooled_batch_share_pictures_and_another_batch_has_others():
    task = OneShotTask(numbered_images(200, 20), n_way=3, k_shot=2, pool=7)
    rng = np.random.default_rng(0)
    first, second = (task.sample(400, rng) for _ in range(2))
    names, numbers, turns = told(first.expanded().inputs)
    assert len(set(names.ravel())) == 7
    seen = set(zip(names.ravel(), numbers.ravel(), turns.ravel(), strict=True))
    assert len(seen) == 7 * 3  # K + 1 pictures of each class, one rotation
    assert len(set(first.picture.ravel())) == 7 * 3
    pairs = set(zip(first.picture.ravel(), names.ravel(), numbers.ravel(), turns.ravel(), strict=True))
    assert len(pairs) == 7 * 3  # equal numbers are equal pictures
    assert set(told(second.inputs)[0].ravel()) != set(names.ravel())


@pytest.mark.parametrize("pool", [4, 11, True, 5.0])
def test_a_pool_has_at_least_the_classes_of_an_episode(pool):
    with pytest.raises(ValueError, match="pool"):
        OneShotTask(numbered_images(10, 3), pool=pool)


def test_vectors_beside_labels_stay_whole():
    """A task of one's own may show labels and ask for vectors."""
    inputs, labels = np.zeros((4, 3, 2), np.float32), np.zeros((4, 3), np.int64)
    target = np.arange(6, dtype=np.float32).reshape(3, 2)
    episode = Episode(inputs, None, labels, target, np.ones((4, 3), bool), None)
    assert episode.rows(slice(1, 2)).target.tolist() == [[2, 3]]
    assert episode.answers() is target
