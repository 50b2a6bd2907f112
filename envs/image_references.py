"""Baselines for image completion that involve no network.

Each of them copies the pixels that the query shows, so they differ only in the hidden ones.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from plasticrl.envs.episode import Episode


def zero_reference(episode: Episode) -> NDArray[np.float32]:
    """Predict zero, the mean of each image, at every hidden pixel.

    Args:
        episode: B episodes of image completion.

    Returns:
        (B, D)

    Raises:
        ValueError: the episode hides no pixels.
    """
    return _fill(episode, np.zeros(episode.target.shape, dtype=np.float32))


def mean_image_reference(episode: Episode, images: NDArray[np.float32]) -> NDArray[np.float32]:
    """Predict the mean of other images at every hidden pixel.

    Args:
        episode: B episodes of image completion.
        images: (M, D), normally the training images.

    Returns:
        (B, D)

    Raises:
        ValueError: the episode hides no pixels.
    """
    mean = images.mean(axis=0, dtype=np.float64).astype(np.float32)
    return _fill(episode, np.broadcast_to(mean, episode.target.shape))


def nearest_shown_reference(episode: Episode) -> NDArray[np.float32]:
    """Predict the image of the episode that is nearest to the query in its visible pixels.

    An upper bound on performance: it recalls whole images, so its error is zero unless another image of
    the episode has the same visible pixels.

    Args:
        episode: B episodes of image completion.

    Returns:
        (B, D)

    Raises:
        ValueError: the episode hides no pixels.
    """
    hidden, query = _hidden(episode), episode.inputs[-1]
    best = np.full(len(query), np.inf)
    nearest = query.copy()
    for step in episode.inputs:
        distance = np.square(step - query).sum(axis=1, where=~hidden, dtype=np.float64)
        # Skip the pauses and the query itself: they are zero at all hidden pixels.
        nearer = (distance < best) & ((step != 0) & hidden).any(axis=1)
        best[nearer] = distance[nearer]
        nearest[nearer] = step[nearer]
    return _fill(episode, nearest)


def _fill(episode: Episode, guess: NDArray[np.float32]) -> NDArray[np.float32]:
    filled: NDArray[np.float32] = np.where(_hidden(episode), guess, episode.inputs[-1])
    return filled


def _hidden(episode: Episode) -> NDArray[np.bool_]:
    if episode.hidden is None:
        raise ValueError(
            "the references are for image completion: this episode hides no pixels (hidden is None)"
        )
    return episode.hidden
