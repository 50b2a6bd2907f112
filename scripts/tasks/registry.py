"""The code that trains and evaluates the runs of a task; the tasks are in ``settings/tasks.py``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plasticrl.scripts.runs.run import Run
from plasticrl.scripts.tasks.task import Evaluated, Trainer


@dataclass(frozen=True)
class TaskCode:
    """Functions that train and evaluate the runs of a task.

    Attributes:
        trainer: makes and checks everything that a training needs, from a run and a device; writes nothing.
            It raises :class:`UserError` if a setting is invalid or data are missing.
        evaluate: evaluates a checkpoint of a run, from the run, the checkpoint, the number of episodes, their
            seed, the device, and the options of the task. With the default options it repeats the evaluation
            at the end of the training. It raises :class:`UserError` if the checkpoint cannot be loaded.
    """

    trainer: Callable[[Run, str], Trainer]
    evaluate: Callable[[Run, Path, int, int, str, Any], Evaluated]


def task_of(run: Run) -> TaskCode:
    """Return the code of a run's task. It is loaded, and with it torch, only now."""
    return _maze() if run.entry.kind == "maze" else _supervised()


def _maze() -> TaskCode:
    from plasticrl.scripts.tasks.maze.evaluation import evaluate_checkpoint
    from plasticrl.scripts.tasks.maze.training import make_trainer

    return TaskCode(make_trainer, evaluate_checkpoint)


def _supervised() -> TaskCode:
    from plasticrl.scripts.tasks.supervised.scores import evaluate_checkpoint
    from plasticrl.scripts.tasks.supervised.training import make_trainer

    return TaskCode(make_trainer, evaluate_checkpoint)
