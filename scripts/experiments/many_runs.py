"""Many runs that are compared in the end: which are missing, and what all of them say."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from plasticrl.scripts.commands.options import ManyOptions
from plasticrl.scripts.errors import UserError, blame_user
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
        command: which runs, and where.
        counts: further numbers of the command that must be sensible; None is.

    Raises:
        UserError: the settings are wrong, or a folder is taken.
    """
    check_counts(command, seeds=command.seeds, **counts)
    check_claims(placed(command), overwrite=command.output.overwrite)
    check_settings(command.output, command.runs()[: len(command.cores)])


def placed(command: ManyOptions) -> list[PlacedRun]:
    """The runs of a command, all below its root."""
    return [PlacedRun(run, command.output.root, run.core) for run in command.runs()]


def check_claims(runs: Sequence[PlacedRun], *, overwrite: bool) -> None:
    """Check that each run is finished, goes on where it stopped, or may have its folder.

    Raises:
        UserError: a folder is taken.
    """
    for one in runs:
        goes_on = not overwrite and is_unfinished(one.folder, one.run)
        if not one.is_finished and not goes_on:
            check_claim(one.folder, one.run, overwrite=overwrite)


def check_counts(command: ManyOptions, **counts: int | None) -> None:
    """Check which cores, and how often.

    Raises:
        UserError: something is wrong.
    """
    if not command.cores:
        raise UserError("cores must be one or more, not none")
    check_named_once(cores=command.cores)
    check_number_of_runs(**counts)


def check_named_once(**names: Sequence[str]) -> None:
    """Refuse an option with the same name twice.

    Raises:
        UserError: there is one; the text names the option.
    """
    for option, given in names.items():
        if len(set(given)) < len(given):
            raise UserError(f"{option} must each be named once, not {' '.join(given)}")


def check_number_of_runs(**counts: int | None) -> None:
    """Refuse none, and more than anybody can mean; None is allowed.

    Raises:
        UserError: a number is out of range; the text names it.
    """
    for name, value in counts.items():
        if value is not None and not 1 <= value <= _MOST_RUNS:
            raise UserError(f"{name} must be from 1 to {_MOST_RUNS}, not {value}")


def check_settings(output: OutputSettings, runs: Sequence[Run]) -> None:
    """Make what each of these runs needs, once, and tell on stderr what to know; nothing is written.

    Raises:
        UserError: a setting is not allowed, or data are missing.
    """
    set_up_torch(output.device, output.threads)
    remarks = {check_run(run): None for run in runs}  # each once, in their order
    for remark in remarks:
        if remark is not None and not output.quiet:
            print(remark, file=sys.stderr)


def missing_runs(
    runs: Sequence[PlacedRun], output: OutputSettings, display: ProgressDisplay
) -> list[PlacedRun]:
    """Those that are still to be trained; says what becomes of the others."""
    missing = [one for one in runs if not one.is_finished]
    if len(missing) < len(runs):
        display.note(f"{len(runs) - len(missing)} of {len(runs)} runs are finished already and kept")
    for one in missing:
        if not one.folder.exists():
            continue
        goes_on = not output.overwrite and is_unfinished(one.folder, one.run)
        what = "goes on where it stopped" if goes_on else "is trained again: it was in the way"
        display.note(f"{one.label} {what}")
    return missing


def sum_up(runs: list[Run], root: Path) -> Comparison:
    """Compare finished runs; print the table, and write it with the learning curves: a picture, TensorBoard.

    Raises:
        UserError: a result cannot be read, or the folder cannot be written.
    """
    comparison = task_of(runs[0]).compare(runs, root)
    folder = root / runs[0].task
    picture = folder / "learning_curves.png"
    with blame_user(OSError, about=f"cannot write to {folder}"):
        table, data = write_comparison(comparison, folder / "comparison")
        draw_learning_curves(runs, root, comparison, picture)
    write_aggregates(runs, root, comparison.axes())
    print_comparison(comparison, runs)
    print(f"table: {table}, {data}\npicture: {picture}")
    return comparison
