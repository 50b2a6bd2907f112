"""Registry of the tasks: how a run of each is trained and evaluated."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Generic, TypeVar

from plasticrl.scripts.runs.run import SHOWN_METRICS, EpisodeRun, Run, RunOnMaze
from plasticrl.scripts.tasks.task import Evaluated, EvaluationChoices, Trainer

RunOfTask = TypeVar("RunOfTask", bound=Run)


@dataclass(frozen=True)
class Task(Generic[RunOfTask]):
    """Functions that train and evaluate the runs of a task.

    Attributes:
        trainer: makes and checks everything that a training needs, from a run and a device; writes nothing.
            It raises :class:`UserError` if a setting is invalid or data are missing.
        evaluate: evaluates a checkpoint of a run, from the run, the checkpoint, the number of episodes, their
            seed, and further options. Without options it repeats the evaluation at the end of the training.
            It raises :class:`UserError` if the checkpoint cannot be loaded or an option is not for this task.
    """

    trainer: Callable[[RunOfTask, str], Trainer]
    evaluate: Callable[[RunOfTask, Path, int, int, EvaluationChoices], Evaluated]


def task_of(run: Run) -> Task[Any]:
    """Return the entry of a run's task. Its code, and with it torch, is loaded only now."""
    return _ENTRIES[run.task]()


def _maze() -> Task[RunOnMaze]:
    from plasticrl.scripts.tasks.maze.evaluation import evaluate_checkpoint
    from plasticrl.scripts.tasks.maze.training import make_trainer

    return Task(make_trainer, evaluate_checkpoint)


def _supervised() -> Task[EpisodeRun]:
    from plasticrl.scripts.tasks.supervised.scores import evaluate_checkpoint
    from plasticrl.scripts.tasks.supervised.training import EpisodeTrainer

    return Task(EpisodeTrainer, evaluate_checkpoint)


_ENTRIES: Mapping[str, Callable[[], Task[Any]]] = MappingProxyType(
    {"maze": _maze, **dict.fromkeys(SHOWN_METRICS, _supervised)}
)
