"""Many runs as trials of Ray Tune, on this machine or a cluster."""

from __future__ import annotations

import logging
import os
import shutil
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")  # a table that verbose=0 does not silence
os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")  # each run has its own logs
os.environ.setdefault("TUNE_DISABLE_SIGINT_HANDLER", "1")  # Ctrl-C ends the command, as everywhere

import ray
from ray import tune

from plasticrl.scripts.command_options import SweepOptions
from plasticrl.scripts.parallel_runs import blame_failures
from plasticrl.scripts.progress_display import Report
from plasticrl.scripts.ray_trial import FAILED, PROGRESS, train_trial, trial_config
from plasticrl.scripts.run import Run
from plasticrl.scripts.run_folder import claim, is_finished
from plasticrl.scripts.user_error import UserError

logging.getLogger("ray").setLevel(logging.ERROR)  # it warns of what is meant to be so

_SECONDS_TO_ANSWER = 10.0
_LIVES = 10  # of a run: how often its process or machine may die


def train_on_ray(runs: Sequence[Run], command: SweepOptions, report: Callable[[Report], None]) -> None:
    """Train all runs, as many at a time as there are resources for.

    Args:
        runs: what to train; their settings must have been checked.
        command: the cluster, what each run gets of it, and where to write.
        report: is told the progress of every run.

    Raises:
        UserError: there is no such cluster, or runs failed; the text says which and why.
    """
    output = command.output
    if output.overwrite:  # here, once: a run that is started again must go on with its own folder
        for run in runs:
            claim(run.folder(output.root), run, overwrite=True)
    resources = {"cpu": command.cpus_per_run, "gpu": command.gpus_per_run}
    state = output.root.absolute() / runs[0].task / ".ray"
    progress = _Progress(report)
    with _connected(command):
        tune.Tuner(
            tune.with_resources(train_trial, resources),
            param_space={"trial": tune.grid_search([trial_config(run, output) for run in runs])},
            tune_config=tune.TuneConfig(
                trial_name_creator=lambda trial: trial.trial_id,
                trial_dirname_creator=lambda trial: trial.trial_id,
            ),
            run_config=tune.RunConfig(
                storage_path=str(state),
                failure_config=tune.FailureConfig(max_failures=_LIVES),
                callbacks=[progress],
                verbose=0,
            ),
        ).fit()
    shutil.rmtree(state, ignore_errors=True)  # Ray's notes on the trials; the runs have their own
    unfinished = [run for run in runs if not is_finished(run.folder(output.root))]
    died = f"its process died {_LIVES + 1} times, or was stopped"
    blame_failures([(run, progress.failed.get(run.label) or died) for run in unfinished], runs)


class _Progress(tune.Callback):  # type: ignore[misc, unused-ignore]
    """Passes on what the trials report."""

    def __init__(self, report: Callable[[Report], None]) -> None:
        self.report = report
        self.failed: dict[str, str] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Nothing to keep: Ray writes its notes down, but a display belongs to this process."""
        return {}

    def on_trial_result(self, iteration: int, trials: Any, trial: Any, result: Any, **info: Any) -> None:
        """A trial has told something."""
        if FAILED in result:
            self.failed[result["label"]] = result[FAILED]
        else:
            self.report(Report(**result[PROGRESS]))


@contextmanager
def _connected(command: SweepOptions) -> Iterator[None]:
    """Inside, Ray is there: the cluster asked for, or one of this machine alone that ends with the block."""
    none_there = (
        f"no Ray cluster at {command.address}: start one with ray start --head, or leave --address out"
    )
    if command.address not in (None, "auto"):
        _check_reachable(str(command.address), none_there)
    try:
        ray.init(
            address=command.address or "local",
            include_dashboard=None if command.address else False,
            log_to_driver=not command.output.quiet,
            logging_level=logging.ERROR,
        )
    except (ConnectionError, ValueError) as error:
        raise UserError(none_there) from error
    try:
        _check_resources(command)
        yield
    finally:
        ray.shutdown()


def _check_reachable(address: str, complaint: str) -> None:
    """Ray itself would try for many minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_SECONDS_TO_ANSWER).close()
    except (OSError, ValueError, OverflowError) as error:
        raise UserError(complaint) from error


def _check_resources(command: SweepOptions) -> None:
    """Refuse what no machine has: Ray would wait for one that has, for ever."""
    machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call, unused-ignore]
    for name, key, asked in (
        ("cpus_per_run", "CPU", command.cpus_per_run),
        ("gpus_per_run", "GPU", command.gpus_per_run),
    ):
        most = max((machine.get(key, 0.0) for machine in machines), default=0.0)
        if asked > most:
            raise UserError(f"{name} is {asked:g}, but no machine has more than {most:g}")
