"""A picture of what an episode shows at one step."""

from __future__ import annotations

from math import isqrt

import numpy as np
from numpy.typing import NDArray

_SIDE = 256  # pixels, about


def input_picture(
    values: NDArray[np.float32], input_shape: tuple[int, ...], bound: float
) -> NDArray[np.uint8]:
    """An input as a grey picture (height, width, 3); -bound is black, 0 is grey, bound is white.

    A vector is laid out row by row on a square that it fills as far as it goes.

    Args:
        values: (D,), the input.
        input_shape: ``(D,)``, or ``(height, width)`` of an image.
        bound: largest absolute value.
    """
    if len(input_shape) == 1:
        side = isqrt(values.size - 1) + 1
        input_shape = (side, side)
        values = np.pad(values, (0, side * side - values.size))
    grey = np.round((values.reshape(input_shape) / bound + 1) * 127.5).astype(np.uint8)
    scale = max(2, 2 * round(_SIDE / 2 / max(input_shape)))  # even, as video formats need
    return np.repeat(np.kron(grey, np.ones((scale, scale), dtype=np.uint8))[..., None], 3, axis=2)
