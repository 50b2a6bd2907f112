"""Predictors that are not trained: what networks on supervised tasks are compared with.

Those of image completion keep the visible pixels of the query, predict the hidden ones, and return (B, D).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from plasticrl.envs.supervised.task import Episode


def zero_reference(episode: Episode) -> NDArray[np.float32]:
    """Predict zero, the mean of each image, at every hidden pixel.

    Raises:
        ValueError: the episode hides no pixels.
    """
    return _fill(episode, np.zeros(episode.target.shape, dtype=np.float32))


def mean_image_reference(episode: Episode, images: NDArray[np.float32]) -> NDArray[np.float32]:
    """Predict the mean of other images (M, D), normally the training images, at every hidden pixel.

    Raises:
        ValueError: the episode hides no pixels.
    """
    mean = images.mean(axis=0, dtype=np.float64).astype(np.float32)
    return _fill(episode, np.broadcast_to(mean, episode.target.shape))


def nearest_shown_reference(episode: Episode) -> NDArray[np.float32]:
    """Predict the image of the episode that is nearest to the query in its visible pixels.

    An upper bound on performance: it recalls whole images, so its error is zero unless another image of
    the episode has the same visible pixels.

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


def hopfield_completion(episode: Episode) -> NDArray[np.float32]:
    """Complete the query with a Hopfield network that stores the patterns shown (Hopfield, PNAS 1982).

    ``w_ij`` is the sum of ``p_i p_j`` over the distinct vectors without a zero in the episode, and
    ``w_ii = 0``. The visible bits of the query are clamped. The others start at 0 and are updated one after
    another, ``s_i = sign(sum_j w_ij s_j)``, unchanged if the sum is 0, until no bit changes.

    Args:
        episode: binary patterns, with a zero for each hidden bit; the query is the last step.

    Returns:
        The completed patterns ``(B, D)``, -1 or 1, and 0 for a bit that remains undetermined.

    Raises:
        ValueError: the inputs are not binary patterns.
    """
    inputs = episode.inputs
    magnitude = np.abs(inputs)
    if inputs.ndim != 3 or not ((magnitude == 0) | (magnitude == magnitude.max())).all():
        raise ValueError(
            "hopfield_completion is for binary patterns: inputs must be (T, B, D), with entries 0, x or -x"
        )
    signs = np.sign(inputs).swapaxes(0, 1).astype(np.float64)  # (B, T, D); sums of whole numbers are exact
    recalled = [_recall(np.unique(shown[shown.all(axis=-1)], axis=0), shown[-1]) for shown in signs]
    return np.stack(recalled).astype(np.float32)


def _recall(patterns: NDArray[np.float64], query: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the state ``(D,)`` that a network with these patterns ``(P, D)`` reaches from the query.

    The loop terminates: w is symmetric with a zero diagonal, so that each change lowers the energy.
    """
    weights: NDArray[np.float64] = patterns.T @ patterns
    np.fill_diagonal(weights, 0)
    state: NDArray[np.float64] = query.copy()
    sums = weights @ state
    free = np.flatnonzero(query == 0)
    changed = True
    while changed:
        changed = False
        for i in free:
            new = np.sign(sums[i]) or state[i]
            if new != state[i]:
                sums += weights[i] * (new - state[i])
                state[i] = new
                changed = True
    return state


def nearest_neighbour(episode: Episode) -> NDArray[np.int64]:
    """Return the label of the shown image that is nearest to the query, by squared difference.

    Args:
        episode: classification episodes; the query is the image of the last step.

    Returns:
        Classes ``(B,)``; if two images are equally near, that of the first one.

    Raises:
        ValueError: the episode has no labels.
    """
    if episode.labels is None:
        raise ValueError("the episode has no labels: nearest_neighbour is for classification tasks")
    images = episode.inputs.reshape(*episode.inputs.shape[:2], -1).astype(np.float64)  # (T, B, pixels)
    distance = np.square(images - images[-1]).sum(axis=-1)
    distance[episode.labels < 0] = np.inf
    nearest = distance.argmin(axis=0)
    labels: NDArray[np.int64] = np.take_along_axis(episode.labels, nearest[None], axis=0)[0]
    return labels
