"""Nearest neighbour on raw pixels, the baseline of one-shot classification without learning."""

import numpy as np
from numpy.typing import NDArray

from plasticrl.envs.episode import Episode


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
