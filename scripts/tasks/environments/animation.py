"""One episode as pictures, as text, as a GIF and as a video."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing
from importlib.util import find_spec
from io import BytesIO
from itertools import zip_longest
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, TypeAlias

import numpy as np
from PIL import Image, ImageDraw

from plasticrl.agents.recurrent.spaces import has_masks, masks_of
from plasticrl.scripts.errors import COLOR, UserError, as_user_error
from plasticrl.scripts.runs.run import Run
from plasticrl.scripts.settings.maze import MazeSettings
from plasticrl.scripts.tasks.environments.evaluation import OwnRandomNumbers
from plasticrl.scripts.tasks.environments.setup import make_one, make_test_envs, package_errors

RenderMode: TypeAlias = Literal["rgb_array", "ansi"]
_COLORS = 64
_PALETTE_FRAMES = 8
_CAPTION = 14  # height of a line of text in pixels


def check_mode(run: Run, mode: RenderMode) -> None:
    """Check that a run's environment can be shown as pictures or as text.

    Raises:
        UserError: it cannot; the message names what it can.
    """
    if isinstance(run.settings, MazeSettings):
        return
    with closing(make_one(run.task, run.env, **run.env.env_kwargs)) as env:
        modes = env.metadata.get("render_modes", ())
    if mode in modes:
        return
    if "rgb_array" in modes:
        raise UserError(f"{run.task} shows itself only as pictures: give --gif FILE, such as episode.gif")
    if "ansi" in modes:
        raise UserError(f"{run.task} shows itself only as text: leave out --gif and --mp4")
    raise UserError(
        f"{run.task} cannot be watched: an environment needs the render mode rgb_array or ansi, and it has "
        f"{', '.join(map(str, modes)) or 'none'}"
    )


def play(
    agent: Any,
    run: Run,
    *,
    mode: RenderMode,
    seed: int,
    deterministic: bool = False,
    size: int = 384,
) -> Generator[Any, None, None]:
    """Play one episode and yield a frame before every step, while it is played.

    The environment is closed with the generator.

    Args:
        agent: the agent; its training is not affected.
        run: the agent's run.
        mode: pictures ``(height, width, 3)`` uint8, or text.
        seed: seed of the environment and of the actions.
        deterministic: take the most probable action instead of drawing one.
        size: side of a picture of the maze in pixels.

    Raises:
        UserError: the environment lacks a package that draws.
    """
    os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")  # it would be part of the text shown
    numbers = OwnRandomNumbers(seed)
    shape = {"render_size": size} if isinstance(run.settings, MazeSettings) else {}
    with closing(make_test_envs(agent, run, 1, seed, render_mode=mode, **shape)) as env:
        observation, state, starts = env.reset(), None, np.ones(1, dtype=np.bool_)
        masked, over = has_masks(env), False
        while not over:
            with package_errors(run.task):
                frame = env.env_method("render")[0]
            yield frame
            masks = {"action_masks": masks_of(env)} if masked else {}
            with numbers:
                action, state = agent.predict(observation, state, starts, deterministic, **masks)
            observation, _, starts, _ = env.step(action)
            over = bool(starts[0])


def captioned(frame: Any, text: str) -> Any:
    """Return a picture or a text with a caption above it."""
    if isinstance(frame, str):
        return f"{text}\n{frame}"
    line = Image.new("RGB", (frame.shape[1], _CAPTION), "white")
    ImageDraw.Draw(line).text((4, 1), text, fill="black")
    return np.vstack([np.asarray(line), frame])


def in_step(episodes: Sequence[Iterable[Any]]) -> Iterator[tuple[Any, ...]]:
    """Yield the frames of several episodes together; the last one of a shorter episode stays."""
    shown: list[Any] = [None] * len(episodes)
    for frames in zip_longest(*episodes):
        shown = [last if frame is None else frame for frame, last in zip(frames, shown, strict=True)]
        yield tuple(shown)


def side_by_side(*frames: Any) -> Any:
    """Join pictures of the same height, or texts."""
    if not isinstance(frames[0], str):
        return np.hstack(frames)
    width = max(_width(line) for frame in frames for line in frame.splitlines()) + 3
    rows = zip_longest(*map(str.splitlines, frames), fillvalue="")
    return "\n".join("".join(line + " " * (width - _width(line)) for line in row).rstrip() for row in rows)


def _width(line: str) -> int:
    return len(COLOR.sub("", line))


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


def check_mp4() -> None:
    """Check that videos can be encoded.

    Raises:
        UserError: ffmpeg is missing.
    """
    if find_spec("imageio_ffmpeg") is None:
        raise UserError("--mp4 needs ffmpeg, which is missing: pip install 'plasticrl[render]'")


def mp4(frames: list[Any], fps: float) -> bytes:
    """Encode pictures ``(height, width, 3)`` as an MP4 video (H.264).

    A picture with an odd side, which the format lacks, is extended by its last row or column.

    Raises:
        UserError: ffmpeg fails.
    """
    import imageio_ffmpeg

    height, width, _ = frames[0].shape
    more = ((0, height % 2), (0, width % 2), (0, 0))
    with TemporaryDirectory() as folder, as_user_error(RuntimeError, OSError, about="--mp4"):
        path = Path(folder, "episode.mp4")
        size = (width + width % 2, height + height % 2)
        video = imageio_ffmpeg.write_frames(path, size, fps=fps, macro_block_size=1)
        with closing(video):
            video.send(None)  # starts it
            for frame in frames:
                video.send(np.ascontiguousarray(np.pad(frame, more, "edge")))
        return path.read_bytes()
