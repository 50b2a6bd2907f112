"""One training of any task, ready to start, and its evaluation: the interfaces that each task fills in."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from plasticrl.scripts.errors import UserError
from plasticrl.scripts.runs.checkpoints import CheckpointFolder
from plasticrl.scripts.runs.run import Run
from plasticrl.scripts.runs.terminal import Report

EVALUATION_SEEDS = 1_000_000  # added to a run's seed, so that it is not evaluated on its training episodes


class Scores(ABC):
    """Scores over some episodes."""

    episodes: int

    @abstractmethod
    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""

    @abstractmethod
    def summary(self) -> str:
        """The most important ones, in half a line."""

    @abstractmethod
    def scalars(self) -> dict[str, float]:
        """Return the scalars for TensorBoard, by the name after ``eval/``."""

    @abstractmethod
    def rows(self) -> list[tuple[str, str]]:
        """All of them, named, for a table."""


class Evaluated(NamedTuple):
    """The evaluation of a checkpoint.

    Attributes:
        scores: the scores.
        trained: the length of its training, in words.
        about: the choices of the evaluation except seed and checkpoint, for JSON.
    """

    scores: Scores
    trained: str
    about: dict[str, Any]


class EvaluationChoices(Protocol):
    """Options of an evaluation; by default it repeats the one at the end of the training."""

    @property
    def device(self) -> str:
        """Device of the network."""

    def given(self) -> dict[str, Any]:
        """Return the given options that only some tasks have, by name."""


def options_for(run: Run, choices: EvaluationChoices, *allowed: str) -> dict[str, Any]:
    """Return the given options that only some tasks have.

    Raises:
        UserError: the run's task lacks one of them: it has only those ``allowed``.
    """
    given = choices.given()
    wrong = ["--" + name.replace("_", "-") for name in given if name not in allowed]
    if wrong:
        raise UserError(f"{' and '.join(wrong)}: there is no such thing on {run.task}, leave it out")
    return given


def also(choices: Mapping[str, Any]) -> str:
    """Describe the options in which an evaluation differs from the training, for the title of its table."""
    return "".join(f", {name.replace('_', ' ')} {value}" for name, value in choices.items())


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
