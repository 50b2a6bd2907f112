"""One training of any task, ready to start, and its scores: the interfaces that each task fills in."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, NamedTuple

from plasticrl.scripts.runs.run import Run
from plasticrl.scripts.runs.setup import keep_freed_memory

EVALUATION_SEEDS = 1_000_000  # added to a run's seed, so that it is not evaluated on its training episodes
_MOST_ROWS = 2000  # maximum rows of progress.csv; longer trainings log less often


class Scores(ABC):
    """Scores over some episodes."""

    episodes: int

    @abstractmethod
    def as_dict(self) -> dict[str, Any]:
        """Return plain values, for JSON."""

    @abstractmethod
    def summary(self) -> str:
        """Return the most important scores, in half a line."""

    @abstractmethod
    def scalars(self) -> dict[str, float]:
        """Return the scalars for TensorBoard, by the name after ``eval/``."""

    @abstractmethod
    def rows(self) -> list[tuple[str, str]]:
        """Return all scores with their names, for a table."""


class Evaluated(NamedTuple):
    """The evaluation of a checkpoint.

    Attributes:
        scores: the scores.
        trained: the length of its training, in words.
        about: the options of the evaluation except seed and checkpoint, for JSON.
    """

    scores: Scores
    trained: str
    about: dict[str, Any]


def changed_settings(options: Any, *others: str) -> dict[str, Any]:
    """Return the settings of the task that an evaluation replaces; "off" becomes None.

    Args:
        options: a dataclass, with None for the settings of the training.
        *others: names of options that are not settings of the task.
    """
    given = {one.name: getattr(options, one.name) for one in fields(options) if one.name not in others}
    return {name: None if value == "off" else value for name, value in given.items() if value is not None}


def in_words(changed: Mapping[str, Any]) -> str:
    """Describe the settings in which an evaluation differs from the training, for the title of its table."""
    return "".join(
        f", {name.replace('_', ' ')} {'off' if value is None else value}" for name, value in changed.items()
    )


def log_interval(total: int, per_update: int) -> int:
    """Return the number of updates between two rows of ``progress.csv``.

    Args:
        total: length of the training.
        per_update: steps or episodes of an update.
    """
    return max(1, total // per_update // _MOST_ROWS)


@dataclass
class Trainer:
    """Training of one learner that has SB3's ``learn``, ``set_logger`` and ``save``, and its evaluation.

    The tasks differ in these values; ``experiments/training.py`` has the training itself.

    Attributes:
        run: the run.
        learner: the learner; its callbacks are called as SB3's are.
        unit: unit of the training's length, "steps" or "episodes".
        load: loads the learner from a checkpoint. It raises :class:`UserError` if that cannot be loaded.
        score: returns the learner's current score, higher is better, or None. It is called once per rollout.
        score_text: formats that score for the progress display.
        evaluation: returns the scores of the learner on the final evaluation's episodes.
        metrics: tags of the scores that TensorBoard shows beside the hyperparameters.
        callbacks: makes the task's own callbacks, from the number of steps between two pictures.
        log_interval: number of updates between two log entries.
        counter_option: option of ``learn`` that resets the counter of steps.
        remedy: what to try after a training that diverged.
        show: logs pictures of the learner beside a checkpoint and at the end.
        data_sizes: amount of training and evaluation data; empty if no files are read.
        notice: one line to show before the training, or None.
        close: releases resources.
    """

    run: Run
    learner: Any
    unit: str
    load: Callable[[Path], Any]
    score: Callable[[Any], float | None]
    score_text: Callable[[float], str]
    evaluation: Callable[[Any], Scores]
    metrics: Sequence[str]
    callbacks: Callable[[int], list[Any]]
    log_interval: int
    counter_option: str
    remedy: str
    show: Callable[[Any], None] = lambda learner: None
    data_sizes: Mapping[str, int] = field(default_factory=dict)
    notice: str | None = None
    close: Callable[[], None] = lambda: None

    @property
    def done(self) -> int:
        """Number of steps or episodes done so far."""
        return int(self.learner.num_timesteps)

    def resume(self, checkpoint: Path) -> None:
        """Continue from a checkpoint.

        Raises:
            UserError: it cannot be loaded.
        """
        self.learner = self.load(checkpoint)

    def learn(self, callbacks: Sequence[Any] = ()) -> None:
        """Train from the current state to the end."""
        keep_freed_memory()
        self.learner.learn(
            self.run.total - self.done,
            callback=list(callbacks),
            log_interval=self.log_interval,
            **{self.counter_option: False},
        )

    def evaluate(self) -> Scores:
        """Return the final evaluation, after the training."""
        return self.evaluation(self.learner)
