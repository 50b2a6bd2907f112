"""One episode as pictures, as text, and as a GIF."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing
from io import BytesIO
from typing import Any, Literal

import numpy as np
from PIL import Image, ImageDraw
from stable_baselines3.common.type_aliases import PolicyPredictor

from plasticrl.scripts.settings.maze import MazeSettings
from plasticrl.scripts.tasks.environments.evaluation import OwnRandomNumbers
from plasticrl.scripts.tasks.environments.setup import make_mazes

_COLORS = 64
_PALETTE_FRAMES = 8
_CAPTION = 14  # height of a line of text in pixels


def play(
    agent: PolicyPredictor,
    maze: MazeSettings,
    *,
    mode: Literal["rgb_array", "ansi"],
    seed: int,
    deterministic: bool = False,
    size: int = 384,
) -> Generator[Any, None, None]:
    """Play one episode and yield a frame before every step, while it is played.

    The maze is closed with the generator.

    Args:
        agent: the agent; its training is not affected.
        maze: settings of the maze.
        mode: pictures ``(size, size, 3)`` uint8, or text.
        seed: seed of the maze and of the actions.
        deterministic: take the most probable action instead of drawing one.
        size: side of a picture in pixels.
    """
    numbers = OwnRandomNumbers(seed)
    with closing(make_mazes(maze, 1, seed, render_mode=mode, render_size=size)) as env:
        observation, state, starts = env.reset(), None, np.ones(1, dtype=np.bool_)
        over = False
        while not over:
            yield env.env_method("render")[0]
            with numbers:
                action, state = agent.predict(observation, state, starts, deterministic)  # type: ignore[arg-type]
            observation, _, starts, _ = env.step(action)
            over = bool(starts[0])


def captioned(frame: Any, text: str) -> Any:
    """Return a picture or a text with a caption above it."""
    if isinstance(frame, str):
        return f"{text}\n{frame}"
    line = Image.new("RGB", (frame.shape[1], _CAPTION), "white")
    ImageDraw.Draw(line).text((4, 1), text, fill="black")
    return np.vstack([np.asarray(line), frame])


def side_by_side(*frames: Any) -> Any:
    """Join pictures, or texts with the same number of lines."""
    if not isinstance(frames[0], str):
        return np.hstack(frames)
    width = max(len(line) for frame in frames for line in frame.splitlines()) + 3
    rows = zip(*map(str.splitlines, frames), strict=True)
    return "\n".join("".join(line.ljust(width) for line in row).rstrip() for row in rows)


def gif(frames: list[Any], fps: float) -> bytes:
    """Encode pictures ``(height, width, 3)`` as an endless GIF.

    All pictures share one palette, so that unchanged parts take no space.
    """
    pictures = [Image.fromarray(frame) for frame in frames]
    spread = frames[:: max(1, len(frames) // _PALETTE_FRAMES)]
    palette = Image.fromarray(np.concatenate(spread)).quantize(_COLORS, Image.Quantize.MEDIANCUT)
    first, *rest = (picture.quantize(palette=palette, dither=Image.Dither.NONE) for picture in pictures)
    encoded = BytesIO()
    first.save(
        encoded, "GIF", save_all=True, append_images=rest, duration=round(1000 / fps), loop=0, optimize=False
    )
    return encoded.getvalue()
