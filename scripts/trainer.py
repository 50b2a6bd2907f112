"""One training of any task, made and checked, ready to start."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any

from plasticrl.scripts.checkpoint_folder import CheckpointFolder
from plasticrl.scripts.evaluated import Scores
from plasticrl.scripts.progress_display import Report

MOST_ROWS = 2000  # of progress.csv; longer trainings log every so many updates


class Trainer(ABC):
    """Trains one learner in the shape of Stable-Baselines3.

    Attributes:
        learner: has ``logger``, ``set_logger``, ``num_timesteps`` and ``save``.
    """

    learner: Any

    @abstractmethod
    def go_on(self, checkpoint: Path) -> None:
        """Take up the training where the checkpoint was saved.

        Raises:
            UserError: it cannot be loaded.
        """

    @abstractmethod
    def learn(self, checkpoints: CheckpointFolder, report: Callable[[Report], None]) -> None:
        """Train to the end, from wherever it is, saving checkpoints on the way but not the last one."""

    @abstractmethod
    def assist(self) -> None:
        """Train to the end along with the first process: nothing is written, reported or logged."""

    @abstractmethod
    def evaluate(self) -> Scores:
        """The evaluation at the end; training is over."""

    @abstractmethod
    def divergence(self, error: Exception) -> str | None:
        """Say in one line that ``error`` came from a training that diverged; None where it did not."""

    def data_sizes(self) -> dict[str, int]:
        """How much data it is trained and evaluated on; nothing where none are read."""
        return {}

    def remark(self) -> str | None:
        """What to know before it is trained, in one line; None where there is nothing."""
        return None

    def show(self) -> None:  # noqa: B027  (not every task has more)
        """Put what is to be seen of the finished network into TensorBoard."""

    def close(self) -> None:  # noqa: B027  (most hold nothing)
        """Give back what was opened."""
