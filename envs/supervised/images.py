"""Image completion: see a few images, then complete one of them from a part."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from plasticrl.arguments import check_count, is_number
from plasticrl.envs.supervised.references import (
    mean_image_reference,
    nearest_shown_reference,
    zero_reference,
)
from plasticrl.envs.supervised.task import Episode, EpisodeTask, Predictor, Presentation

OcclusionKind = Literal["half", "quarter", "pixels", "square"]


class Occlusion:
    """Sampler of masks of hidden pixels for square images.

    Args:
        kind: "half", the top or the bottom half; "quarter", one of the four quadrants; "pixels", individual
            pixels anywhere; "square", a square anywhere inside the image.
        side: height and width of the images in pixels; even, at least 2.
        share: fraction of the pixels that "pixels" and "square" hide, 0.5 by default. It is rounded to a
            number of pixels, or to a side of the square, such that neither none nor all of the image is
            hidden. The other kinds do not accept it.

    Attributes:
        n_hidden: number of pixels hidden by every mask.

    Raises:
        ValueError: an argument is invalid; the message names it.
    """

    def __init__(self, kind: OcclusionKind, side: int, share: float | None = None) -> None:
        if kind not in get_args(OcclusionKind):
            raise ValueError(f"occlusion must be one of {', '.join(get_args(OcclusionKind))}, got {kind!r}")
        if side < 2 or side % 2:
            raise ValueError(f"the images' side must be even, at least 2 pixels, got {side}")
        if share is not None and kind not in ("pixels", "square"):
            raise ValueError(f"share applies to pixels and square only, got {share!r} with {kind!r}")
        share = 0.5 if share is None else share
        if not (is_number(share) and 0 < share < 1):
            raise ValueError(f"share must be between 0 and 1, both excluded, got {share!r}")
        self.kind = kind
        self.side = side
        pixels = side * side
        self._edge = min(max(round(math.sqrt(share * pixels)), 1), side - 1)
        self.n_hidden = {
            "half": pixels // 2,
            "quarter": pixels // 4,
            "pixels": min(max(round(share * pixels), 1), pixels - 1),
            "square": self._edge**2,
        }[kind]

    def draw(self, batch_size: int, rng: np.random.Generator) -> NDArray[np.bool_]:
        """Draw masks (batch_size, side * side) with the pixels row by row, true where hidden."""
        if self.kind == "pixels":
            first = np.arange(self.side**2) < self.n_hidden
            return rng.permuted(np.tile(first, (batch_size, 1)), axis=1)
        half = self.side // 2
        height, width = {
            "half": (half, self.side),
            "quarter": (half, half),
            "square": (self._edge, self._edge),
        }[self.kind]
        # A half or a quadrant lies at a multiple of its size, a square at any position.
        if self.kind == "square":
            corner = rng.integers(0, self.side - self._edge + 1, (2, batch_size, 1))
        else:
            corner = half * rng.integers(0, (2, self.side // width), (batch_size, 2)).T[:, :, None]
        place = np.arange(self.side)
        rows = (place >= corner[0]) & (place < corner[0] + height)
        columns = (place >= corner[1]) & (place < corner[1] + width)
        masks: NDArray[np.bool_] = rows[:, :, None] & columns[:, None, :]
        return masks.reshape(batch_size, -1)


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
        inputs, scored = self.presentation.show(shown, np.where(hidden, np.float32(0), target), rng)
        return Episode(inputs, inputs != 0, None, target, scored, hidden)

    def references(self) -> Mapping[str, Predictor]:
        """Return the nearest image of the episode, the mean of the task's images, and zero."""
        return {
            "nearest shown image": nearest_shown_reference,
            "mean image": partial(mean_image_reference, images=self.images),
            "zero": zero_reference,
        }


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
