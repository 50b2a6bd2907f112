"""Runs as trials of Ray Tune, on this machine or a cluster."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from ray import tune

from plasticrl.scripts.commands.options import SweepOptions
from plasticrl.scripts.errors import blame_failures
from plasticrl.scripts.experiments.ray_cluster import connected
from plasticrl.scripts.experiments.ray_trial import FAILED, PROGRESS, train_trial, trial_config
from plasticrl.scripts.runs.folder import claim, is_finished
from plasticrl.scripts.runs.run import Run
from plasticrl.scripts.runs.terminal import Report

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
    blame_failures([(label, failed.get(label, DIED)) for label in unfinished], len(runs))


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
