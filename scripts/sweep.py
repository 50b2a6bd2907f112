"""The command ``sweep``."""

import sys
from dataclasses import replace
from importlib.util import find_spec

from plasticrl.scripts.command_options import SweepOptions
from plasticrl.scripts.main import main
from plasticrl.scripts.many_runs import check_runs, missing_runs, placed, sum_up
from plasticrl.scripts.parallel_runs import train_all
from plasticrl.scripts.progress_display import ProgressDisplay
from plasticrl.scripts.search import search
from plasticrl.scripts.user_error import UserError


def run(command: SweepOptions) -> None:
    """Train what is missing, on Ray or one after another; then print and write the comparison.

    With ``search``, look for better settings instead.

    Raises:
        UserError: the settings are wrong, a folder is taken, there is no such cluster, or a training failed.
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
                display.note("no Ray here (pip install 'plasticrl[sweep]'): one run after another")
            train_all(missing, command.output, 1, display.show)
        elif missing:
            from plasticrl.scripts.ray_trials import train_on_ray

            train_on_ray([one.run for one in missing], command, display.show)
    sum_up(command.runs(), command.output.root)
    print(f"TensorBoard: tensorboard --logdir {command.output.root}")


def _with_resources(command: SweepOptions) -> SweepOptions:
    """A run's threads are its processors, with Ray and without: bits depend on their number."""
    if not 0 <= command.gpus_per_run < float("inf"):
        raise UserError(f"gpus_per_run must be finite and at least 0, not {command.gpus_per_run}")
    if command.gpus_per_run > 1 and command.gpus_per_run % 1:
        raise UserError(f"gpus_per_run must be whole where it is above 1, not {command.gpus_per_run}")
    if command.output.device == "cuda" and not command.gpus_per_run and not command.local:
        raise UserError("--device cuda needs a GPU for each run: give --gpus-per-run, such as 1 or 0.25")
    output = command.output
    if output.threads is None:
        output = replace(output, threads=max(1, command.cpus_per_run))
    if output.device == "auto" and command.gpus_per_run == 0:
        output = replace(output, device="cpu")
    return replace(command, output=output)


def _check_which(command: SweepOptions) -> None:
    """Refuse what only the other of the two has: runs to compare, or settings to try."""
    plain = SweepOptions.__dataclass_fields__
    for name, wrong in (("trials", not command.search), ("seeds", command.search)):
        if wrong and getattr(command, name) != plain[name].default:
            without = "needs --search" if name == "trials" else "is not for --search, which has --trials"
            raise UserError(f"--{name} {without}: leave it out")


def _on_ray(command: SweepOptions) -> bool:
    if command.local and command.address is not None:
        raise UserError("--local trains without a cluster: leave it out, or --address")
    if command.local:
        return False
    there = all(find_spec(name) is not None for name in ("ray", "pyarrow", "tensorboardX"))  # Tune's needs
    if command.address is not None and not there:
        raise UserError("--address needs Ray: pip install 'plasticrl[sweep]'")
    return there


if __name__ == "__main__":
    sys.exit(main(["sweep", *sys.argv[1:]]))
