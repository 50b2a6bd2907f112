"""The command ``reproduce``."""

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from plasticrl.scripts.commands import Reproduce
from plasticrl.scripts.errors import UserError, as_user_error
from plasticrl.scripts.experiments.executors import (
    InProcesses,
    check_counts,
    check_folders,
    check_named_once,
    check_settings,
    train_and_report,
)
from plasticrl.scripts.experiments.experiment import Experiment, Trial
from plasticrl.scripts.experiments.paper import EXPERIMENTS
from plasticrl.scripts.main import main
from plasticrl.scripts.reports.experiment_report import draw_networks, report_experiment

REPORT = "report"


def run(command: Reproduce) -> None:
    """Train the missing runs of an experiment, then print and write the report on all of them.

    Raises:
        UserError: an option is wrong, a folder is in use, data are missing, or a training failed.
        KeyboardInterrupt: Ctrl-C was pressed; raised after the report on the finished runs.
    """
    experiment = replace(EXPERIMENTS[command.experiment, command.budget], root=command.output.root)
    folder = experiment.folder / REPORT
    requested = _requested(command, experiment)
    trials = _with_data(requested.trials(), command.data_dir)
    check_folders(trials, overwrite=command.output.overwrite)

    def report() -> None:
        report_experiment(experiment, experiment.with_started(trials), folder)

    if command.train:
        check_settings([trial.run for trial in trials if trial.run.seed == 0], command.output)
        train_and_report(trials, InProcesses(command.output, command.jobs), command.output, report)
    else:
        trials = _started(command, experiment, trials)
        report()
    started = experiment.with_started(trials)
    finished = _with_data([trial for trial in started if trial.is_finished], command.data_dir)
    with as_user_error(OSError, about=f"cannot write to {folder}"):
        draw_networks(finished, folder)


def _requested(command: Reproduce, experiment: Experiment) -> Experiment:
    """Return the experiment with the requested conditions and seeds only.

    Raises:
        UserError: an option is wrong.
    """
    check_counts(seeds=command.seeds, jobs=command.jobs)
    names = [one.name for one in experiment.conditions]
    if unknown := [name for name in command.conditions if name not in names]:
        raise UserError(f"{experiment.name} has no condition {unknown[0]}: choose from {', '.join(names)}")
    check_named_once(conditions=command.conditions)
    if command.data_dir is not None and not experiment.conditions[0].run.reads_data:
        raise UserError(f"--data-dir: {command.experiment} uses no data files, leave it out")
    conditions = [one for one in experiment.conditions if one.name in (command.conditions or names)]
    seeds = experiment.seeds if command.seeds is None else command.seeds
    return replace(experiment, conditions=tuple(conditions), seeds=seeds)


def _started(command: Reproduce, experiment: Experiment, trials: Sequence[Trial]) -> list[Trial]:
    """Return the requested trials of conditions that have been started.

    Raises:
        UserError: there are none, or none of a condition that was named.
    """
    started = {trial.condition for trial in experiment.with_started(trials) if trial.folder.exists()}
    missing = [f"condition {name}" for name in command.conditions if name not in started]
    if not missing and not started:
        missing = [experiment.name]
    if missing:
        raise UserError(
            f"{experiment.root} has no runs of {missing[0]}: leave out --no-train to train them, or give the "
            "--root where they are"
        )
    return [trial for trial in trials if trial.condition in started]


def _with_data(trials: Sequence[Trial], data_dir: Path | None) -> list[Trial]:
    """Return the trials with the data folder set in those of supervised tasks."""
    return [trial._replace(run=trial.run.with_data_dir(data_dir)) for trial in trials]


if __name__ == "__main__":
    sys.exit(main(["reproduce", *sys.argv[1:]]))
