"""Runs as trials of Ray Tune, each in a process that Ray starts on this machine or in a cluster."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from functools import partial
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from ray import tune

from plasticrl.scripts.commands.options import SweepOptions
from plasticrl.scripts.errors import raise_failures, reason_of_failure
from plasticrl.scripts.experiments.ray_cluster import connected
from plasticrl.scripts.experiments.training import train
from plasticrl.scripts.runs.folder import BusyError, claim, finished_score, is_finished, is_kept
from plasticrl.scripts.runs.run import Run, run_from_dict
from plasticrl.scripts.runs.terminal import Report
from plasticrl.scripts.settings.maze import OutputSettings
from plasticrl.scripts.settings.reading import data_place

PROGRESS = "progress"  # in a trial's results: a report; nested, for "done" means something to Ray
SCORE, DONE = "score", "steps_done"  # in all of them, for a search: more is better; of the run's length
FAILED = "failed"  # in a trial's last result: why, or an empty text
WORST = -1e30  # the score of a run that failed; a search cannot do with less than a number
_SECONDS_BETWEEN_REPORTS = 1.0
_SHARE_BETWEEN_REPORTS = 1 / 32  # of a short run
_CACHE = "PLASTICRL_CACHE"  # workers have an environment of their own
_PATIENCE = 60.0  # the process of a machine that was lost may not know yet, and still hold the folder


def trial_config(run: Run, output: OutputSettings) -> dict[str, Any]:
    """Return the arguments of :func:`train_trial` as plain values."""
    data_dir = data_place(run.data_dir) if run.reads_data else None
    cache = os.environ.get(_CACHE)
    return {
        "run": json.dumps(run.as_dict()),
        "data_dir": None if data_dir is None else str(data_dir),
        "cache": None if not cache else os.path.abspath(os.path.expanduser(cache)),
        "root": str(output.root.absolute()),
        "device": output.device,
        "threads": output.threads,
        "keep": output.keep,
    }


def train_trial(given: Mapping[str, Any]) -> None:
    """Train to the end, from the last checkpoint if there is one; reports progress to Ray.

    Whatever goes wrong within the training is reported as its result, since trying again would not help.
    """
    config = given["trial"]
    run = run_from_dict(json.loads(config["run"]))
    if config["cache"] is not None:
        os.environ[_CACHE] = config["cache"]
    if config["data_dir"] is not None:
        run = run.with_data_dir(Path(config["data_dir"]))
    output = OutputSettings(
        Path(config["root"]), False, config["device"], config["threads"], config["keep"], True
    )
    failed = reason_of_failure(partial(_train_when_free, run, output))
    score = WORST if failed else finished_score(run, output.root)
    tune.report({"label": run.label, FAILED: failed, SCORE: score, DONE: run.total})


def _train_when_free(run: Run, output: OutputSettings) -> None:
    last, done = 0.0, 0

    def report(progress: Report) -> None:
        nonlocal last, done
        is_time = time.monotonic() - last >= _SECONDS_BETWEEN_REPORTS
        is_far = progress.done - done >= _SHARE_BETWEEN_REPORTS * progress.total
        if progress.value is not None and (is_time or is_far):
            last, done = time.monotonic(), progress.done
            tune.report({PROGRESS: asdict(progress), SCORE: progress.value, DONE: min(done, progress.total)})

    deadline = time.monotonic() + _PATIENCE
    while not is_kept(run, output.root):  # a process before this one may have come to the end after all
        try:
            train(run, output, report)
            return
        except BusyError:
            if time.monotonic() > deadline:
                raise
            time.sleep(1.0)


_NOTES = ".ray"
_LIVES = 10  # number of times that a run's process or machine may die
DIED = f"its process died {_LIVES + 1} times, or was stopped"


def train_on_ray(runs: Sequence[Run], command: SweepOptions, report: Callable[[Report], None]) -> None:
    """Train all runs, as many at a time as the resources allow.

    Args:
        runs: the runs to train; their settings must have been checked.
        command: the cluster, the resources of each run, and the output.
        report: receives the progress of every run.

    Raises:
        UserError: the cluster cannot be reached, or runs failed; the message lists them with the reasons.
    """
    output = command.output
    configs = [trial_config(run, output) for run in runs]
    with connected(command):
        if output.overwrite:  # only once, here: a restarted run must resume in its folder
            for run in runs:
                claim(run.folder(output.root), run, overwrite=True)
        folder = output.root / runs[0].task
        space = {"trial": tune.grid_search(configs)}
        # Processes are reused for later runs, since importing torch takes longer than a short run.
        failed = run_trials(command, folder, report, space, reuse_actors=True)
    unfinished = [run.label for run in runs if not is_finished(run.folder(output.root))]
    raise_failures([(label, failed.get(label, DIED)) for label in unfinished], len(runs))


def run_trials(
    command: SweepOptions, folder: Path, report: Callable[[Report], None], space: dict[str, Any], **more: Any
) -> dict[str, str]:
    """Run all trials with Ray Tune; Ray must be connected.

    Args:
        command: the resources of each trial.
        folder: folder for Ray's temporary files; the runs have their own folders.
        report: receives the progress of every run, unless Ray is reached through ``ray://``.
        space: the trials.
        more: further settings of the ``TuneConfig``.

    Returns:
        The reasons why runs failed, by label.
    """
    (folder / _NOTES).mkdir(parents=True, exist_ok=True)
    notes = mkdtemp(dir=(folder / _NOTES).absolute())  # separate, since another sweep may use the same root
    try:
        results = tune.Tuner(
            tune.with_resources(train_trial, {"cpu": command.cpus_per_run, "gpu": command.gpus_per_run}),
            param_space=space,
            tune_config=tune.TuneConfig(
                trial_name_creator=lambda trial: trial.trial_id,
                trial_dirname_creator=lambda trial: trial.trial_id,
                **more,
            ),
            run_config=tune.RunConfig(
                storage_path=notes,
                failure_config=tune.FailureConfig(max_failures=_LIVES),
                callbacks=[_Progress(report)],
                verbose=0,
            ),
        ).fit()
    finally:
        shutil.rmtree(notes, ignore_errors=True)
        with suppress(OSError):  # another sweep's notes are in it
            (folder / _NOTES).rmdir()
    ended = [results[number].metrics or {} for number in range(len(results))]
    return {one["label"]: one[FAILED] for one in ended if one.get(FAILED)}


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
