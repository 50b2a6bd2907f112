"""The interface of a training on any task, built and checked, ready to start."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any

from plasticrl.scripts.checkpoint_folder import CheckpointFolder
from plasticrl.scripts.evaluated import Scores
from plasticrl.scripts.progress_display import Report

MOST_ROWS = 2000  # maximum rows of progress.csv; longer trainings log less often


class Trainer(ABC):
    """Training of one learner with the interface of Stable-Baselines3.

    Attributes:
        learner: has ``logger``, ``set_logger``, ``num_timesteps`` and ``save``.
    """

    learner: Any

    @abstractmethod
    def go_on(self, checkpoint: Path) -> None:
        """Resume from a checkpoint.

        Raises:
            UserError: it cannot be loaded.
        """

    @abstractmethod
    def learn(self, checkpoints: CheckpointFolder, report: Callable[[Report], None]) -> None:
        """Train from the current state to the end, and save checkpoints except the last one."""

    @abstractmethod
    def assist(self) -> None:
        """Train to the end along with the first process, without writing, reporting or logging anything."""

    @abstractmethod
    def evaluate(self) -> Scores:
        """Return the final evaluation, after the training."""

    @abstractmethod
    def divergence(self, error: Exception) -> str | None:
        """Return a one-line message if ``error`` came from a diverged training, else None."""

    def data_sizes(self) -> dict[str, int]:
        """Return the amount of training and evaluation data; empty if no files are read."""
        return {}

    def remark(self) -> str | None:
        """Return a one-line remark to show before the training, or None."""
        return None

    def show(self) -> None:  # noqa: B027  (not every task has more)
        """Log pictures of the finished network to TensorBoard."""

    def close(self) -> None:  # noqa: B027  (most hold nothing)
        """Release resources."""
