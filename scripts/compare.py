"""The command ``compare``."""

import sys

from plasticrl.scripts.commands.options import CompareOptions
from plasticrl.scripts.experiments.local import train_all
from plasticrl.scripts.experiments.many_runs import check_runs, missing_runs, placed, sum_up
from plasticrl.scripts.main import main
from plasticrl.scripts.reports.comparison import Comparison
from plasticrl.scripts.runs.setup import processors
from plasticrl.scripts.runs.terminal import ProgressDisplay


def run(command: CompareOptions) -> None:
    """Train the missing runs, then print and write the comparison.

    Raises:
        UserError: the settings are wrong, a folder is taken, or a training failed.
    """
    make_comparison(command)
    print(f"TensorBoard: tensorboard --logdir {command.output.root}")


def make_comparison(command: CompareOptions) -> Comparison:
    """Do the same as :func:`run` except its last line; return the comparison."""
    check_runs(command, jobs=command.jobs)
    jobs = processors() if command.jobs is None else command.jobs
    with ProgressDisplay(command.output.quiet) as display:
        missing = missing_runs(placed(command), command.output, display)
        train_all(missing, command.output, jobs, display.show)
    return sum_up(command.runs(), command.output.root)


if __name__ == "__main__":
    sys.exit(main(["compare", *sys.argv[1:]]))
