"""Pictures of episodes: the target or inputs, the query, and the prediction."""

from __future__ import annotations

from math import ceil, isqrt

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from plasticrl.envs.episode import Episode

RGB = NDArray[np.uint8]

_SIDE = 96  # minimum length of a cell's longer side, in pixels
_GAP = 4
_TEXT = 14  # height of a line of text
_PAPER, _INK, _RIGHT, _WRONG = 255, (0, 0, 0), (0, 120, 0), (190, 0, 0)


def reconstructions(
    target: NDArray[np.float32], shown: NDArray[np.float32], output: NDArray[np.float32]
) -> RGB:
    """Draw one row per episode: the target, the degraded query and the output; -1 is black, 1 is white.

    A vector becomes a rectangle, as close to a square as the factors of its length allow.

    Args:
        target: ``(B, D)``.
        shown: ``(B, D)``, the query; its hidden elements are 0, drawn grey.
        output: ``(B, D)``.
    """
    rows = [
        np.hstack([_framed(_cell(vector)) for vector in vectors])
        for vectors in zip(target, shown, output, strict=True)
    ]
    return np.vstack(rows)


def one_shot_episodes(episode: Episode, answers: NDArray[np.int64]) -> RGB:
    """Draw one row per episode: each image above its label, and the query above the predicted class.

    A correct prediction is green. A wrong one is red, followed by the correct class in brackets.

    Args:
        episode: inputs ``(T, B, height, width)`` of any range; the last step is the query.
        answers: predicted classes ``(B,)``.
    """
    assert episode.labels is not None
    rows = []
    for b, answer in enumerate(answers):
        cells = [
            _captioned(image, str(label), _INK)
            for image, label in zip(episode.inputs[:-1, b], episode.labels[:-1, b], strict=True)
        ]
        right = episode.target[b]
        text, color = (f"{answer}", _RIGHT) if answer == right else (f"{answer} ({right})", _WRONG)
        rows.append(np.hstack([*cells, _captioned(episode.inputs[-1, b], f"? {text}", color)]))
    return np.vstack(rows)


def _cell(vector: NDArray[np.float32]) -> RGB:
    height = next(h for h in range(isqrt(len(vector)), 0, -1) if len(vector) % h == 0)
    gray = ((np.clip(np.nan_to_num(vector), -1, 1) + 1) * 127.5).round().astype(np.uint8)
    return _enlarged(gray.reshape(height, -1))


def _captioned(image: NDArray[np.float32], text: str, color: tuple[int, int, int]) -> RGB:
    low, high = float(image.min()), float(image.max())
    gray = ((image - low) / max(high - low, 1e-9) * 255).round().astype(np.uint8)
    picture = _enlarged(gray)
    caption = Image.new("RGB", (picture.shape[1], _TEXT), (_PAPER,) * 3)
    ImageDraw.Draw(caption).text((2, 0), text, fill=color)
    return _framed(np.vstack([picture, np.asarray(caption)]))


def _enlarged(gray: RGB) -> RGB:
    side = ceil(_SIDE / max(gray.shape))
    return np.repeat(gray.repeat(side, axis=0).repeat(side, axis=1)[..., None], 3, axis=2)


def _framed(picture: RGB) -> RGB:
    return np.pad(picture, ((_GAP, _GAP), (_GAP, _GAP), (0, 0)), constant_values=_PAPER)
