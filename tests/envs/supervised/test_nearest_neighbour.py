"""Nearest neighbour on raw pixels."""

import numpy as np
import pytest

from plasticrl.envs.supervised.one_shot import OneShotTask
from plasticrl.envs.supervised.patterns import PatternsTask
from plasticrl.envs.supervised.references import nearest_neighbour
from plasticrl.envs.supervised.task import Episode


def pictures(noise: float) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """12 classes of 4 noisy copies of one random picture, 5 x 5."""
    rng = np.random.default_rng(0)
    prototype = rng.random((12, 1, 5, 5))
    copies = (1 - noise) * prototype + noise * rng.random((12, 4, 5, 5))
    return (255 * copies).astype(np.uint8)


def accuracy(task: OneShotTask) -> float:
    episode = task.sample(2000, np.random.default_rng(1))
    return float((nearest_neighbour(episode) == episode.target).mean())


@pytest.mark.parametrize("k_shot", [1, 2])
def test_copies_with_little_noise_are_found(k_shot: int) -> None:
    assert accuracy(OneShotTask(pictures(0.05), n_way=5, k_shot=k_shot, rotations=False)) == 1


def test_pure_noise_gives_chance() -> None:
    assert accuracy(OneShotTask(pictures(1.0), n_way=5)) == pytest.approx(0.2, abs=0.04)


def test_by_hand() -> None:
    """Two episodes of one-pixel images; the second has a tie, which the first image wins."""
    images = np.array([[0.0, 0.5], [0.6, 0.1], [0.2, 0.3]], dtype=np.float32)[:, :, None, None]
    labels = np.array([[4, 1], [2, 0], [-1, -1]])
    mask = np.zeros((3, 2), dtype=bool)
    predicted = nearest_neighbour(Episode(images, None, labels, labels[-1], mask, None))
    assert predicted.tolist() == [4, 1]
    assert predicted.dtype == np.int64


def test_a_task_without_labels_is_refused() -> None:
    with pytest.raises(ValueError, match="the episode has no labels"):
        nearest_neighbour(PatternsTask(n_bits=10).sample(1, np.random.default_rng(0)))
