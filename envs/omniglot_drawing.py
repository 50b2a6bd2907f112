"""Reading one Omniglot drawing: from the official PNG to a small picture of its ink."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from plasticrl.envs.data_error import DataError

_PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\x0dIHDR"


def read_drawing(content: bytes, side: int, size: int, source: str) -> NDArray[np.uint8]:
    """Decode a drawing and resize it; ink is 255 and paper 0, the inverse of the file.

    It is resized with Pillow's Lanczos filter, which is antialiased: the filter is widened by
    ``side / size``, so that every pixel of the file contributes.

    Args:
        content: a PNG of ``side`` x ``side`` pixels of one bit, 0 for ink.
        side: required height and width of the drawing.
        size: height and width of the result.
        source: file and member name, for error messages.

    Returns:
        (size, size).

    Raises:
        DataError: ``content`` is not such a PNG; the message names ``source``.
    """
    # Check before Pillow reads it: a header can declare a picture larger than memory.
    if content[:16] != _PNG or len(content) < 24:
        raise _error(source, "is not a PNG")
    width, height = struct.unpack(">II", content[16:24])
    if (width, height) != (side, side):
        raise _error(source, f"has {width} x {height} pixels instead of {side} x {side}")
    try:
        with Image.open(io.BytesIO(content), formats=["PNG"]) as image:
            if image.mode != "1":
                raise _error(source, f"is of mode {image.mode!r} instead of one bit per pixel")
            paper = image.convert("L").resize((size, size), Image.Resampling.LANCZOS)
    except DataError:
        raise
    # Errors that Pillow raises for damaged files.
    except (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error) as problem:
        raise _error(source, f"is damaged ({problem})") from problem
    return 255 - np.asarray(paper)


def _error(source: str, problem: str) -> DataError:
    return DataError(f"{source} {problem}; use the official archive, or the folder it extracts to, unchanged")
