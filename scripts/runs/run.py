"""What every training is to the commands, whatever its task."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from typing_extensions import Self

from plasticrl.scripts.errors import UserError

if TYPE_CHECKING:
    from plasticrl.scripts.reports.comparison import Comparison
    from plasticrl.scripts.tasks.task import Evaluated, Trainer


class ShownMetric(NamedTuple):
    """One metric.

    Attributes:
        name: the learner's name for it.
        label: the name in tables.
        form: formats a value.
        sign: 1 if higher is better, -1 if lower is better.
    """

    name: str
    label: str
    form: Callable[[float], str]
    sign: int

    def text(self, value: float | None) -> str:
        """Format a value; None means infinite."""
        return "∞" if value is None else self.form(value)


class EvaluationChoices(Protocol):
    """What an evaluation of a finished run can be asked to do otherwise; None and False: as at its end."""

    @property
    def device(self) -> str:
        """What computes the network."""

    def given(self) -> dict[str, Any]:
        """The options that only some tasks have and that were given, by name."""


@dataclass(frozen=True)
class Run(ABC):
    """Everything that decides what one training learns: the contents of ``config.json``.

    Attributes:
        core: the network's kind.
        seed: of the weights and of what is trained on.
    """

    core: str
    seed: int

    @property
    @abstractmethod
    def task(self) -> str:
        """Name of the task, and of its folder."""

    @property
    @abstractmethod
    def total(self) -> int:
        """Length of the training, in the task's own unit."""

    @property
    @abstractmethod
    def eval_episodes(self) -> int:
        """Episodes of the evaluation at the end."""

    @property
    @abstractmethod
    def counter(self) -> str:
        """The column of ``progress.csv`` that counts what :attr:`total` does."""

    @property
    @abstractmethod
    def main_metric(self) -> ShownMetric:
        """What runs of this task are ranked by."""

    @abstractmethod
    def score(self, evaluation: dict[str, Any]) -> float:
        """The main metric in the evaluation of a ``result.json``, with its sign: more is better.

        Raises:
            KeyError, TypeError, ValueError: it is not there.
        """

    @property
    def label(self) -> str:
        """How the run is called in progress lines."""
        return f"{self.core} seed {self.seed}"

    def folder(self, root: Path) -> Path:
        """The run's own folder below ``root``."""
        return root / self.task / self.core / f"seed_{self.seed}"

    @abstractmethod
    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""

    @classmethod
    @abstractmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """The inverse of :meth:`as_dict`.

        Raises:
            KeyError, TypeError: ``data`` is not from there.
        """

    @abstractmethod
    def trainer(self, device: str) -> Trainer:
        """Make and check everything that the training needs; nothing is written.

        Raises:
            UserError: a setting is not allowed, or data are missing.
        """

    @abstractmethod
    def evaluate(self, checkpoint: Path, episodes: int, seed: int, choices: EvaluationChoices) -> Evaluated:
        """Evaluate a checkpoint of this run; with the episodes and seed of its end, as it was then.

        Raises:
            UserError: the checkpoint cannot be loaded, or a choice is not for this task.
        """

    def options_for(self, choices: EvaluationChoices, *allowed: str) -> dict[str, Any]:
        """The options given that only some tasks have.

        Raises:
            UserError: this task has not one of them: only those ``allowed``.
        """
        given = choices.given()
        wrong = ["--" + name.replace("_", "-") for name in given if name not in allowed]
        if wrong:
            raise UserError(f"{' and '.join(wrong)}: there is no such thing on {self.task}, leave it out")
        return given

    @abstractmethod
    def compare(self, runs: Sequence[Self], root: Path) -> Comparison:
        """Sum up finished runs of this task.

        Raises:
            UserError: a result cannot be read.
        """


def also(choices: Mapping[str, Any]) -> str:
    """What an evaluation did otherwise than the training, for the title of its table."""
    return "".join(f", {name.replace('_', ' ')} {value}" for name, value in choices.items())
