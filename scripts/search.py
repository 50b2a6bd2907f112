"""``sweep --search``: better settings for each core."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec
from typing import TYPE_CHECKING

from plasticrl.scripts.command_options import SweepOptions
from plasticrl.scripts.many_runs import check_counts, check_settings
from plasticrl.scripts.progress_display import ProgressDisplay
from plasticrl.scripts.search_results import SearchResults, print_results, write_results
from plasticrl.scripts.user_error import UserError, blame_user

if TYPE_CHECKING:
    from plasticrl.scripts.search_study import SearchStudy

FOLDER = "search"  # below the root: the runs of a search are not those of a comparison


def search(command: SweepOptions, on_ray: bool) -> None:
    """Try settings for each core; print and write how good they are, and the command that uses the best.

    Args:
        command: whose settings are tried first.
        on_ray: whether Ray is there.

    Raises:
        UserError: the settings are wrong, a folder holds another search, or there is no such cluster.
    """
    if not on_ray or find_spec("optuna") is None:
        raise UserError(
            "--search needs Ray and Optuna: pip install 'plasticrl[sweep]', and leave out --local"
        )
    command = replace(command, output=replace(command.output, root=command.output.root / FOLDER))
    check_counts(command, trials=command.trials, cpus_per_run=command.cpus_per_run)
    check_settings(command.output, [command.make_run(core, 0) for core in command.cores])
    from plasticrl.scripts.ray_cluster import connected
    from plasticrl.scripts.ray_search import try_settings

    with ProgressDisplay(command.output.quiet) as display, connected(command):
        studies = _studies(command)
        failed: dict[str, str] = {}
        for study in studies:
            failed |= try_settings(study, command, display.show)
            _write(studies, command)  # what is known so far
    print_results(_write(studies, command), command)
    for label, reason in failed.items():
        print(f"failed: {label}: {reason}")


def _studies(command: SweepOptions) -> list[SearchStudy]:
    from plasticrl.scripts.search_study import SearchStudy, study_file

    root = command.output.root
    with blame_user(OSError, about=f"cannot write to {root}"):
        for core in command.cores if command.output.overwrite else ():
            task = command.make_run(core, 0).task
            if (there := study_file(root, task, core)).is_file():
                shutil.rmtree(root / task / core, ignore_errors=True)
                there.unlink()
        return [SearchStudy(command, core) for core in command.cores]


def _write(studies: Sequence[SearchStudy], command: SweepOptions) -> SearchResults:
    results = SearchResults({study.core: study.tried() for study in studies})
    folder = command.output.root / command.make_run(command.cores[0], 0).task
    with blame_user(OSError, about=f"cannot write to {folder}"):
        write_results(results, command, folder)
    return results
