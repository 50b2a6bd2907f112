"""Executor on Ray: each trial is one of Ray Tune's, in a process on this machine or in a cluster.

A trial's state is its run's folder; Ray only places and restarts it.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")  # a table that verbose=0 does not silence
os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")  # each run has its own logs
os.environ.setdefault("TUNE_DISABLE_SIGINT_HANDLER", "1")  # Ctrl-C ends the command, as in all others

import ray
from ray import tune

from plasticrl.scripts.commands import SweepOptions
from plasticrl.scripts.errors import UserError, reason_of_failure
from plasticrl.scripts.experiments.experiment import Trial
from plasticrl.scripts.experiments.training import train
from plasticrl.scripts.runs.folder import BusyError, claim
from plasticrl.scripts.runs.run import run_from_dict
from plasticrl.scripts.runs.terminal import Report
from plasticrl.scripts.settings.groups import data_place
from plasticrl.scripts.settings.maze import OutputSettings
from plasticrl.scripts.tasks.task import processors
from plasticrl.signals import interrupt_once

logging.getLogger("ray").setLevel(logging.ERROR)  # hides warnings about intended settings

PROGRESS = "progress"  # in a trial's results: a report; nested, since "done" means something to Ray
SCORE, DONE = "score", "steps_done"  # in all results, for a search: higher is better; in the run's unit
FAILED = "failed"  # in a trial's last result: the reason, or an empty text
WORST = -1e30  # score of a failed trial, since a search needs a number
_SECONDS_BETWEEN_REPORTS = 1.0
_SHARE_BETWEEN_REPORTS = 1 / 32  # of a short run
_CACHE = "PLASTICRL_CACHE"  # workers have an environment of their own
_SECONDS_FOR_LOCK = 60.0  # a process on a machine that Ray has lost may hold the folder a little longer
_TEMPORARY = ".ray"
_RESTARTS = 10  # of a trial whose process or machine dies
DIED = f"its process died {_RESTARTS + 1} times, or was stopped"
_SECONDS_TO_ANSWER = 10.0
_ATTEMPTS = 4  # for ray://, the server forks a process per client, which sometimes dies


def trial_config(trial: Trial, output: OutputSettings) -> dict[str, Any]:
    """Return the arguments of :func:`train_trial` as plain values, with absolute paths."""
    run = trial.run
    data_dir = data_place(run.data_dir) if run.reads_data else None
    cache = os.environ.get(_CACHE)
    return {
        "run": json.dumps(run.as_dict()),
        "condition": trial.condition,
        "data_dir": None if data_dir is None else str(data_dir),
        "cache": None if not cache else os.path.abspath(os.path.expanduser(cache)),
        "root": str(trial.root.absolute()),
        "device": output.device,
        "threads": output.threads,
        "keep": output.keep,
        "track": output.track,
    }


def train_trial(config: Mapping[str, Any]) -> None:
    """Train to the end, from the last checkpoint if there is one, and report the progress to Ray.

    A failure of the training is reported as its result, since a restart would not help.
    """
    given = config["trial"]
    run = run_from_dict(json.loads(given["run"]))
    if given["cache"] is not None:
        os.environ[_CACHE] = given["cache"]
    if given["data_dir"] is not None:
        run = run.with_data_dir(Path(given["data_dir"]))
    trial = Trial(run, Path(given["root"]), given["condition"])
    settings = {name: given[name] for name in ("device", "threads", "keep", "track")}
    output = OutputSettings(root=trial.root, quiet=True, **settings)
    failed = reason_of_failure(partial(_train_when_free, trial, output))
    score = WORST if failed else trial.score()
    tune.report({"label": trial.label, FAILED: failed, SCORE: score, DONE: run.total})


def _train_when_free(trial: Trial, output: OutputSettings) -> None:
    last, done = 0.0, 0

    def report(progress: Report) -> None:
        nonlocal last, done
        is_time = time.monotonic() - last >= _SECONDS_BETWEEN_REPORTS
        is_far = progress.done - done >= _SHARE_BETWEEN_REPORTS * progress.total
        if progress.value is not None and (is_time or is_far):
            last, done = time.monotonic(), progress.done
            shown = asdict(replace(progress, label=trial.label))
            tune.report({PROGRESS: shown, SCORE: progress.value, DONE: min(done, progress.total)})

    deadline = time.monotonic() + _SECONDS_FOR_LOCK
    while not trial.is_finished:  # an earlier process may have finished it after all
        try:
            train(trial.run, output, report)
            return
        except BusyError:
            if time.monotonic() > deadline:
                raise
            time.sleep(1.0)


@dataclass(frozen=True)
class OnRay:
    """Executor that trains as many trials at a time as the resources of a Ray cluster allow.

    Attributes:
        command: the cluster, the resources of each trial, and the output.
    """

    command: SweepOptions

    @property
    def folder(self) -> Path:
        """Folder of the task, and of Ray's temporary files."""
        return self.command.output.root / self.command.make_run(self.command.cores[0], 0).place

    def run(self, trials: Sequence[Trial], report: Callable[[Report], None]) -> dict[str, str]:
        """Train the trials; see :class:`Executor`.

        Raises:
            UserError: the cluster cannot be reached.
        """
        space = {"trial": tune.grid_search([trial_config(trial, self.command.output) for trial in trials])}
        with self.connected():
            if self.command.output.overwrite:  # only once, here: a restarted trial must resume in its folder
                for trial in trials:
                    claim(trial.folder, trial.run, overwrite=True)
            # Processes are reused for later trials, since importing torch takes longer than a short run.
            failed = self.tune(report, space, reuse_actors=True)
        unfinished = [trial.label for trial in trials if not trial.is_finished]
        return {label: failed.get(label, DIED) for label in unfinished}

    def tune(
        self, report: Callable[[Report], None], space: dict[str, Any], **settings: Any
    ) -> dict[str, str]:
        """Run trials with Ray Tune; Ray must be connected.

        Args:
            report: receives the progress of every trial, unless Ray is reached through ``ray://``.
            space: the trials.
            settings: further settings of the ``TuneConfig``.

        Returns:
            The reasons why trials failed, by label.
        """
        shared = self.folder / _TEMPORARY
        shared.mkdir(parents=True, exist_ok=True)
        own = mkdtemp(dir=shared.absolute())  # another sweep may use the same root
        try:
            results = tune.Tuner(
                tune.with_resources(
                    train_trial, {"cpu": self.command.cpus_per_run, "gpu": self.command.gpus_per_run}
                ),
                param_space=space,
                tune_config=tune.TuneConfig(
                    trial_name_creator=lambda trial: trial.trial_id,
                    trial_dirname_creator=lambda trial: trial.trial_id,
                    **settings,
                ),
                run_config=tune.RunConfig(
                    storage_path=own,
                    failure_config=tune.FailureConfig(max_failures=_RESTARTS),
                    callbacks=[_Progress(report)],
                    verbose=0,
                ),
            ).fit()
        finally:
            shutil.rmtree(own, ignore_errors=True)
            with suppress(OSError):  # another sweep's files are in it
                shared.rmdir()
        ended = [results[number].metrics or {} for number in range(len(results))]
        return {one["label"]: one[FAILED] for one in ended if one.get(FAILED)}

    @contextmanager
    def connected(self) -> Iterator[None]:
        """Connect to the cluster in the block; one that was started for it ends with it.

        Raises:
            UserError: the cluster cannot be reached, it refuses the connection, or none of its machines has
                the resources for a trial.
        """
        self._connect()
        # Ray's own handler prints a stack trace.
        terminated = signal.signal(signal.SIGTERM, interrupt_once)
        try:
            self._check_resources()
            yield
        finally:
            signal.signal(signal.SIGTERM, terminated)
            ray.shutdown()

    def _connect(self) -> None:
        not_found = (
            f"no Ray cluster at {self.command.address}: give auto, HOST:PORT or ray://HOST:PORT of one that "
            "ray start --head has started, or leave --address out"
        )
        if self.command.address not in (None, "auto"):
            _check_reachable(str(self.command.address), not_found)
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                ray.init(
                    address=self.command.address or "local",
                    num_cpus=None if self.command.address else processors(),
                    include_dashboard=None if self.command.address else False,
                    log_to_driver=not self.command.output.quiet,
                    logging_level=logging.ERROR,
                )
                return
            except ConnectionAbortedError as error:  # only for ray://
                if attempt == _ATTEMPTS:
                    reason = str(error).strip().rpartition("\n")[2]
                    raise UserError(
                        f"the Ray cluster at {self.command.address} refuses the connection: {reason} "
                        "(GRPC_ENABLE_FORK_SUPPORT=0 before its ray start may help)"
                    ) from error
            except (ConnectionError, ValueError) as error:
                raise UserError(not_found) from error

    def _check_resources(self) -> None:
        """Check that a machine has the resources for a trial; Ray would wait for one forever."""
        machines = {
            (node["Resources"].get("CPU", 0.0), node["Resources"].get("GPU", 0.0))
            for node in ray.nodes()  # type: ignore[no-untyped-call, unused-ignore]
            if node["Alive"]
        }
        needed = self.command.cpus_per_run, self.command.gpus_per_run
        if not any(cpus >= needed[0] and gpus >= needed[1] for cpus, gpus in machines):
            found = "; ".join(f"{cpus:g} CPUs and {gpus:g} GPUs" for cpus, gpus in machines)
            raise UserError(
                f"no machine has {needed[0]} CPUs and {needed[1]:g} GPUs for a run: give a smaller "
                f"--cpus-per-run or --gpus-per-run (there: {found or 'none'})"
            )


def _check_reachable(address: str, complaint: str) -> None:
    """Check that the address accepts connections; Ray itself would retry for many minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_SECONDS_TO_ANSWER).close()
    except (OSError, ValueError, OverflowError) as error:
        raise UserError(complaint) from error


class _Progress(tune.Callback):  # type: ignore[misc, unused-ignore]
    """Callback that forwards the reports of the trials."""

    def __init__(self, report: Callable[[Report], None]) -> None:
        self.report = report

    def __getstate__(self) -> dict[str, Any]:
        """Return an empty state, since the display belongs to this process and cannot be pickled."""
        return {}

    def __setstate__(self, nothing: dict[str, Any]) -> None:
        self.report = lambda report: None

    def on_trial_result(self, iteration: int, trials: Any, trial: Any, result: Any, **info: Any) -> None:
        """Forward a trial's report."""
        if PROGRESS in result:
            self.report(Report(**result[PROGRESS]))
