"""``sweep --search``: searching for better settings of each core."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plasticrl.scripts.command_options import SweepOptions
from plasticrl.scripts.data_place import data_place
from plasticrl.scripts.many_runs import check_counts, check_settings
from plasticrl.scripts.placed_run import seeds_in
from plasticrl.scripts.progress_display import ProgressDisplay
from plasticrl.scripts.run_folder import has_file, remove_run
from plasticrl.scripts.search_results import SearchResults, print_results, write_results
from plasticrl.scripts.task_options import DataOptions
from plasticrl.scripts.user_error import UserError, blame_user

if TYPE_CHECKING:
    from plasticrl.scripts.search_study import SearchStudy

FOLDER = "search"  # below the root, so that the runs of a search stay apart from those of a comparison


def search(command: SweepOptions, on_ray: bool) -> None:
    """Try settings for each core; print and write their scores, and the command that uses the best ones.

    Args:
        command: the options; their settings are tried first.
        on_ray: True if Ray is available.

    Raises:
        UserError: the settings are wrong, a folder holds another search or is in use or not writable, or the
            cluster cannot be reached.
    """
    if not on_ray or find_spec("optuna") is None:
        raise UserError(
            "--search needs Ray and Optuna: pip install 'plasticrl[sweep]', and leave out --local"
        )
    command = _placed(command)
    check_counts(command, trials=command.trials, cpus_per_run=command.cpus_per_run)
    check_settings(command.output, [command.make_run(core, 0) for core in command.cores])
    from plasticrl.scripts.ray_cluster import connected
    from plasticrl.scripts.ray_search import try_settings
    from plasticrl.scripts.ray_trials import DIED
    from plasticrl.scripts.search_study import only_search

    folder = command.output.root / command.make_run(command.cores[0], 0).task
    failed: dict[str, str] = {}
    with (
        ProgressDisplay(command.output.quiet) as display,
        connected(command),
        blame_user(OSError, about=f"cannot write to {folder}"),
        only_search(folder),
    ):
        studies = _studies(command, folder)
        for study in studies:
            try:
                failed |= try_settings(study, command, display.show)
            finally:  # write the results so far
                results = _write(studies, command, folder)
    print_results(results, command)
    for label in (one.run.label for tried in results.tried.values() for one in tried if one.score is None):
        print(f"failed: {label}: {failed.get(label, f'in an earlier call, or {DIED}')}")


def _placed(command: SweepOptions) -> SweepOptions:
    """Return the options with absolute paths: with ray://, Optuna runs on another machine."""
    output = replace(command.output, root=(command.output.root / FOLDER).absolute())
    command = replace(command, output=output)
    if isinstance(command, DataOptions):
        place: dict[str, Any] = {"data_dir": data_place(command.data_dir)}
        command = replace(command, **place)
    return command


def _studies(command: SweepOptions, folder: Path) -> list[SearchStudy]:
    from plasticrl.scripts.search_study import SearchStudy, study_file

    for core in command.cores if command.output.overwrite else ():
        there = study_file(command.output.root, folder.name, core)
        if has_file(there):
            _remove_runs(command, core)
            there.unlink()
            there.with_name(there.name + ".lock").unlink(missing_ok=True)
    return [SearchStudy(command, core) for core in command.cores]


def _remove_runs(command: SweepOptions, core: str) -> None:
    """Remove the runs of a search, none of which may be under way; what else is there stays."""
    for seed in seeds_in(command.make_run(core, 0).folder(command.output.root).parent):
        run = command.make_run(core, seed)
        remove_run(run.folder(command.output.root), run)


def _write(studies: Sequence[SearchStudy], command: SweepOptions, folder: Path) -> SearchResults:
    results = SearchResults({study.core: study.tried() for study in studies})
    write_results(results, command, folder)
    return results
