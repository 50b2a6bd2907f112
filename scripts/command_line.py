"""From the words of a command line to a typed command, or to one line about what is wrong with them."""

from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr
from dataclasses import dataclass, fields, make_dataclass
from functools import reduce
from io import StringIO
from operator import or_
from typing import Annotated, Any

import tyro
from tyro.conf import subcommand

from plasticrl.scripts.command_complaints import complaint_in_one_line
from plasticrl.scripts.commands import (
    Command,
    CompareImages,
    CompareMaze,
    CompareOmniglot,
    ComparePatterns,
    Demo,
    Resume,
    TrainImages,
    TrainMaze,
    TrainOmniglot,
    TrainPatterns,
    Watch,
)
from plasticrl.scripts.episode_presets import IMAGES_PRESETS, OMNIGLOT_PRESETS, PATTERNS_PRESETS
from plasticrl.scripts.evaluate_command import Evaluate
from plasticrl.scripts.presets import MAZE_PRESETS
from plasticrl.scripts.reproduce_command import Reproduce
from plasticrl.scripts.sweep_commands import SweepImages, SweepMaze, SweepOmniglot, SweepPatterns
from plasticrl.scripts.user_error import UserError

_PROGRAM = "plasticrl"
_ABOUT = "Train networks that go on learning after training, and compare them."
_TRAIN_ABOUT = "Train one network on a task, or go on with a training: plasticrl train --resume RUN."
_MARKERS = (tyro.conf.OmitArgPrefixes, tyro.conf.OmitSubcommandPrefixes)
_CHOSEN = "chosen_task"


_PRESETS: dict[str, Mapping[Any, Any]] = {
    "maze": MAZE_PRESETS,
    "patterns": PATTERNS_PRESETS,
    "images": IMAGES_PRESETS,
    "omniglot": OMNIGLOT_PRESETS,
}
_TRAIN = {"maze": TrainMaze, "patterns": TrainPatterns, "images": TrainImages, "omniglot": TrainOmniglot}
_COMPARE = {
    "maze": CompareMaze,
    "patterns": ComparePatterns,
    "images": CompareImages,
    "omniglot": CompareOmniglot,
}
_SWEEP = {"maze": SweepMaze, "patterns": SweepPatterns, "images": SweepImages, "omniglot": SweepOmniglot}
_SWEEP_ABOUT = (
    "Train and compare several kinds of network with many seeds, on one machine or on a Ray cluster."
)


@dataclass(frozen=True)
class _Preset:
    preset: str = ""


def parse(words: Sequence[str]) -> Command:
    """The command that ``words`` ask for.

    Raises:
        UserError: they make no sense; the text is one line.
        SystemExit: with status 0, after ``--help``.
    """
    complaints = StringIO()
    try:
        with redirect_stderr(complaints):
            if words[:1] == ["train"] and any(word.partition("=")[0] == "--resume" for word in words):
                return tyro.cli(Resume, prog=f"{_PROGRAM} train", args=words[1:], config=_MARKERS)
            chosen, _ = tyro.cli(_Preset, args=words, return_unknown_args=True, add_help=False)
            return _unwrapped(_parse_tree(words, chosen.preset))
    except SystemExit as stop:
        if stop.code in (None, 0):
            raise
        raise UserError(complaint_in_one_line(complaints.getvalue())) from None


def _parse_tree(words: Sequence[str], preset: str) -> Any:
    """Parse with the preset's values as defaults, so that ``--help`` shows them and options override them."""
    train = _tasks(_TRAIN, preset)
    compare, sweep = _tasks(_COMPARE, preset), _tasks(_SWEEP, preset)
    commands: tuple[Any, ...] = (
        Annotated[train, subcommand("train", description=_TRAIN_ABOUT)],
        Annotated[Evaluate, subcommand("evaluate")],
        Annotated[compare, subcommand("compare", description="Train and compare several kinds of network.")],
        Annotated[sweep, subcommand("sweep", description=_SWEEP_ABOUT)],
        Annotated[Watch, subcommand("watch")],
        Annotated[Demo, subcommand("demo")],
        Annotated[Reproduce, subcommand("reproduce")],
    )
    return tyro.cli(reduce(or_, commands), prog=_PROGRAM, description=_ABOUT, args=words, config=_MARKERS)


def _tasks(commands: Mapping[str, Any], preset: str) -> Any:
    """A command that goes on with the name of a task."""
    tasks = [
        Annotated[command, subcommand(name, default=command(**preset_options(name, preset)))]
        for name, command in commands.items()
    ]
    return make_dataclass("Tasks", [(_CHOSEN, reduce(or_, tasks))])


def preset_options(task: str, preset: str) -> dict[str, Any]:
    """A preset's settings; none where the task has no such preset, which is then told when parsing."""
    values = _PRESETS[task].get(preset)
    if values is None:
        return {}
    groups = {field.name: getattr(values, field.name) for field in fields(values) if field.name != "space"}
    if "task" in groups:
        groups[task] = groups.pop("task")
    return {"preset": preset, **groups}


def _unwrapped(parsed: Any) -> Command:
    command: Command = getattr(parsed, _CHOSEN, parsed)
    return command
