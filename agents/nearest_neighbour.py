"""Nearest neighbour on raw pixels: what one-shot classification reaches without learning."""

import numpy as np
from numpy.typing import NDArray

from plasticrl.envs.episode import Episode


def nearest_neighbour(episode: Episode) -> NDArray[np.int64]:
    """The label of the shown image that is nearest to the last one, by squared difference.

    Args:
        episode: of a task of classes; the image asked about is that of the last step.

    Returns:
        classes ``(B,)``; where two images are equally near, that of the first.

    Raises:
        ValueError: the episode tells no labels.
    """
    if episode.labels is None:
        raise ValueError("the episode has no labels: nearest_neighbour is for tasks that ask for a class")
    images = episode.inputs.reshape(*episode.inputs.shape[:2], -1).astype(np.float64)  # (T, B, pixels)
    distance = np.square(images - images[-1]).sum(axis=-1)
    distance[episode.labels < 0] = np.inf
    nearest = distance.argmin(axis=0)
    labels: NDArray[np.int64] = np.take_along_axis(episode.labels, nearest[None], axis=0)[0]
    return labels
