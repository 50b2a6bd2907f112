"""One run of a sweep, in a process that Ray starts on some machine."""

from __future__ import annotations

import json
import sys
import time
import traceback
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from ray import tune

from plasticrl.scripts.episode_run import EpisodeRun
from plasticrl.scripts.progress_display import Report
from plasticrl.scripts.resuming import BusyError
from plasticrl.scripts.run import Run
from plasticrl.scripts.run_kinds import run_from_dict
from plasticrl.scripts.settings import OutputSettings
from plasticrl.scripts.training import train
from plasticrl.scripts.user_error import UserError

PROGRESS = "progress"  # in a trial's results: a report; nested, for "done" means something to Ray
FAILED = "failed"  # in a trial's last result: why, or an empty text
_SECONDS_BETWEEN_REPORTS = 1.0
_PATIENCE = 60.0  # the process of a machine that was lost may not know yet, and still hold the folder


def trial_config(run: Run, output: OutputSettings) -> dict[str, Any]:
    """What :func:`train_trial` needs, in plain values."""
    data_dir = run.data_dir if isinstance(run, EpisodeRun) else None
    return {
        "run": json.dumps(run.as_dict()),
        "data_dir": None if data_dir is None else str(data_dir.absolute()),
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
    if config["data_dir"] is not None:
        assert isinstance(run, EpisodeRun)
        run = replace(run, data_dir=Path(config["data_dir"]))
    output = OutputSettings(
        Path(config["root"]), False, config["device"], config["threads"], config["keep"], True
    )
    failed = ""
    try:
        _train_when_free(run, output)
    except UserError as error:
        failed = str(error)
    except Exception as error:
        traceback.print_exc(file=sys.stderr)
        failed = f"{type(error).__name__}: {error}"
    tune.report({"label": run.label, FAILED: failed})


def _train_when_free(run: Run, output: OutputSettings) -> None:
    last = 0.0

    def report(progress: Report) -> None:
        nonlocal last
        if time.monotonic() - last >= _SECONDS_BETWEEN_REPORTS:
            last = time.monotonic()
            tune.report({PROGRESS: asdict(progress)})

    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            train(run, output, report)
            return
        except BusyError:
            if time.monotonic() > deadline:
                raise
            time.sleep(1.0)
