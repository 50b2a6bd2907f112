"""The way from the command line to the first environment step leads through few files."""

import sys
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from plasticrl.scripts.main import main

ROOT = Path(__file__).parents[2]
FOLDERS = {"plasticrl", "envs", "agents", "scripts"}
FUNCTION = 0x2  # the code flag CO_NEWLOCALS, which the bodies of modules and classes lack
MOST_FILES = 42


class FirstStep(BaseException):
    """The first step is about to be taken."""


def train(size: int, root: Path) -> int:
    options = ["--episode-length", "20", "--hidden-size", "8", "--n-envs", "4", "--total-timesteps", "80"]
    words = ["--size", str(size), "--eval-episodes", "2", "--threads", "1", "--quiet", "--root", str(root)]
    return main(["train", "maze", *options, *words])


def test_way_to_the_first_step(tmp_path: Path) -> None:
    assert train(5, tmp_path / "before") == 0  # everything is imported and compiled then
    called: dict[str, dict[str, None]] = {}

    def watch(frame: FrameType, event: str, _: Any) -> None:
        code = frame.f_code
        path = Path(code.co_filename)
        if event != "call" or not code.co_flags & FUNCTION or not path.is_relative_to(ROOT):
            return
        name = path.relative_to(ROOT)
        if name.parts[0] not in FOLDERS:
            return
        called.setdefault(str(name), {})[code.co_qualname] = None
        if name.parts[0] == "envs" and code.co_name in ("step", "step_async"):
            raise FirstStep

    before = sys.getprofile()
    sys.setprofile(watch)
    try:
        with pytest.raises(FirstStep):
            train(7, tmp_path / "watched")
    finally:
        sys.setprofile(before)
    for name, functions in called.items():
        print(f"{name}: {', '.join(functions)}")
    assert len(called) <= MOST_FILES, f"{len(called)} files:\n" + "\n".join(called)
