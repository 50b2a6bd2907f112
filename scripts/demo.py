"""The command ``demo``."""

import shutil
import sys
from pathlib import Path
from statistics import median_low

from plasticrl.scripts import watch
from plasticrl.scripts.commands import Demo, Watch
from plasticrl.scripts.compare import compare
from plasticrl.scripts.experiments.executors import InProcesses
from plasticrl.scripts.main import main

_GIF = "plastic.gif"


def run(command: Demo) -> None:
    """Make the demo's comparison and a GIF of the plastic LSTM, and print the way to TensorBoard.

    Raises:
        UserError: an option is out of range, or the folder cannot be written.
    """
    options = command.comparison()
    comparison = compare(options, InProcesses(options.output, options.jobs), jobs=options.jobs)
    core = options.cores[0]
    scores = comparison.cores[core]["reward"].scores
    typical = options.make_run(core, scores.index(median_low(scores))).folder(options.output.root)
    watch.run(Watch(typical, gif=command.root / _GIF, before=True, device="cpu"))
    print(f"(the {core} of the median score, beside an untrained one)\n\nTo see how they learned:")
    print(f"  {_tensorboard()} --logdir {command.root}")
    print("and open the address that it prints in a browser.")


def _tensorboard() -> str:
    """Return the program's name, or its path if the shell would not find it (in a virtual environment)."""
    beside = Path(sys.executable).with_name("tensorboard")
    return str(beside) if shutil.which("tensorboard") is None and beside.exists() else "tensorboard"


if __name__ == "__main__":
    sys.exit(main(["demo", *sys.argv[1:]]))
