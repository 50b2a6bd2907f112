"""Parsing of a command line to a typed command, with errors in one line."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import redirect_stderr
from dataclasses import dataclass, fields, is_dataclass, make_dataclass
from difflib import get_close_matches
from functools import reduce
from io import StringIO
from itertools import takewhile
from operator import or_
from typing import Annotated, Any, get_type_hints

import tyro
from tyro.conf import subcommand

from plasticrl import __version__
from plasticrl.scripts.commands.options import COMMANDS, Resume, TaskOptions, options_of
from plasticrl.scripts.errors import UserError
from plasticrl.scripts.settings.reading import with_home
from plasticrl.scripts.settings.tasks import TASKS, check_core_options

_PROGRAM = "plasticrl"
_ABOUT = (
    "Train networks that keep learning after training, and compare them. "
    "plasticrl --version prints the version."
)
_MARKERS = (tyro.conf.OmitArgPrefixes, tyro.conf.OmitSubcommandPrefixes)
_COLOR = re.compile(r"\x1b\[[0-9;]*m")
_RULER = re.compile(r"[─╰-]{9,}")
_NOT_WHOLE = re.compile(r"error parsing (\S+): .*invalid literal for int\(\) with base 10: ('[^']*')")
_CHOICES = re.compile(r"(?<=one of )\(([^)]*)\)")


@dataclass(frozen=True)
class _Preset:
    preset: str = ""


def parse(words: Sequence[str]) -> Any:
    """Parse the words of a command line to the options of a command.

    Raises:
        UserError: they are not a valid command; the message is one line.
        SystemExit: with status 0, after ``--help`` or ``--version``.
    """
    name, second = [*words, "", ""][:2]
    options: Any = COMMANDS.get(name)
    if name == "train" and any(word.partition("=")[0] == "--resume" for word in words):
        if second in TASKS:
            raise UserError(f"--resume takes task and settings from the run: leave out {second}")
        return _parsed(Resume, "train --resume RUN", words[1:])
    if options is not None and not issubclass(options, TaskOptions):
        return _parsed(options, name, words[1:])
    if options is not None and second in TASKS:
        return _parsed(options_of(options, TASKS[second]), f"{name} {second}", words[2:])
    if name == "--version":
        if words[1:]:
            raise UserError(f"--version stands alone: leave out {' '.join(words[1:])}")
        print(_PROGRAM, __version__)
        sys.exit(0)
    # No command to run: print help, or report the unknown name with the known ones.
    what, word, names = ("command", name, COMMANDS) if options is None else ("task", second, TASKS)
    if word and word not in ("-h", "--help") and not word.startswith("--tyro-"):
        raise UserError(_no_such_name(what, word, list(names)))
    if options is not None:
        return _parsed(_any_task(options), name, words[1:], about=options.__doc__)
    return _parsed(reduce(or_, (_any(*item) for item in COMMANDS.items())), "", words, about=_ABOUT)


def _any(name: str, options: type[Any]) -> Any:
    """Return the type of any command of a name, for the help on all of them."""
    if not issubclass(options, TaskOptions):
        return Annotated[options, subcommand(name)]
    group = make_dataclass("Tasks", [("task", _any_task(options))])
    return Annotated[group, subcommand(name, description=options.__doc__)]


def _any_task(options: Any) -> Any:
    return reduce(
        or_, (Annotated[options_of(options, task), subcommand(name)] for name, task in TASKS.items())
    )


def _parsed(command: Any, named: str, words: Sequence[str], about: str | None = None) -> Any:
    """Parse the words after a command's name.

    A preset's values are the defaults, so that ``--help`` shows them and options override them.

    Raises:
        UserError: the words are invalid, or an option is for other cores.
        SystemExit: with status 0, after ``--help``.
    """
    program, drawn, default = f"{_PROGRAM} {named}".rstrip(), StringIO(), {}
    of_task = isinstance(command, type) and issubclass(command, TaskOptions)
    try:
        with redirect_stderr(drawn):
            if of_task:
                chosen, _ = tyro.cli(_Preset, args=words, return_unknown_args=True, add_help=False)
                if chosen.preset in command.entry.presets:
                    default = {"default": command.with_preset(chosen.preset)}
            parsed, unknown = tyro.cli(
                command,
                prog=program,
                description=about,
                args=words,
                config=_MARKERS,
                return_unknown_args=True,
                **default,
            )
    except SystemExit as stop:
        if stop.code in (None, 0):
            raise
        raise UserError(f"{_message(drawn.getvalue())} (see {program} --help)") from None
    if unknown:
        text = f"{named} has no {' '.join(unknown)}{_similar(unknown[0], command)}"
        raise UserError(f"{text} (see {program} --help)")
    if of_task:
        cores = [parsed.core] if hasattr(parsed, "core") else parsed.cores
        check_core_options(command.entry.cores, cores, _settings_in(words))
    return with_home(parsed)


def _message(drawn: str) -> str:
    """Return the message of an error that tyro has drawn: the first paragraph of the box, in one line."""
    lines = [line.strip("│ ") for line in _COLOR.sub("", drawn).splitlines()]
    start = 1 if lines[0].startswith("╭") else 2  # an ASCII terminal has a ruler below the title, no frame
    first = takewhile(lambda line: not _RULER.match(line), lines[start:])
    text = " ".join(" ".join(first).split()).rstrip(". ")
    text = _NOT_WHOLE.sub(r"\1 must be a whole number, such as 1000000, not \2", text[0].lower() + text[1:])
    return _CHOICES.sub(lambda found: ", ".join(sorted(found[1].split(", "))), text)


def _similar(word: str, command: type[Any]) -> str:
    """Return the options that an unknown word may stand for, as the end of a message; empty for none."""
    names = sorted(_option_names(command)) if isinstance(command, type) else []
    bare = word.lstrip("-")
    found = [name for name in names if len(bare) > 2 and bare in name]
    found = found or get_close_matches(word, names, n=2, cutoff=0.75)
    return f"; perhaps you meant {' or '.join(found)}" if found else ""


def _option_names(options: Any) -> Iterator[str]:
    """Yield the options of a command, ``--no-NAME`` included."""
    kinds = get_type_hints(options)
    for name in (field.name for field in fields(options)):
        if is_dataclass(kinds[name]):
            yield from _option_names(kinds[name])
        else:
            yield "--" + name.replace("_", "-")
            if kinds[name] is bool:
                yield "--no-" + name.replace("_", "-")


def _settings_in(words: Sequence[str]) -> set[str]:
    """Return the names of the given settings; ``--no-bound-eta`` counts as ``bound_eta``."""
    options = (word[2:].partition("=")[0].replace("-", "_") for word in words if word.startswith("--"))
    return {option.removeprefix("no_") for option in options}


def _no_such_name(what: str, word: str, names: Sequence[str]) -> str:
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
