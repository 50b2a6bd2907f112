"""One Omniglot drawing: from the official PNG to a small picture of its ink."""

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
    """Decode a drawing and resize it; ink is 255 and paper 0, the other way round than in the file.

    Resized by Pillow's Lanczos filter, which is antialiased: it is widened by ``side / size``, so that
    every pixel of the file counts.

    Args:
        content: a PNG of ``side`` x ``side`` pixels of one bit, 0 for ink.
        side: height and width that the drawing must have.
        size: height and width of the result.
        source: file and name, for errors.

    Returns:
        (size, size).

    Raises:
        DataError: ``content`` is not such a PNG; the text names ``source``.
    """
    # Before Pillow sees it: a header can claim a picture that no memory holds.
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
    # What Pillow is known to raise on damaged files.
    except (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error) as problem:
        raise _error(source, f"is damaged ({problem})") from problem
    return 255 - np.asarray(paper)


def _error(source: str, problem: str) -> DataError:
    return DataError(f"{source} {problem}; use the official archive, or the folder it extracts to, unchanged")
