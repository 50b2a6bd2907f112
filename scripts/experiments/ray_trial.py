"""One run of a sweep, in a process that Ray starts on some machine."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

from ray import tune

from plasticrl.scripts.errors import reason_of_failure
from plasticrl.scripts.experiments.training import train
from plasticrl.scripts.runs.folder import BusyError, finished_score, is_kept
from plasticrl.scripts.runs.run import Run
from plasticrl.scripts.runs.terminal import Report
from plasticrl.scripts.settings.maze import OutputSettings
from plasticrl.scripts.tasks.kinds import run_from_dict
from plasticrl.scripts.tasks.supervised.run import EpisodeRun


def data_place(given: Path | None) -> Path | None:
    """Return the given folder, or else ``$PLASTICRL_DATA``, as an absolute path; None if neither is set."""
    place = given or os.environ.get("PLASTICRL_DATA")
    return Path(os.path.expanduser(place)).absolute() if place else None


PROGRESS = "progress"  # key of a report in a trial's results; nested, since "done" has a meaning for Ray
SCORE, DONE = "score", "steps_done"  # keys in all results, for a search: score (higher is better), progress
FAILED = "failed"  # key in a trial's last result: the reason of a failure, or an empty text
WORST = -1e30  # score of a failed run; a search needs a number
_SECONDS_BETWEEN_REPORTS = 1.0
_SHARE_BETWEEN_REPORTS = 1 / 32  # of the run's length, for short runs
_CACHE = "PLASTICRL_CACHE"  # passed on explicitly, since workers have another environment
_PATIENCE = 60.0  # seconds; a process on a lost machine may still hold the folder for a while


def trial_config(run: Run, output: OutputSettings) -> dict[str, Any]:
    """Return the configuration of :func:`train_trial`, in plain values."""
    data_dir = data_place(run.data_dir) if isinstance(run, EpisodeRun) else None
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
    """Train to the end, from the last checkpoint if there is one, and report progress to Ray.

    An error in the training is reported as its result, since a restart would not help.
    """
    config = given["trial"]
    run = run_from_dict(json.loads(config["run"]))
    if config["cache"] is not None:
        os.environ[_CACHE] = config["cache"]
    if config["data_dir"] is not None:
        assert isinstance(run, EpisodeRun)
        run = replace(run, data_dir=Path(config["data_dir"]))
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
    while not is_kept(run, output.root):  # an earlier process may have finished the run after all
        try:
            train(run, output, report)
            return
        except BusyError:
            if time.monotonic() > deadline:
                raise
            time.sleep(1.0)
