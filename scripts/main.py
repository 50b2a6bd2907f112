"""The command ``plasticrl``: dispatch of the command line, and conversion of errors to exit codes."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import fields, is_dataclass
from importlib import import_module
from pathlib import Path

from plasticrl.scripts.commands import COMMANDS, Resume, parse
from plasticrl.scripts.errors import UserError, in_one_line, os_error_in_one_line
from plasticrl.scripts.runs.terminal import lasting_streams, one_line_warnings
from plasticrl.signals import INTERRUPTED, sigterm_interrupts


def main(words: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        words: the command line without the program's name. Default: that of the process.

    Returns:
        Exit status: 0; 2 for wrong input or an error of the system, reported in one line on stderr; 130 after
        Ctrl-C, SIGTERM or SIGHUP. A closed standard output, or a broken pipe, is not an error.
    """
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # hides its warning about its cache folder
    with lasting_streams() as output, one_line_warnings(), sigterm_interrupts():
        status = _status(sys.argv[1:] if words is None else words)
        sys.stdout.flush()
        if output is None or output.error is None or isinstance(output.error, BrokenPipeError):
            return status  # a reader such as head may close the pipe early
        _say(os_error_in_one_line(output.error, "cannot write to standard output"))
        return status or 2


def _status(words: Sequence[str]) -> int:
    command = None
    try:
        command = parse(words)
        _leave_removed_folder(command)
        name = next((name for name, kind in COMMANDS.items() if isinstance(command, kind)), "train")
        import_module(f"plasticrl.scripts.{name}").run(command)
    except UserError as error:
        _say(str(error))
        return 2
    except KeyboardInterrupt:
        print(f"\nplasticrl: stopped; everything written so far is kept{_resuming(command)}", file=sys.stderr)
        return INTERRUPTED
    except SystemExit as stop:  # after --help
        return int(stop.code or 0)
    except Exception as error:
        text = in_one_line(error)
        if text is None:
            raise
        _say(text)
        return 2
    return 0


def _resuming(command: object) -> str:
    """Return what resumes a stopped command, as the end of a message; empty if nothing does."""
    output = getattr(command, "output", None)  # of the commands that write runs
    if output is None and not isinstance(command, Resume):
        return ""
    return f"; the same command{' without --overwrite' if output and output.overwrite else ''} resumes"


def _leave_removed_folder(command: object) -> None:
    """Change to the root folder if the current one was removed: torch and new processes would fail there.

    Raises:
        UserError: it was removed, and a path of the command is relative to it.
    """
    try:
        os.getcwd()
    except FileNotFoundError:
        if not all(path.is_absolute() for path in _paths(command)):
            raise UserError(
                "the current folder was removed: change to another one (cd), or give absolute paths, also "
                "for --root"
            ) from None
        os.chdir(os.sep)


def _paths(settings: object) -> Iterator[Path]:
    """Yield the paths among the values of a dataclass and of nested dataclasses."""
    if isinstance(settings, Path):
        yield settings
    elif is_dataclass(settings):
        for field in fields(settings):
            yield from _paths(getattr(settings, field.name))


def _say(text: str) -> None:
    print(f"plasticrl: error: {text}", file=sys.stderr)
