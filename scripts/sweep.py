"""The command ``sweep``, and ``sweep --search``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plasticrl.scripts.commands.options import SweepOptions
from plasticrl.scripts.errors import UserError, as_user_error
from plasticrl.scripts.experiments.local import train_all
from plasticrl.scripts.experiments.many_runs import (
    check_counts,
    check_runs,
    check_settings,
    missing_runs,
    placed,
    sum_up,
)
from plasticrl.scripts.main import main
from plasticrl.scripts.reports.search_report import SearchResults, print_results, write_results
from plasticrl.scripts.runs.folder import has_file, remove_run, seeds_in
from plasticrl.scripts.runs.terminal import ProgressDisplay
from plasticrl.scripts.settings.reading import data_place

if TYPE_CHECKING:
    from plasticrl.scripts.experiments.search import SearchStudy


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
    from plasticrl.scripts.experiments.ray_cluster import connected
    from plasticrl.scripts.experiments.ray_trials import DIED
    from plasticrl.scripts.experiments.search import only_search, try_settings

    folder = command.output.root / command.make_run(command.cores[0], 0).task
    failed: dict[str, str] = {}
    with (
        ProgressDisplay(command.output.quiet) as display,
        connected(command),
        as_user_error(OSError, about=f"cannot write to {folder}"),
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
    if command.entry.reads_data:
        place: dict[str, Any] = {"data_dir": data_place(command.data_dir)}
        command = replace(command, **place)
    return command


def _studies(command: SweepOptions, folder: Path) -> list[SearchStudy]:
    from plasticrl.scripts.experiments.search import SearchStudy, study_file

    for core in command.cores if command.output.overwrite else ():
        there = study_file(command.output.root, folder.name, core)
        if has_file(there):
            _remove_runs(command, core)
            there.unlink()
            there.with_name(there.name + ".lock").unlink(missing_ok=True)
    return [SearchStudy(command, core) for core in command.cores]


def _remove_runs(command: SweepOptions, core: str) -> None:
    """Remove the runs of a search and keep all other files; none of the runs may be in use."""
    for seed in seeds_in(command.make_run(core, 0).folder(command.output.root).parent):
        run = command.make_run(core, seed)
        remove_run(run.folder(command.output.root), run)


def _write(studies: Sequence[SearchStudy], command: SweepOptions, folder: Path) -> SearchResults:
    results = SearchResults({study.core: study.tried() for study in studies})
    write_results(results, command, folder)
    return results


def run(command: SweepOptions) -> None:
    """Train the missing runs, on Ray or one after another; then print and write the comparison.

    With ``search``, search for better settings instead.

    Raises:
        UserError: the settings are wrong, a folder is taken, the cluster cannot be reached, or a training
            failed.
    """
    command = _with_resources(command)
    _check_which(command)
    if command.search:
        search(command, _on_ray(command))
        return
    check_runs(command, cpus_per_run=command.cpus_per_run)
    on_ray = _on_ray(command)
    with ProgressDisplay(command.output.quiet) as display:
        missing = missing_runs(placed(command), command.output, display)
        if not on_ray:
            if not command.local:
                display.note("Ray is not installed (pip install 'plasticrl[sweep]'): one run after another")
            train_all(missing, command.output, 1, display.show)
        elif missing:
            from plasticrl.scripts.experiments.ray_trials import train_on_ray

            train_on_ray([one.run for one in missing], command, display.show)
    sum_up(command.runs(), command.output.root)
    print(f"TensorBoard: tensorboard --logdir {command.output.root}")


def _with_resources(command: SweepOptions) -> SweepOptions:
    """Set each run's threads to its processors, with and without Ray, since results depend on the number."""
    if not 0 <= command.gpus_per_run < float("inf"):
        raise UserError(f"gpus_per_run must be finite and at least 0, not {command.gpus_per_run}")
    if command.gpus_per_run > 1 and command.gpus_per_run % 1:
        raise UserError(f"gpus_per_run must be a whole number if above 1, not {command.gpus_per_run}")
    if command.output.device == "cuda" and not command.gpus_per_run and not command.local:
        raise UserError("--device cuda needs a GPU for each run: give --gpus-per-run, such as 1 or 0.25")
    output = command.output
    if output.threads is None:
        output = replace(output, threads=max(1, command.cpus_per_run))
    if output.device == "auto" and command.gpus_per_run == 0:
        output = replace(output, device="cpu")
    return replace(command, output=output)


def _check_which(command: SweepOptions) -> None:
    """Check that --trials is only given for a search, and --seeds only for a comparison."""
    plain = SweepOptions.__dataclass_fields__
    for name, wrong in (("trials", not command.search), ("seeds", command.search)):
        if wrong and getattr(command, name) != plain[name].default:
            without = "needs --search" if name == "trials" else "does not apply to --search (see --trials)"
            raise UserError(f"--{name} {without}: leave it out")


def _on_ray(command: SweepOptions) -> bool:
    if command.local and command.address is not None:
        raise UserError("--local trains without a cluster: leave out --local or --address")
    if command.local:
        return False
    there = all(find_spec(name) is not None for name in ("ray", "pyarrow", "tensorboardX"))  # Tune's needs
    if command.address is not None and not there:
        raise UserError("--address needs Ray: pip install 'plasticrl[sweep]'")
    return there


if __name__ == "__main__":
    sys.exit(main(["sweep", *sys.argv[1:]]))
