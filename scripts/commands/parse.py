"""Parsing of a command line to a typed command, with errors in one line."""

import os
import re
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass, fields, make_dataclass
from difflib import get_close_matches
from functools import reduce
from io import StringIO
from operator import or_
from typing import Annotated, Any

import tyro
from tyro.conf import subcommand

from plasticrl import __version__
from plasticrl.scripts.commands.commands import (
    Command,
    CompareImages,
    CompareMaze,
    CompareOmniglot,
    ComparePatterns,
    Demo,
    Evaluate,
    Reproduce,
    Resume,
    SweepImages,
    SweepMaze,
    SweepOmniglot,
    SweepPatterns,
    TrainImages,
    TrainMaze,
    TrainOmniglot,
    TrainPatterns,
    Watch,
)
from plasticrl.scripts.commands.options import TaskOptions
from plasticrl.scripts.errors import UserError
from plasticrl.scripts.settings.cores import check_core_options
from plasticrl.scripts.settings.maze import MAZE_PRESETS
from plasticrl.scripts.settings.reading import with_home
from plasticrl.scripts.settings.supervised import IMAGES_PRESETS, OMNIGLOT_PRESETS, PATTERNS_PRESETS

_ANSI = re.compile(r"\x1b\[[0-9;]*m")
_RULE = re.compile(r"^[─-]{9,}$", flags=re.MULTILINE)
_UNKNOWN = re.compile(r"Unrecognized options: (.*)")
_WHOLE = re.compile(r"[Ee]rror parsing (\S+): .*?invalid literal for int\(\) with base 10: ('[^']*')")
_OPTION = re.compile(r"^(?=--(?!help))", flags=re.MULTILINE)  # narrow terminals wrap lines before --help
_NAMES = re.compile(r"--[\w-]+(, --[\w-]+)*")
_CHOICES = re.compile(r"Expected one of \(([^)]*)\)")


def complaint_in_one_line(boxes: str, program: str) -> str:
    """Convert tyro's error in boxes to one line: the error, similar options, and the way to the help.

    Args:
        boxes: tyro's output.
        program: the command whose words were parsed, as the user calls it.
    """
    drawn = _ANSI.sub("", boxes).splitlines()
    if len(drawn) > 1 and _RULE.fullmatch(drawn[1].strip()):  # an ASCII terminal
        drawn = drawn[2:]
    lines = [line.strip("│ ") for line in drawn if not line.startswith(("╭", "╰"))]
    first, *parts = _RULE.split("\n".join(lines))
    text = _plainer(" ".join(first.split()).rstrip("."), program.partition(" ")[2])
    for part in parts:
        section = " ".join(part.split())
        if section.startswith(("Perhaps", "Arguments similar")):
            known = [name for name in _options(part) if f"{name} " not in f"{text} "]
            text += f"; perhaps you meant {' or '.join(known)}" if known else ""
    return f"{text[0].lower()}{text[1:]} (see {program} --help)"


def no_such_name(what: str, word: str, names: Sequence[str]) -> str:
    """Return the error message for an unknown name, in one line, with a similar name if there is one.

    Args:
        what: kind of the name, such as "command".
        word: the unknown word, which may be an option.
        names: the known names.
    """
    if word == "--version":
        return "--version stands alone: plasticrl --version"
    if word.startswith("-"):
        return f"the {what} comes before {word}, as in plasticrl train maze --seed 0"
    close = get_close_matches(word, names, n=1)
    perhaps = f" perhaps you meant {close[0]};" if close else ""
    return f"there is no {what} {word};{perhaps} there are {', '.join(names)}"


def _options(part: str) -> list[str]:
    """Return the names of the options that a section of tyro's output lists."""
    found = (_NAMES.match(block) for block in _OPTION.split(part)[1:])
    return list(dict.fromkeys(name for names in found if names for name in names[0].split(", ")))


def _plainer(text: str, command: str) -> str:
    """Replace misleading messages of the parser by clearer ones."""
    if command and (unknown := _UNKNOWN.fullmatch(text)):
        return f"{command} has no {unknown[1].replace(', ', ' ')}"
    text = _WHOLE.sub(r"\1 must be a whole number, such as 1000000, not \2", text)
    return _CHOICES.sub(lambda found: f"Expected one of {', '.join(sorted(found[1].split(', ')))}", text)


_PROGRAM = "plasticrl"
_NARROWEST = 40  # columns
_ABOUT = (
    "Train networks that keep learning after training, and compare them. "
    "plasticrl --version prints the version."
)
_MARKERS = (tyro.conf.OmitArgPrefixes, tyro.conf.OmitSubcommandPrefixes)

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
_OF_TASKS: dict[str, Mapping[str, Any]] = {"train": _TRAIN, "compare": _COMPARE, "sweep": _SWEEP}
_ABOUT_TASKS = {
    "train": "Train one network on a task, or resume a training: plasticrl train --resume RUN.",
    "compare": "Train and compare several kinds of network.",
    "sweep": "Train and compare several kinds of network with many seeds, on this machine or a Ray cluster.",
}
_OTHERS = {"evaluate": Evaluate, "watch": Watch, "demo": Demo, "reproduce": Reproduce}


