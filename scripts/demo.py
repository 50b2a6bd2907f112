"""The command ``demo``."""

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import median_low

from plasticrl.scripts.commands import CompareOptions, Demo
from plasticrl.scripts.compare import compare
from plasticrl.scripts.experiments.executors import InProcesses
from plasticrl.scripts.main import main
from plasticrl.scripts.runs.checkpoints import find_checkpoint
from plasticrl.scripts.tasks.maze.animation import gif, play
from plasticrl.scripts.tasks.maze.setup import load_to_act
from plasticrl.scripts.watch import write_gif

_GIF, _FPS = "plastic.gif", 12


def run(command: Demo) -> None:
    """Make the demo's comparison and a GIF of the plastic agent, and print the way to TensorBoard.

    Raises:
        UserError: an option is out of range, or the folder cannot be written.
    """
    options = command.comparison()
    comparison = compare(options, InProcesses(options.output, options.jobs), jobs=options.jobs)
    path = command.root / _GIF
    write_gif(path, _play_typical(options, comparison.cores["plastic"]["reward"].scores))
    print(f"GIF of the plastic agent with the median score: {path}\n\nTo see how they learned:")
    print(f"  {_tensorboard()} --logdir {command.root}")
    print("and open the address that it prints in a browser.")


def _play_typical(options: CompareOptions, scores: Sequence[float]) -> bytes:
    """Return a GIF of the plastic agent with the median score."""
    typical = options.make_run("plastic", scores.index(median_low(scores)))
    _, checkpoint = find_checkpoint(typical.folder(options.output.root))
    agent = load_to_act(typical, checkpoint, "cpu")
    return gif(list(play(agent, typical.maze, mode="rgb_array", seed=0)), _FPS)


def _tensorboard() -> str:
    """Return the program's name, or its path if the shell would not find it (in a virtual environment)."""
    beside = Path(sys.executable).with_name("tensorboard")
    return str(beside) if shutil.which("tensorboard") is None and beside.exists() else "tensorboard"


if __name__ == "__main__":
    sys.exit(main(["demo", *sys.argv[1:]]))
