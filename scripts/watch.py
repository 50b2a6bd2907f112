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
from plasticrl.scripts.tasks.environments.animation import (
    RenderMode,
    captioned,
    check_mode,
    check_mp4,
    gif,
    in_step,
    mp4,
    play,
    side_by_side,
)
from plasticrl.scripts.tasks.environments.setup import find_agent, make_envs, make_learner, untrained
from plasticrl.scripts.tasks.task import check_seed, set_up_torch
from plasticrl.whole_files import write_whole

FASTEST_GIF = 50.0  # frames per second; viewers play faster ones slowly
FASTEST_MP4 = 240.0
SLOWEST = 0.01  # GIFs do not support much longer pauses
_WHOLE, _HALF = 384, 288  # side of a picture in pixels, alone and of each of two


def run(command: Watch) -> None:
    """Play one episode and show it.

    Raises:
        UserError: the checkpoint does not exist or is not of an environment that can be shown so, an option
            is out of range, or the file cannot be written.
    """
    path, fastest = _output(command)
    if not 0 < command.fps < math.inf or (path and not SLOWEST <= command.fps <= fastest):
        most = f", from {SLOWEST:g} to {fastest:g} in a file" if path else ""
        raise UserError(f"fps must be finite and above 0{most}, not {command.fps}")
    check_seed(command.seed)
    found = find_agent(command.run, command.env, command.place)
    trained = found.run
    if command.env is not None and not found.is_saved:
        raise UserError(f"{command.run} is a run, which knows its environment: leave out --env")
    if trained.entry.kind == "supervised":
        raise UserError(
            f"{command.run} is a run of {trained.task}, and only environments can be watched: see it in "
            "TensorBoard"
        )
    set_up_torch(command.device, None)
    mode: RenderMode = "rgb_array" if path else "ansi"
    check_mode(trained, mode)
    agents = {"after": found.load(trained, found.checkpoint, command.device)}
    if command.before:
        with closing(make_envs(trained, 1, 0)) as env:
            first = (
                untrained(agents["after"], env)
                if found.is_saved
                else make_learner(trained, env, command.device)
            )
        agents = {"before training": first, **agents}
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
        if path is None:
            _show(frames, command.fps)
            return
        encoded = (gif if command.gif else mp4)(list(frames), command.fps)
    with as_user_error(OSError, about=f"cannot write {path}"):
        write_whole(path, encoded)
    print(f"{'GIF' if command.gif else 'video'}: {path}")


def _output(command: Watch) -> tuple[Path | None, float]:
    """Return the file to write, None for the terminal, and the most frames per second that it may have.

    Raises:
        UserError: two files are given, it cannot be written, or a package that encodes videos is missing.
    """
    if command.gif and command.mp4:
        raise UserError("--gif and --mp4 are given: leave one out")
    path, suffix, fastest = command.gif, ".gif", FASTEST_GIF
    if command.mp4:
        path, suffix, fastest = command.mp4, ".mp4", FASTEST_MP4
        check_mp4()
    if path and path.suffix.lower() != suffix:
        raise UserError(
            f"cannot write {path}: give a name that ends in {suffix}, or --gif or --mp4 for another"
        )
    if path and (path.is_dir() or not path.absolute().parent.is_dir()):
        raise UserError(f"cannot write {path}: give a file in a folder that exists")
    return path, fastest


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
