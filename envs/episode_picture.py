"""Pictures of the input at one step of an episode."""

from __future__ import annotations

from math import isqrt

import numpy as np
from numpy.typing import NDArray

_SIDE = 256  # approximate side of a picture, in pixels


def input_picture(
    values: NDArray[np.float32], input_shape: tuple[int, ...], bound: float
) -> NDArray[np.uint8]:
    """Draw an input as a grey picture (height, width, 3): -bound is black, 0 is grey, bound is white.

    A vector is laid out row by row on the smallest square that holds it; the rest of the square is grey.

    Args:
        values: (D,), the input.
        input_shape: ``(D,)``, or ``(height, width)`` for an image.
        bound: largest absolute value.
    """
    if len(input_shape) == 1:
        side = isqrt(values.size - 1) + 1
        input_shape = (side, side)
        values = np.pad(values, (0, side * side - values.size))
    grey = np.round((values.reshape(input_shape) / bound + 1) * 127.5).astype(np.uint8)
    scale = max(2, 2 * round(_SIDE / 2 / max(input_shape)))  # even, as video formats require
    return np.repeat(np.kron(grey, np.ones((scale, scale), dtype=np.uint8))[..., None], 3, axis=2)
