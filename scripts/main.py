"""The command ``plasticrl``: from the command line to the command, and from errors to exit codes."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from importlib import import_module

from plasticrl.scripts.command_line import parse
from plasticrl.scripts.command_options import CompareOptions, SweepOptions, TrainOptions
from plasticrl.scripts.commands import Demo, Resume, Watch
from plasticrl.scripts.evaluate_command import Evaluate
from plasticrl.scripts.reproduce_command import Reproduce
from plasticrl.scripts.user_error import UserError
from plasticrl.sigterm import INTERRUPTED, sigterm_interrupts

_MODULES = {
    TrainOptions: "plasticrl.scripts.train",
    Resume: "plasticrl.scripts.resume",
    CompareOptions: "plasticrl.scripts.compare",
    SweepOptions: "plasticrl.scripts.sweep",
    Evaluate: "plasticrl.scripts.evaluate",
    Watch: "plasticrl.scripts.watch",
    Demo: "plasticrl.scripts.demo",
    Reproduce: "plasticrl.scripts.reproduce",
}

# torch raises a RuntimeError, numpy a ValueError where not even the size of an array can be told.
_OUT_OF_MEMORY = re.compile(
    "can't allocate memory|out of memory|array is too big|Maximum allowed dimension"
    "|Storage size calculation overflowed"
)


def main(words: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        words: the command line without the program's name; default: the process's own.

    Returns:
        Exit status: 0; 2 for wrong input, told in one line on stderr; 130 after Ctrl-C or SIGTERM.
    """
    with sigterm_interrupts():
        return _status(sys.argv[1:] if words is None else words)


def _status(words: Sequence[str]) -> int:
    try:
        command = parse(words)
        module = next(name for kind, name in _MODULES.items() if isinstance(command, kind))
        import_module(module).run(command)
        sys.stdout.flush()
    except UserError as error:
        print(f"plasticrl: error: {error}", file=sys.stderr)
        return 2
    except (MemoryError, RuntimeError, ValueError) as error:
        if not isinstance(error, MemoryError) and not _OUT_OF_MEMORY.search(str(error)):
            raise
        print(
            "plasticrl: error: out of memory: use a smaller network, task or batch, such as by "
            "--hidden-size, --n-envs or --size on the maze, --n-bits or --batch-size elsewhere",
            file=sys.stderr,
        )
        return 2
    except OverflowError as error:
        print(f"plasticrl: error: a number is too large ({error}): give a smaller one", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nplasticrl: stopped; what was written so far is kept", file=sys.stderr)
        return INTERRUPTED
    except SystemExit as stop:  # after --help
        return int(stop.code or 0)
    except BrokenPipeError:  # the reader of our output, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0
