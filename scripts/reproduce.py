"""The command ``reproduce``."""

import sys
from collections.abc import Sequence
from pathlib import Path

from plasticrl.scripts.commands.options import Reproduce
from plasticrl.scripts.errors import UserError, as_user_error
from plasticrl.scripts.experiments.experiment import Experiment
from plasticrl.scripts.experiments.local import train_all
from plasticrl.scripts.experiments.many_runs import (
    check_claims,
    check_named_once,
    check_number_of_runs,
    check_settings,
    missing_runs,
)
from plasticrl.scripts.experiments.paper import EXPERIMENTS
from plasticrl.scripts.main import main
from plasticrl.scripts.reports.experiment_report import report
from plasticrl.scripts.reports.networks import draw_networks
from plasticrl.scripts.runs.folder import PlacedRun
from plasticrl.scripts.runs.setup import processors
from plasticrl.scripts.runs.terminal import ProgressDisplay

REPORT = "report"


def run(command: Reproduce) -> None:
    """Train the missing runs of an experiment, then print and write the report on all of them.

    Raises:
        UserError: an option is wrong, a folder is in use, data are missing, or a training failed.
        KeyboardInterrupt: Ctrl-C was pressed; raised after the report on the finished runs.
    """
    experiment, root = EXPERIMENTS[command.experiment, command.budget], command.output.root
    folder = root / experiment.name / REPORT
    asked = _asked(command, experiment)
    check_claims(asked, overwrite=command.output.overwrite)
    if command.train:
        check_settings(command.output, [one.run for one in asked if one.run.seed == 0])
        jobs = processors() if command.jobs is None else command.jobs
        try:
            with ProgressDisplay(command.output.quiet) as display:
                train_all(missing_runs(asked, command.output, display), command.output, jobs, display.show)
        except (KeyboardInterrupt, UserError):
            report(experiment, experiment.with_others(asked, root), folder)
            raise
    else:
        asked = _there(command, experiment, asked)
    runs = experiment.with_others(asked, root)
    report(experiment, runs, folder)
    with as_user_error(OSError, about=f"cannot write to {folder}"):
        draw_networks(_with_data([one for one in runs if one.is_finished], command.data_dir), folder)


def _asked(command: Reproduce, experiment: Experiment) -> list[PlacedRun]:
    seeds = experiment.seeds if command.seeds is None else command.seeds
    check_number_of_runs(seeds=seeds, jobs=command.jobs)
    names = [one.name for one in experiment.conditions]
    if unknown := [name for name in command.conditions if name not in names]:
        raise UserError(f"{experiment.name} has no condition {unknown[0]}: choose from {', '.join(names)}")
    check_named_once(conditions=command.conditions)
    if command.data_dir is not None and command.experiment not in ("images", "omniglot"):
        raise UserError(f"--data-dir: {command.experiment} uses no data files, leave it out")
    return _with_data(experiment.runs(command.output.root, seeds, command.conditions), command.data_dir)


def _there(command: Reproduce, experiment: Experiment, asked: Sequence[PlacedRun]) -> list[PlacedRun]:
    """Return the requested runs of conditions that have been started.

    Raises:
        UserError: there are none, or none of a condition that was named.
    """
    root = command.output.root
    begun = {one.group for one in experiment.with_others(asked, root) if one.folder.exists()}
    if missing := [name for name in command.conditions if name not in begun]:
        what = f"condition {missing[0]}"
    elif not begun:
        what = experiment.name
    else:
        return [one for one in asked if one.group in begun]
    raise UserError(
        f"{root} has no runs of {what}: leave out --no-train to train them, or give the --root where they are"
    )


def _with_data(runs: Sequence[PlacedRun], data_dir: Path | None) -> list[PlacedRun]:
    """Return the runs with the data folder set in those of supervised tasks."""
    return [one._replace(run=one.run.with_data_dir(data_dir)) for one in runs]


if __name__ == "__main__":
    sys.exit(main(["reproduce", *sys.argv[1:]]))
