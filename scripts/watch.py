"""The command ``watch``."""

import math
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

from plasticrl.scripts.commands import Watch
from plasticrl.scripts.errors import UserError, as_user_error
from plasticrl.scripts.main import main
from plasticrl.scripts.runs.checkpoints import find_checkpoint
from plasticrl.scripts.runs.folder import read_run
from plasticrl.scripts.tasks.environments.animation import (
    RenderMode,
    captioned,
    check_mode,
    gif,
    in_step,
    play,
    side_by_side,
)
from plasticrl.scripts.tasks.environments.setup import load_to_act, make_envs, make_learner
from plasticrl.scripts.tasks.task import check_seed, set_up_torch
from plasticrl.whole_files import write_whole

FASTEST_GIF = 50.0  # frames per second; viewers play faster ones slowly
SLOWEST_GIF = 0.01  # the format does not support much longer pauses
_WHOLE, _HALF = 384, 288  # side of a picture in pixels, alone and of each of two


def run(command: Watch) -> None:
    """Play one episode and show it.

    Raises:
        UserError: the checkpoint does not exist or is not of an environment that can be shown so, an option
            is out of range, or the GIF cannot be written.
    """
    if not 0 < command.fps < math.inf or (command.gif and not SLOWEST_GIF <= command.fps <= FASTEST_GIF):
        most = f", from {SLOWEST_GIF:g} to {FASTEST_GIF:g} in a GIF" if command.gif else ""
        raise UserError(f"fps must be finite and above 0{most}, not {command.fps}")
    check_seed(command.seed)
    if command.gif and command.gif.suffix.lower() != ".gif":
        raise UserError(f"cannot write {command.gif}: only GIFs are supported, give a name that ends in .gif")
    if command.gif and (command.gif.is_dir() or not command.gif.absolute().parent.is_dir()):
        raise UserError(f"cannot write {command.gif}: give a file in a folder that exists")
    folder, checkpoint = find_checkpoint(command.run)
    trained = read_run(folder)
    if trained.entry.kind == "supervised":
        raise UserError(
            f"{folder} is a run of {trained.task}, and only environments can be watched: see it in "
            "TensorBoard"
        )
    set_up_torch(command.device, None)
    mode: RenderMode = "rgb_array" if command.gif else "ansi"
    check_mode(trained, mode)
    agents = {"after": load_to_act(trained, checkpoint, command.device)}
    if command.before:
        with closing(make_envs(trained, 1, 0)) as env:
            agents = {"before training": make_learner(trained, env, command.device), **agents}
    shown = partial(
        play,
        run=trained,
        mode=mode,
        seed=command.seed,
        deterministic=command.deterministic,
        size=_HALF if command.before else _WHOLE,
    )
    with ExitStack() as stack:
        played = [stack.enter_context(closing(shown(agent))) for agent in agents.values()]
        frames: Iterator[Any] = (
            side_by_side(*map(captioned, both, agents)) if command.before else both[0]
            for both in in_step(played)
        )
        if command.gif:
            write_gif(command.gif, gif(list(frames), command.fps))
            print(f"GIF: {command.gif}")
        else:
            _show(frames, command.fps)


def write_gif(path: Path, encoded: bytes) -> None:
    """Write a file atomically.

    Raises:
        UserError: it cannot be written.
    """
    with as_user_error(OSError, about=f"cannot write {path}"):
        write_whole(path, encoded)


def _show(frames: Iterable[str], fps: float) -> None:
    """Animate the frames in place on a terminal; elsewhere, print them one after another without waiting."""
    if not sys.stdout.isatty():
        between = ""
        for frame in frames:
            print(between + frame, flush=True)
            between = "\n"
        return
    home, clear = "\x1b[H", "\x1b[2J"
    for frame in chain([clear], frames):
        print(home + frame.replace("\n", "\x1b[K\n"), end="", flush=True)
        time.sleep(1 / fps)
    print()


if __name__ == "__main__":
    sys.exit(main(["watch", *sys.argv[1:]]))