@dataclass(frozen=True)
class _Preset:
    preset: str = ""


def parse(words: Sequence[str]) -> Command:
    """Parse the words of a command line to a command.

    Raises:
        UserError: they are not a valid command; the message is one line.
        SystemExit: with status 0, after ``--help`` or ``--version``.
    """
    name, task = [*words, "", ""][:2]
    if name == "train" and any(word.partition("=")[0] == "--resume" for word in words):
        if task in _TRAIN:
            raise UserError(f"--resume takes task and settings from the run: leave out {task}")
        return _parsed(Resume, "train --resume RUN", words[1:])
    if task in _OF_TASKS.get(name, {}):
        return _parsed(_OF_TASKS[name][task], f"{name} {task}", words[2:], task)
    if name in _OTHERS:
        return _parsed(_OTHERS[name], name, words[1:])
    if name == "--version":
        if words[1:]:
            raise UserError(f"--version stands alone: leave out {' '.join(words[1:])}")
        print(_PROGRAM, __version__)
        sys.exit(0)
    # No command to run: print help, or report the unknown name with the known ones.
    if name in _OF_TASKS:
        what, word, names = "task", task, list(_OF_TASKS[name])
    else:
        what, word, names = "command", name, [*_OF_TASKS, *_OTHERS]
    if word and word not in ("-h", "--help") and not word.startswith("--tyro-"):
        raise UserError(no_such_name(what, word, names))
    if name in _OF_TASKS:
        return _parsed(_any_task(name), name, words[1:], about=_ABOUT_TASKS[name])
    commands = [
        *(
            Annotated[
                make_dataclass("Tasks", [("task", _any_task(name))]), subcommand(name, description=about)
            ]
            for name, about in _ABOUT_TASKS.items()
        ),
        *(Annotated[command, subcommand(name)] for name, command in _OTHERS.items()),
    ]
    return _parsed(reduce(or_, commands), "", words, about=_ABOUT)


def _any_task(name: str) -> Any:
    return reduce(or_, (Annotated[command, subcommand(task)] for task, command in _OF_TASKS[name].items()))


def _parsed(
    command: Any, named: str, words: Sequence[str], task: str | None = None, about: str | None = None
) -> Command:
    """Parse the words after a command's name.

    A preset's values are the defaults, so that ``--help`` shows them and options override them.

    Raises:
        UserError: the words are invalid, or an option is for other cores.
        SystemExit: with status 0, after ``--help``.
    """
    complaints = StringIO()
    program = f"{_PROGRAM} {named}".rstrip()
    options: dict[str, Any] = {}
    try:
        with redirect_stderr(complaints), _wide_enough():
            if task is not None:
                chosen, _ = tyro.cli(_Preset, args=words, return_unknown_args=True, add_help=False)
                options["default"] = command(**preset_options(task, chosen.preset))
            parsed: Command = with_home(
                tyro.cli(command, prog=program, description=about, args=words, config=_MARKERS, **options)
            )
    except SystemExit as stop:
        if stop.code in (None, 0):
            raise
        raise UserError(complaint_in_one_line(complaints.getvalue(), program)) from None
    if isinstance(parsed, TaskOptions):
        check_core_options(parsed.core_options(), parsed.trained_cores(), _options_in(words))
    return parsed


def _options_in(words: Sequence[str]) -> set[str]:
    """Return the names of the given settings; ``--no-bound-eta`` counts as ``bound_eta``."""
    options = (word[2:].partition("=")[0].replace("-", "_") for word in words if word.startswith("--"))
    return {option.removeprefix("no_") for option in options}


@contextmanager
def _wide_enough() -> Iterator[None]:
    """Set the width of help to the terminal's, with a minimum: tyro wraps narrower lines forever."""
    given, columns = os.environ.get("COLUMNS"), shutil.get_terminal_size().columns
    os.environ["COLUMNS"] = str(max(_NARROWEST, columns))
    try:
        yield
    finally:
        if given is None:
            del os.environ["COLUMNS"]
        else:
            os.environ["COLUMNS"] = given


def preset_options(task: str, preset: str) -> dict[str, Any]:
    """Return a preset's settings; empty for an unknown preset, which parsing then reports."""
    values = _PRESETS[task].get(preset)
    if values is None:
        return {}
    groups = {field.name: getattr(values, field.name) for field in fields(values) if field.name != "space"}
    if "task" in groups:
        groups[task] = groups.pop("task")
    return {"preset": preset, **groups}
