"""Callbacks of every training: progress reports, checkpoints, and the settings in TensorBoard."""

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
    """Callback that reports progress; a subclass provides the score and the times of the reports.

    Args:
        label: name of the run.
        total: length of the training.
        unit: unit of ``total``.
        report: receives the reports.
    """

    def __init__(self, label: str, total: int, unit: str, report: Callable[[Report], None]) -> None:
        super().__init__()
        self.label, self.total, self.unit, self.report = label, total, unit, report
        self._began = self._reported = 0.0
        self._done_before = 0

    @abstractmethod
    def score(self) -> str:
        """Return the current score in a few words; empty if it is not known yet."""

    @abstractmethod
    def value(self) -> float | None:
        """Return the current score as a number, higher is better; None if it is not known yet."""

    def is_time(self) -> bool:
        """Return True if the last report is old enough, or the training is at its end."""
        now = time.monotonic()
        return now - self._reported >= _SECONDS_BETWEEN_REPORTS or self.num_timesteps >= self.total

    def tell(self) -> None:
        """Send a report."""
        self._reported = time.monotonic()
        done = self.num_timesteps - self._done_before
        speed = done / max(time.monotonic() - self._began, 1e-9)
        score, value = self.score(), self.value()
        self.report(Report(self.label, self.num_timesteps, self.total, score, speed, self.unit, value))

    def _on_training_start(self) -> None:
        self._began, self._done_before = time.monotonic(), self.num_timesteps

    def _on_step(self) -> bool:
        return True


class SaveCheckpoints(BaseCallback):
    """Callback that saves checkpoints at intervals; a subclass calls :meth:`save_when_due`.

    A slow training is also saved once a minute, so that at most a minute is lost. If all checkpoints are
    kept, such an extra one is removed when the next is saved. The final checkpoint is not saved here.

    Args:
        every: steps (episodes of a supervised task) between two checkpoints.
        total: length of the training.
        folder: folder of the checkpoints.
    """

    def __init__(self, every: int, total: int, folder: CheckpointFolder) -> None:
        super().__init__()
        self.every, self.total, self.folder = every, total, folder
        self._next, self._saved = 0, 0.0
        self._extra: Path | None = None

    def show(self) -> None:
        """Write to TensorBoard what accompanies a checkpoint; by default nothing."""

    def save_when_due(self) -> None:
        """Save a checkpoint if one is due."""
        if self.num_timesteps >= self.total:
            return
        due = self._next <= self.num_timesteps
        if not due and time.monotonic() - self._saved < SECONDS_BETWEEN_SAVES:
            return
        if due:
            self._next = (self.num_timesteps // self.every + 1) * self.every
            self.show()
        flush(self.logger)  # the logs must be on disk before a checkpoint that counts them as done
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
    """Callback that writes the run's settings to TensorBoard's table of hyperparameters.

    Args:
        run: the run.
        metrics: tags of the scores to show with them.
    """

    def __init__(self, run: Run, metrics: Iterable[str]) -> None:
        super().__init__()
        self.run, self.metrics = run, dict.fromkeys(metrics, 0.0)

    def _on_training_start(self) -> None:
        if self.num_timesteps:  # a resumed training has them already
            return
        self.logger.record("hparams", HParam(flat(self.run.as_dict()), self.metrics), exclude=("csv",))

    def _on_step(self) -> bool:
        return True


def flat(settings: dict[str, Any], prefix: str = "") -> dict[str, bool | int | float | str]:
    """Flatten nested settings to names ``group/name``; None becomes the text "default"."""
    level: dict[str, bool | int | float | str] = {}
    for name, value in settings.items():
        if isinstance(value, dict):
            level |= flat(value, f"{prefix}{name}/")
        else:
            level[prefix + name] = "default" if value is None else value
    return level
