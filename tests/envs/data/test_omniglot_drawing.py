import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from plasticrl.envs.data.download import DataError
from plasticrl.envs.data.omniglot import read_drawing


def png(ink, mode="1"):
    """A PNG of the given ink (bool), as the official ones are: 0 is ink."""
    file = io.BytesIO()
    paper = Image.fromarray(np.where(ink, 0, 255).astype(np.uint8))
    paper.convert(mode, dither=Image.Dither.NONE).save(file, "PNG")
    return file.getvalue()


def lanczos(side, size):
    """Weights (size, side) of the antialiased Lanczos filter with 3 lobes."""
    scale = max(side / size, 1)
    centre = (np.arange(size)[:, None] + 0.5) * side / size
    x = (np.arange(side)[None] + 0.5 - centre) / scale
    weights = np.where(abs(x) < 3, np.sinc(x) * np.sinc(x / 3), 0)
    return weights / weights.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("size", [31, 28, 105, 1])
def test_resizes_by_the_widened_filter(size):
    # Strokes rather than noise: few pixels leave [0, 255] halfway, where Pillow cuts them off.
    row, column = np.mgrid[:105, :105]
    ink = (abs((row - 50) ** 2 + (column - 40) ** 2 - 900) < 250) | (abs(row - column) < 3)
    weights = lanczos(105, size)
    halfway = np.clip(255.0 * ~ink @ weights.T, 0, 255)
    expected = 255 - np.clip(weights @ halfway, 0, 255)
    found = read_drawing(png(ink), 105, size, "x").astype(float)
    assert found.shape == (size, size)
    np.testing.assert_allclose(found, expected, rtol=0, atol=2)


@pytest.mark.parametrize("inked", [False, True])
def test_ink_is_255_and_paper_0(inked):
    found = read_drawing(png(np.full((105, 105), inked)), 105, 31, "x")
    assert found.dtype == np.uint8
    assert (found == 255 * inked).all()


def with_header(content, width, height):
    """The same PNG, claiming another size, with the checksum to go with it."""
    header = b"IHDR" + struct.pack(">II", width, height) + content[24:29]
    return content[:12] + header + struct.pack(">I", zlib.crc32(header)) + content[33:]


PAGE = png(np.arange(105 * 105).reshape(105, 105) % 7 == 0)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", "is not a PNG"),
        (PAGE[:20], "is not a PNG"),
        (b"GIF89a" + PAGE[6:], "is not a PNG"),
        (png(np.zeros((105, 104), bool)), "has 104 x 105 pixels of mode '1' instead of 105 x 105"),
        (with_header(PAGE, 9_000, 9_000), "has 9000 x 9000 pixels"),
        (with_header(PAGE, 2**31 - 1, 2**31 - 1), ".*exceeds limit"),
        (
            png(np.zeros((105, 105), bool), "L"),
            "has 105 x 105 pixels of mode 'L' instead of 105 x 105 of one bit",
        ),
        (PAGE[:60], "is not a PNG, or damaged"),
        (PAGE[: len(PAGE) // 2], "is not a PNG, or damaged"),
        (PAGE[:33] + b"\x00" * 60, "is not a PNG, or damaged"),
        (PAGE[:45] + b"\xff" * 30 + PAGE[75:], "is not a PNG, or damaged"),
    ],
)
def test_names_what_is_wrong(content, text):
    with pytest.raises(DataError, match=f"^that drawing {text}.*official archive"):
        read_drawing(content, 105, 31, "that drawing")
