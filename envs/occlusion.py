"""Occlusion: the pixels of an image that a query hides."""

from __future__ import annotations

import math
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from plasticrl.envs.argument_checks import is_number

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
