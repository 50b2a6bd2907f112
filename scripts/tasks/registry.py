"""Registry of the tasks: how a run of each is trained, evaluated and compared with others."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Generic, TypeVar

from plasticrl.scripts.reports.comparison import Comparison, compare_episodes, compare_mazes
from plasticrl.scripts.runs.run import SHOWN_METRICS, EpisodeRun, Run, RunOnMaze
from plasticrl.scripts.tasks.task import Evaluated, Trainer

RunOfTask = TypeVar("RunOfTask", bound=Run)


@dataclass(frozen=True)
class Task(Generic[RunOfTask]):
    """Functions that train, evaluate and compare the runs of a task.

    Attributes:
        trainer: makes and checks everything that a training needs, from a run and a device; writes nothing.
            It raises :class:`UserError` if a setting is invalid or data are missing.
        evaluate: evaluates a checkpoint of a run, from the run, the checkpoint, the number of episodes, their
            seed, the device, and the options of the task. With the default options it repeats the evaluation
            at the end of the training. It raises :class:`UserError` if the checkpoint cannot be loaded.
        compare: summarises finished runs below a root folder. It raises :class:`UserError` if a result cannot
            be read.
    """

    trainer: Callable[[RunOfTask, str], Trainer]
    evaluate: Callable[[RunOfTask, Path, int, int, str, Any], Evaluated]
    compare: Callable[[Sequence[RunOfTask], Path], Comparison]


def task_of(run: Run) -> Task[Any]:
    """Return the entry of a run's task. Its code, and with it torch, is loaded only now."""
    return _ENTRIES[run.task]()


def _maze() -> Task[RunOnMaze]:
    from plasticrl.scripts.tasks.maze.evaluation import evaluate_checkpoint
    from plasticrl.scripts.tasks.maze.training import make_trainer

    return Task(make_trainer, evaluate_checkpoint, compare_mazes)


def _supervised() -> Task[EpisodeRun]:
    from plasticrl.scripts.tasks.supervised.scores import evaluate_checkpoint
    from plasticrl.scripts.tasks.supervised.training import make_trainer

    return Task(make_trainer, evaluate_checkpoint, compare_episodes)


_ENTRIES: Mapping[str, Callable[[], Task[Any]]] = MappingProxyType(
    {"maze": _maze, **dict.fromkeys(SHOWN_METRICS, _supervised)}
)
