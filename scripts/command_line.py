"""From the words of a command line to a typed command, or to one line about what is wrong with them."""

import re
from collections.abc import Sequence
from contextlib import redirect_stderr
from dataclasses import dataclass, make_dataclass
from functools import reduce
from io import StringIO
from operator import or_
from typing import Annotated, Any

import tyro
from tyro.conf import subcommand

from plasticrl.scripts.commands import Command, CompareMaze, Demo, Evaluate, TrainMaze, Watch
from plasticrl.scripts.presets import MAZE_PRESETS, PresetName
from plasticrl.scripts.user_error import UserError

_PROGRAM = "plasticrl"
_ABOUT = "Train networks that go on learning after training, and compare them."
_MARKERS = (tyro.conf.OmitArgPrefixes, tyro.conf.OmitSubcommandPrefixes)
_ANSI = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(frozen=True)
class _Preset:
    preset: PresetName = "tuned"


def parse(words: Sequence[str]) -> Command:
    """The command that ``words`` ask for.

    Raises:
        UserError: they make no sense; the text is one line.
        SystemExit: with status 0, after ``--help``.
    """
    complaints = StringIO()
    try:
        with redirect_stderr(complaints):
            chosen, _ = tyro.cli(_Preset, args=words, return_unknown_args=True, add_help=False)
            return _unwrapped(_parse_tree(words, chosen.preset))
    except SystemExit as stop:
        if stop.code in (None, 0):
            raise
        raise UserError(one_line(complaints.getvalue())) from None


def _parse_tree(words: Sequence[str], preset: PresetName) -> Any:
    """Parse with the preset's values as defaults, so that ``--help`` shows them and options override them."""
    values = MAZE_PRESETS[preset]
    settings: dict[str, Any] = {
        "preset": preset,
        "maze": values.maze,
        "agent": values.agent,
        "training": values.training,
    }
    train = _tasks(Annotated[TrainMaze, subcommand("maze", default=TrainMaze(**settings))])
    compare = _tasks(Annotated[CompareMaze, subcommand("maze", default=CompareMaze(**settings))])
    commands: tuple[Any, ...] = (
        Annotated[train, subcommand("train", description="Train one agent.")],
        Annotated[Evaluate, subcommand("evaluate")],
        Annotated[compare, subcommand("compare", description="Train and compare several kinds of agent.")],
        Annotated[Watch, subcommand("watch")],
        Annotated[Demo, subcommand("demo")],
    )
    return tyro.cli(reduce(or_, commands), prog=_PROGRAM, description=_ABOUT, args=words, config=_MARKERS)


def _tasks(*tasks: Any) -> Any:
    """A command that goes on with the name of a task."""
    nothing = Annotated[None, tyro.conf.Suppress]  # a choice needs two members, and one task is one
    return make_dataclass("Tasks", [("task", reduce(or_, (*tasks, nothing)))])


def _unwrapped(parsed: Any) -> Command:
    command: Command = getattr(parsed, "task", parsed)
    return command


def one_line(boxes: str) -> str:
    """What tyro says in boxes, in one line: the complaint, what was perhaps meant, where to read more."""
    lines = [
        line.strip("│ ") for line in _ANSI.sub("", boxes).splitlines() if not line.startswith(("╭", "╰"))
    ]
    sections = [" ".join(part.split()) for part in re.split(r"^─+$", "\n".join(lines), flags=re.MULTILINE)]
    text = sections[0].rstrip(".")
    for section in sections[1:]:
        if section.startswith("Perhaps"):
            options = dict.fromkeys(re.findall(r"(?<![\w-])--[a-z][a-z-]*", section))
            text += f"; perhaps you meant {' or '.join(name for name in options if name != '--help')}"
        elif section.startswith("Available"):
            text += f"; {section[0].lower()}{section[1:]}"
        elif section.startswith("For full helptext"):
            text += f" (see {section.split(' ', 4)[-1].removeprefix('run ').removeprefix('run: ')})"
    return text[0].lower() + text[1:]
