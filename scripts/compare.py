"""The command ``compare``."""

import sys

from plasticrl.scripts.commands import CompareOptions, ManyOptions
from plasticrl.scripts.experiments.executors import (
    Executor,
    InProcesses,
    check_cores,
    check_counts,
    check_folders,
    check_settings,
    train_missing,
)
from plasticrl.scripts.experiments.experiment import comparison_of
from plasticrl.scripts.main import main
from plasticrl.scripts.reports.comparison import Comparison, report_comparison


def run(command: CompareOptions) -> None:
    """Train the missing runs, then print and write the comparison.

    Raises:
        UserError: the settings are wrong, a folder is taken, or a training failed.
    """
    compare(command, InProcesses(command.output, command.jobs), jobs=command.jobs)
    print(f"TensorBoard: tensorboard --logdir {command.output.root}")


def compare(command: ManyOptions, executor: Executor, **counts: int | None) -> Comparison:
    """Check all options, then train the missing runs; print, write and return the comparison.

    Args:
        command: the runs and their output.
        executor: trains the runs.
        counts: further numbers of the command to check; None is allowed.

    Raises:
        UserError: the settings are wrong, a folder is taken, or a training failed.
    """
    check_cores(command.cores)
    check_counts(seeds=command.seeds, **counts)
    experiment = comparison_of(command.runs(), command.output.root)
    trials = experiment.trials()
    check_folders(trials, overwrite=command.output.overwrite)
    check_settings([one.run for one in experiment.conditions], command.output)
    train_missing(trials, executor, command.output)
    return report_comparison(experiment)


if __name__ == "__main__":
    sys.exit(main(["compare", *sys.argv[1:]]))
