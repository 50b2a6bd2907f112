"""What happens while any run trains: progress, checkpoints, and the settings in TensorBoard."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import HParam

from plasticrl.scripts.runs.checkpoints import CheckpointFolder
from plasticrl.scripts.runs.logs import flush
from plasticrl.scripts.runs.run import Run
from plasticrl.scripts.runs.terminal import Report

_SECONDS_BETWEEN_REPORTS = 0.2  # a task may make thousands of updates in a second
SECONDS_BETWEEN_SAVES = 60.0


class ReportProgress(BaseCallback):
    """Reports how far the training is; a subclass says when, and how good it is.

    Args:
        label: which run.
        total: length of the training.
        unit: what ``total`` counts.
        report: takes the reports.
    """

    def __init__(self, label: str, total: int, unit: str, report: Callable[[Report], None]) -> None:
        super().__init__()
        self.label, self.total, self.unit, self.report = label, total, unit, report
        self._began = self._told = 0.0
        self._done_before = 0

    @abstractmethod
    def score(self) -> str:
        """How good it is now, in a few words; empty before anything is known."""

    @abstractmethod
    def value(self) -> float | None:
        """The same as a number, more is better; None before anything is known."""

    def is_time(self) -> bool:
        """Whether the last report is a while ago, or this is the end of the training."""
        now = time.monotonic()
        return now - self._told >= _SECONDS_BETWEEN_REPORTS or self.num_timesteps >= self.total

    def tell(self) -> None:
        """Report."""
        self._told = time.monotonic()
        done = self.num_timesteps - self._done_before
        speed = done / max(time.monotonic() - self._began, 1e-9)
        score, value = self.score(), self.value()
        self.report(Report(self.label, self.num_timesteps, self.total, score, speed, self.unit, value))

    def _on_training_start(self) -> None:
        self._began, self._done_before = time.monotonic(), self.num_timesteps

    def _on_step(self) -> bool:
        return True


class SaveCheckpoints(BaseCallback):
    """Saves a checkpoint every so often; a subclass says at which moments it may.

    A slow training is also saved once a minute, so that no more than that can be lost. Where all are kept,
    such a checkpoint goes when the next is there. The one at the end of the training is not its business.

    Args:
        every: steps (episodes of a supervised task) between two.
        total: length of the training.
        folder: of the checkpoints.
    """

    def __init__(self, every: int, total: int, folder: CheckpointFolder) -> None:
        super().__init__()
        self.every, self.total, self.folder = every, total, folder
        self._next, self._saved = 0, 0.0
        self._extra: Path | None = None

    def show(self) -> None:
        """Put into TensorBoard what goes with a checkpoint: nothing, unless a subclass does."""

    def save_when_due(self) -> None:
        """Save if it is time."""
        if self.num_timesteps >= self.total:
            return
        due = self._next <= self.num_timesteps
        if not due and time.monotonic() - self._saved < SECONDS_BETWEEN_SAVES:
            return
        if due:
            self._next = (self.num_timesteps // self.every + 1) * self.every
            self.show()
        flush(self.logger)  # what is logged is on the disk before the checkpoint says that it is done
        saved = self.folder.save(self.model)
        if self._extra is not None and self.folder.keep is None:
            self._extra.unlink()
        self._extra, self._saved = None if due else saved, time.monotonic()

    def _on_training_start(self) -> None:
        self._next = (self.num_timesteps // self.every + 1) * self.every
        self._saved = time.monotonic()

    def _on_step(self) -> bool:
        return True


class LogHyperparameters(BaseCallback):
    """Puts the run's settings into TensorBoard's table of hyperparameters.

    Args:
        run: has them.
        metrics: tags of the scores beside them.
    """

    def __init__(self, run: Run, metrics: Iterable[str]) -> None:
        super().__init__()
        self.run, self.metrics = run, dict.fromkeys(metrics, 0.0)

    def _on_training_start(self) -> None:
        if self.num_timesteps:  # a training that goes on has them already
            return
        self.logger.record("hparams", HParam(flat(self.run.as_dict()), self.metrics), exclude=("csv",))

    def _on_step(self) -> bool:
        return True


def flat(settings: dict[str, Any], prefix: str = "") -> dict[str, bool | int | float | str]:
    """Nested settings as one level of ``group/name``; those left open as the text "default"."""
    level: dict[str, bool | int | float | str] = {}
    for name, value in settings.items():
        if isinstance(value, dict):
            level |= flat(value, f"{prefix}{name}/")
        else:
            level[prefix + name] = "default" if value is None else value
    return level
