"""The command ``sweep``, and ``sweep --search``."""

import sys
from dataclasses import replace
from importlib.util import find_spec

from plasticrl.scripts.commands import SweepOptions
from plasticrl.scripts.compare import compare
from plasticrl.scripts.errors import UserError, as_user_error
from plasticrl.scripts.experiments.executors import (
    Executor,
    InProcess,
    check_cores,
    check_counts,
    check_settings,
)
from plasticrl.scripts.main import main
from plasticrl.scripts.reports.search_report import print_search, write_search
from plasticrl.scripts.runs.terminal import ProgressDisplay

FOLDER = "search"  # below the root, so that the runs of a search stay apart from those of a comparison


def run(command: SweepOptions) -> None:
    """Train the missing runs, on Ray or one after another; then print and write the comparison.

    With ``search``, search for better settings instead.

    Raises:
        UserError: the settings are wrong, a folder is taken, the cluster cannot be reached, or a training
            failed.
    """
    command = _with_resources(command)
    _check_which(command)
    on_ray = _on_ray(command)
    if command.search:
        search(command, on_ray)
        return
    compare(command, _executor(command, on_ray), cpus_per_run=command.cpus_per_run)
    print(f"TensorBoard: tensorboard --logdir {command.output.root}")


def _executor(command: SweepOptions, on_ray: bool) -> Executor:
    if on_ray:
        from plasticrl.scripts.experiments.ray_executor import OnRay

        return OnRay(command)
    if not (command.local or command.output.quiet):
        text = "Ray is not installed (pip install 'plasticrl[sweep]'): one run after another"
        print(text, file=sys.stderr)
    return InProcess(command.output)


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
    check_cores(command.cores)
    check_counts(trials=command.trials, cpus_per_run=command.cpus_per_run)
    check_settings([command.make_run(core, 0) for core in command.cores], command.output)
    from plasticrl.scripts.experiments.ray_executor import DIED, OnRay
    from plasticrl.scripts.experiments.search import Study, only_search, search_options

    command = search_options(command, FOLDER)
    executor = OnRay(command)
    folder = executor.folder
    failed: dict[str, str] = {}
    with (
        ProgressDisplay(command.output.quiet) as display,
        executor.connected(),
        as_user_error(OSError, about=f"cannot write to {folder}"),
        only_search(folder),
    ):
        studies = [Study(command, core) for core in command.cores]
        for study in studies:
            try:
                failed |= study.train(executor, display.show)
            finally:  # write the results so far
                results = {one.core: one.results() for one in studies}
                write_search(results, command, folder)
    print_search(results, command)
    for trial in (one for found in results.values() for one in found if one.score is None):
        print(f"failed: {trial.run.label}: {failed.get(trial.run.label, f'in an earlier call, or {DIED}')}")


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
    """Check that --trials is only given for a search, and seeds only for a comparison."""
    defaults = SweepOptions.__dataclass_fields__
    wrong_in = (("trials", not command.search), ("seeds", command.search), ("first_seed", command.search))
    for name, wrong in wrong_in:
        if wrong and getattr(command, name) != defaults[name].default:
            reason = "needs --search" if name == "trials" else "does not apply to --search (see --trials)"
            raise UserError(f"--{name.replace('_', '-')} {reason}: leave it out")


def _on_ray(command: SweepOptions) -> bool:
    if command.local and command.address is not None:
        raise UserError("--local trains without a cluster: leave out --local or --address")
    is_installed = all(find_spec(name) is not None for name in ("ray", "pyarrow", "tensorboardX"))
    if command.address is not None and not is_installed:
        raise UserError("--address needs Ray: pip install 'plasticrl[sweep]'")
    return is_installed and not command.local


if __name__ == "__main__":
    sys.exit(main(["sweep", *sys.argv[1:]]))
