"""Image completion: show a few images, then complete one of them from a part of it."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from plasticrl.envs.argument_checks import check_count
from plasticrl.envs.episode import Episode, EpisodeTask
from plasticrl.envs.occlusion import Occlusion, OcclusionKind
from plasticrl.envs.presentation import Presentation


class ImagesTask(EpisodeTask):
    """Experiment 2 of Miconi et al. (2018), section 4.2; the defaults are those of the text.

    An episode draws ``n_images`` different images and shows all of them ``n_cycles`` times, each time in a
    new random order: ``steps_on`` steps each, followed by ``steps_off`` steps of zeros (2 in the published
    program). It ends with a query: one of the images for ``test_steps`` steps, with the occluded pixels set
    to 0. The target of the last step is the whole image. ``clamp`` marks all non-zero inputs.

    Args:
        images: (M, D) in [-1, 1], such as those of ``load_cifar``: square images, row by row. Use one task
            for the training images and another for the held-out ones. float32 arrays are not copied.
        n_images: images per episode, 1 to M.
        n_cycles: number of times that each image is shown, at least 1.
        steps_on: steps per presentation, at least 1.
        steps_off: steps of zeros after each presentation, at least 0.
        test_steps: steps of the query, at least 1.
        occlusion: the part hidden in the query: "half" (top or bottom, as in the paper), "quarter",
            "pixels" or "square"; see ``Occlusion``.
        share: fraction of the pixels that "pixels" and "square" hide; None means 0.5.

    Raises:
        ValueError: an argument is invalid; the message names it.
    """

    def __init__(
        self,
        images: NDArray[np.float32],
        n_images: int = 3,
        n_cycles: int = 3,
        steps_on: int = 20,
        steps_off: int = 3,
        test_steps: int = 3,
        occlusion: OcclusionKind = "half",
        share: float | None = None,
    ) -> None:
        self.images = _checked(images)
        self.n_images = check_count("n_images", n_images)
        if self.n_images > len(self.images):
            raise ValueError(
                f"n_images must be at most {len(self.images)}, the number of images, got {n_images}"
            )
        self.presentation = Presentation(n_cycles, steps_on, steps_off, test_steps)
        self.occlusion = Occlusion(occlusion, math.isqrt(self.images.shape[1]), share)
        self.input_shape = (self.images.shape[1],)
        self.steps = self.presentation.steps(self.n_images)

    def sample(self, batch_size: int, rng: np.random.Generator) -> Episode:
        """Draw episodes; see ``EpisodeTask.sample``."""
        check_count("batch_size", batch_size)
        shown = self.images[_distinct(len(self.images), self.n_images, batch_size, rng)]
        target = shown[np.arange(batch_size), rng.integers(0, self.n_images, batch_size)]
        hidden = self.occlusion.draw(batch_size, rng)
        inputs, judged = self.presentation.show(shown, np.where(hidden, np.float32(0), target), rng)
        return Episode(inputs, inputs != 0, None, target, judged, hidden)


def _checked(images: NDArray[np.float32]) -> NDArray[np.float32]:
    checked = np.asarray(images, dtype=np.float32)
    if checked.ndim != 2 or len(checked) == 0 or math.isqrt(checked.shape[1]) ** 2 != checked.shape[1]:
        raise ValueError(f"images must be (M, D), with D a square number, got the shape {checked.shape}")
    # Written so that NaN fails, too.
    if not (checked.min() >= -1 and checked.max() <= 1):
        raise ValueError("images must lie in [-1, 1], like those of load_cifar; these do not")
    return checked


def _distinct(n_items: int, n_drawn: int, batch_size: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Draw (batch_size, n_drawn) indices, different within a row, at a cost independent of ``n_items``.

    Uses Floyd's algorithm (Bentley and Floyd, CACM 30(9), 1987): every set is equally likely, but the order
    within a row is not random.
    """
    drawn = np.empty((batch_size, n_drawn), dtype=np.int64)
    for place, last in enumerate(range(n_items - n_drawn, n_items)):
        new = rng.integers(0, last + 1, batch_size)
        taken = (drawn[:, :place] == new[:, None]).any(axis=1)
        drawn[:, place] = np.where(taken, last, new)
    return drawn
