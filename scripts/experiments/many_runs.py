"""Many runs for a comparison: checks, selection of the missing ones, and the summary."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from plasticrl.scripts.commands.options import ManyOptions
from plasticrl.scripts.errors import UserError, as_user_error
from plasticrl.scripts.experiments.training import check_run
from plasticrl.scripts.reports.comparison import Comparison, print_comparison, write_comparison
from plasticrl.scripts.reports.curves import draw_learning_curves, write_aggregates
from plasticrl.scripts.runs.folder import PlacedRun, check_claim, is_unfinished
from plasticrl.scripts.runs.run import Run
from plasticrl.scripts.runs.setup import set_up_torch
from plasticrl.scripts.runs.terminal import ProgressDisplay
from plasticrl.scripts.settings.maze import OutputSettings
from plasticrl.scripts.tasks.registry import task_of

_MOST_RUNS = 10_000


def check_runs(command: ManyOptions, **counts: int | None) -> None:
    """Check everything before anything is written.

    Args:
        command: the runs and their output.
        counts: further numbers of the command to check; None is allowed.

    Raises:
        UserError: the settings are wrong, or a folder is taken.
    """
    check_counts(command, seeds=command.seeds, **counts)
    check_claims(placed(command), overwrite=command.output.overwrite)
    check_settings(command.output, command.runs()[: len(command.cores)])


def placed(command: ManyOptions) -> list[PlacedRun]:
    """Return the runs of a command, all below its root."""
    return [PlacedRun(run, command.output.root, run.core) for run in command.runs()]


def check_claims(runs: Sequence[PlacedRun], *, overwrite: bool) -> None:
    """Check that each run is finished, can be resumed, or can claim its folder.

    Raises:
        UserError: a folder is taken.
    """
    for one in runs:
        resumes = not overwrite and is_unfinished(one.folder, one.run)
        if not one.is_finished and not resumes:
            check_claim(one.folder, one.run, overwrite=overwrite)


def check_counts(command: ManyOptions, **counts: int | None) -> None:
    """Check the cores and the numbers of runs.

    Raises:
        UserError: there are no cores, a core is named twice, or a number is out of range.
    """
    if not command.cores:
        raise UserError("cores must name one or more, not none")
    check_named_once(cores=command.cores)
    check_number_of_runs(**counts)


def check_named_once(**names: Sequence[str]) -> None:
    """Check that no option contains a name twice.

    Raises:
        UserError: an option does; the message names it.
    """
    for option, given in names.items():
        if len(set(given)) < len(given):
            raise UserError(f"{option} must be named once each, not {' '.join(given)}")


def check_number_of_runs(**counts: int | None) -> None:
    """Check that each number is from 1 to a sensible maximum; None is allowed.

    Raises:
        UserError: a number is out of range; the message names it.
    """
    for name, value in counts.items():
        if value is not None and not 1 <= value <= _MOST_RUNS:
            raise UserError(f"{name} must be from 1 to {_MOST_RUNS}, not {value}")


def check_settings(output: OutputSettings, runs: Sequence[Run]) -> None:
    """Build everything that each of these runs needs, and print remarks on stderr; write no files.

    Raises:
        UserError: a setting is not allowed, or data are missing.
    """
    set_up_torch(output.device, output.threads)
    remarks = {check_run(run): None for run in runs}  # without duplicates, in order
    for remark in remarks:
        if remark is not None and not output.quiet:
            print(remark, file=sys.stderr)


def missing_runs(
    runs: Sequence[PlacedRun], output: OutputSettings, display: ProgressDisplay
) -> list[PlacedRun]:
    """Return the runs that are still to be trained; print a note on the others."""
    missing = [one for one in runs if not one.is_finished]
    if len(missing) < len(runs):
        display.note(f"{len(runs) - len(missing)} of {len(runs)} runs are finished already and kept")
    for one in missing:
        if not one.folder.exists():
            continue
        resumes = not output.overwrite and is_unfinished(one.folder, one.run)
        what = "resumes where it stopped" if resumes else "is trained again: it had other settings"
        display.note(f"{one.label} {what}")
    return missing


def sum_up(runs: list[Run], root: Path) -> Comparison:
    """Compare finished runs; print the table, and write it with the learning curves (picture, TensorBoard).

    Raises:
        UserError: a result cannot be read, or the folder cannot be written.
    """
    comparison = task_of(runs[0]).compare(runs, root)
    folder = root / runs[0].task
    picture = folder / "learning_curves.png"
    with as_user_error(OSError, about=f"cannot write to {folder}"):
        table, data = write_comparison(comparison, folder / "comparison")
        draw_learning_curves(runs, root, comparison, picture)
    write_aggregates(runs, root, comparison.axes())
    print_comparison(comparison, runs)
    print(f"table: {table}, {data}\npicture: {picture}")
    return comparison
