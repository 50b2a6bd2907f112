"""The code of each task, and a training of any task, from its settings to its finished folder."""

from __future__ import annotations

import json
import os
import platform
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch.distributed as dist
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import HParam, Logger

from plasticrl import __version__
from plasticrl.agents.common import tags
from plasticrl.agents.common.distributed import LostProcessError, Ranks
from plasticrl.agents.common.finite_checks import NonFiniteError
from plasticrl.agents.common.tensorboard import tensorboard_writer
from plasticrl.agents.recurrent.spaces import MaskError
from plasticrl.scripts.errors import (
    UserError,
    as_user_error,
    one_line,
    os_error_in_one_line,
    place_of,
    shortened,
)
from plasticrl.scripts.runs.checkpoints import CheckpointFolder
from plasticrl.scripts.runs.folder import (
    CHECKPOINTS,
    RESULT,
    BusyError,
    can_go_on,
    check_claim,
    claim,
    is_unfinished,
    lengthen,
    locked,
    write_json,
)
from plasticrl.scripts.runs.logs import check_tracking, flat, open_logs
from plasticrl.scripts.runs.run import Run
from plasticrl.scripts.runs.terminal import Report
from plasticrl.scripts.settings.maze import OutputSettings
from plasticrl.scripts.tasks.task import (
    Evaluated,
    Scores,
    Trainer,
    check_at_least,
    machine,
    process_count,
    set_up_torch,
)
from plasticrl.signals import PostponedInterrupt, StoppedBetweenUpdates, sigterm_ends


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
    if run.entry.kind == "supervised":
        return _supervised()
    from plasticrl.scripts.tasks.environments import evaluation
    from plasticrl.scripts.tasks.environments.training import make_trainer

    if run.entry.kind == "maze":
        return TaskCode(make_trainer, evaluation.evaluate_checkpoint)
    return TaskCode(make_trainer, evaluation.evaluate_checkpoint_in_env)


def _supervised() -> TaskCode:
    from plasticrl.scripts.tasks.supervised.training import evaluate_checkpoint, make_trainer

    return TaskCode(make_trainer, evaluate_checkpoint)


@contextmanager
def disk_errors(folder: Path) -> Iterator[None]:
    """Turn errors of a full or missing disk into a UserError; checkpoints saved before are intact."""
    try:
        yield
    except OSError as error:
        if not os.path.isdir(folder):
            raise UserError(
                f"{shortened(folder)} was removed or renamed during the training: restore its name, then run "
                "the same command again, which starts over if there is no such folder"
            ) from error
        elsewhere = place_of(error) and not place_of(error).startswith(os.fspath(folder))
        about = "" if elsewhere else f"cannot write to {shortened(folder)}"
        if about and any((folder / CHECKPOINTS).glob("step_*")):
            about += ", whose last checkpoint is whole"
        raise UserError(os_error_in_one_line(error, about)) from error


@contextmanager
def divergence_errors(trainer: Trainer) -> Iterator[None]:
    """Turn the error of a diverged training into a UserError, since its cause is the settings."""
    try:
        yield
    except (RuntimeError, ValueError, ArithmeticError) as error:
        frames = traceback.walk_tb(error.__traceback__)
        # torch's distributions refuse parameters that are not finite with a ValueError or a RuntimeError.
        if not isinstance(error, NonFiniteError) and not any(
            str(frame.f_globals.get("__name__")).startswith("torch.distributions") for frame, _ in frames
        ):
            raise
        cause = one_line(str(error).partition(". ")[0].partition(": try")[0])
        raise UserError(
            f"the training diverged after {trainer.done:,} {trainer.unit} ({cause}): try {trainer.remedy}"
        ) from error


@contextmanager
def lost_environments(run: Run) -> Iterator[None]:
    """Turn the error of an environment that has ended, or whose masks are wrong, into a UserError."""
    try:
        yield
    except MaskError as error:
        raise UserError(f"{run.task}: {one_line(error)}") from error
    except (EOFError, ConnectionError) as error:
        if run.entry.kind != "environment":
            raise
        raise UserError(
            f"an environment {run.task} has ended ({one_line(error) or type(error).__name__}): the same "
            "command resumes from the last checkpoint; with --vec dummy it shows its own error"
        ) from error


def check_run(run: Run) -> str | None:
    """Build everything that a run needs, to check its settings; write nothing.

    Returns:
        One line to show before the training, or None.

    Raises:
        UserError: a setting is not allowed, or data are missing.
    """
    with closing(task_of(run).trainer(run, "cpu")) as trainer:
        return trainer.notice


def train(
    run: Run,
    output: OutputSettings,
    report: Callable[[Report], None],
    note: Callable[[str], None] | None = None,
    folder: Path | None = None,
) -> Scores:
    """Train and evaluate a run and write its folder, or resume it if its folder holds it unfinished.

    A training of the same run that came to its end, but is shorter, is continued from its last checkpoint.

    Args:
        run: the run to train.
        output: root of the folders, and device.
        report: receives the progress after every update.
        note: receives a notice before the training; None if :func:`check_run` was used for it.
        folder: folder of the run; None: its usual one below the root.

    Raises:
        UserError: a setting is not allowed, the folder is taken (nothing has been written then), the
            training diverged, or the folder can no longer be written.
        KeyboardInterrupt: raised after saving a checkpoint, if it came between two updates.
    """
    folder = folder or run.folder(output.root)
    resumes = not output.overwrite and can_go_on(folder, run)
    if not resumes:  # before data are loaded, or even downloaded
        check_claim(folder, run, overwrite=output.overwrite)
    set_up_torch(output.device, output.threads)
    check_at_least(1, keep=1 if output.keep is None else output.keep)
    check_tracking(output.track)
    checkpoints = CheckpointFolder(folder / CHECKPOINTS, output.keep)
    with closing(task_of(run).trainer(run, output.device)) as trainer:
        if not resumes:
            trainer.begin()
            claim(folder, run, overwrite=output.overwrite)
        if note is not None and trainer.notice is not None:
            note(trainer.notice)
        with disk_errors(folder), locked(folder):
            if resumes and not is_unfinished(folder, run) and can_go_on(folder, run):
                lengthen(folder, run)
            if not is_unfinished(folder, run):
                raise BusyError(f"{folder} was taken by another process meanwhile: run the command again")
            checkpoint = checkpoints.usable() if resumes else None
            if checkpoint is not None:
                trainer.resume(checkpoint)
            elif resumes:
                trainer.begin()
            logger = open_logs(folder, done=trainer.done, total=run.total, counter=run.counter)
            trainer.learner.set_logger(logger)
            with closing(logger), divergence_errors(trainer), lost_environments(run):
                if output.track and (place := logger.track(run)) and note is not None:
                    note(f"Weights & Biases: {place}")
                if checkpoint is None and run.init_from is not None:
                    checkpoint = _save(trainer, checkpoints)  # from here on, the other file is not read
                return _learn_and_evaluate(trainer, folder, checkpoint, checkpoints, report)


# A dead process is noticed at once, by its closed connection; this is for one that hangs. The longest that
# the others wait in good health is for a checkpoint, and for kernels to be compiled at the start.
_PATIENCE = timedelta(minutes=10)


@contextmanager
def _trained_together(trainer: Trainer, checkpoint: Path | None) -> Iterator[None]:
    """Let all processes train the same learner in the block; a single process has nothing to do.

    Args:
        trainer: the trainer, equal in every process.
        checkpoint: checkpoint that the first process resumed from; the others do so here.

    Raises:
        UserError: another process is gone, or they were not started alike.
    """
    if process_count() == 1:
        yield
        return
    on_gpu = trainer.learner.device.type == "cuda"
    with as_user_error(RuntimeError, about="the processes cannot meet"), sigterm_ends():
        dist.init_process_group("cpu:gloo,cuda:nccl" if on_gpu else "gloo", timeout=_PATIENCE)
    try:
        ranks = Ranks.of_group()
        with as_user_error(LostProcessError):
            with as_user_error(ValueError):
                ranks.check_alike(json.dumps(trainer.run.as_dict(), sort_keys=True).encode())
            path = os.fsdecode(
                ranks.gather_bytes(os.fsencode(checkpoint.absolute()) if checkpoint else b"")[0]
            )
            if path and ranks.rank > 0:
                trainer.resume(Path(path))
            with as_user_error(ValueError):
                trainer.learner.join(ranks)
            try:
                yield
            except StoppedBetweenUpdates:  # all of them did
                trainer.learner.leave()
                raise
            else:
                trainer.learner.leave()
    finally:
        # Its threads would abort the process if they outlived the interpreter.
        dist.destroy_process_group()


def join(run: Run, output: OutputSettings) -> None:
    """Train together with the first of several processes, which runs :func:`train`; write nothing.

    Raises:
        UserError: a setting is not allowed, the training diverged, or another process has ended.
        KeyboardInterrupt: as in :func:`train`.
    """
    set_up_torch(output.device, output.threads)
    with closing(task_of(run).trainer(run, output.device)) as trainer, _trained_together(trainer, None):
        trainer.learner.set_logger(Logger(None, []))
        if trainer.done < run.total:
            with divergence_errors(trainer):
                trainer.learn()


def _learn_and_evaluate(
    trainer: Trainer,
    folder: Path,
    checkpoint: Path | None,
    checkpoints: CheckpointFolder,
    report: Callable[[Report], None],
) -> Scores:
    """Train to the end and evaluate; write ``result.json`` last, since it marks the run as finished."""
    logger, first = trainer.learner.logger, trainer.done
    try:
        with _trained_together(trainer, checkpoint):
            if trainer.done < trainer.run.total:
                trainer.learn(_callbacks(trainer, checkpoints, report))
    except StoppedBetweenUpdates:
        _save(trainer, checkpoints)
        raise
    _save(trainer, checkpoints)  # before the evaluation, which may be interrupted
    seconds = logger.seconds()
    # Steps whose time is unknown do not count.
    speed = (trainer.done - (logger.untimed if logger.before else first)) / seconds
    report(_evaluating(trainer, speed))  # which may take longer than the training
    scores = trainer.evaluate()
    trainer.show(trainer.learner)
    writer = tensorboard_writer(logger)
    assert writer is not None
    evaluated = {tags.EVALUATION + name: value for name, value in scores.scalars().items()}
    for name, value in evaluated.items():
        writer.add_scalar(name, value, trainer.done)
    writer.flush()
    logger.log_evaluation(evaluated, trainer.done)
    write_json(folder / RESULT, _result(trainer, scores, seconds, speed))
    return scores


def _evaluating(trainer: Trainer, speed: float) -> Report:
    """Return the report that a training has come to its evaluation."""
    run, score = trainer.run, trainer.score(trainer.learner)
    text = f"evaluating {run.eval_episodes} episodes"
    if score is not None:
        text = f"{trainer.score_text(score)}  {text}"
    return Report(run.label, trainer.done, run.total, text, speed, trainer.unit, score)


def _save(trainer: Trainer, checkpoints: CheckpointFolder) -> Path:
    """Write the logs and a checkpoint; postpone a first Ctrl-C or SIGTERM until then."""
    with PostponedInterrupt():
        return checkpoints.save(trainer.learner)


def _callbacks(
    trainer: Trainer, checkpoints: CheckpointFolder, report: Callable[[Report], None]
) -> list[BaseCallback]:
    """Return the callbacks of a training; log the run's settings if it is at its start."""
    run = trainer.run
    every = max(1, run.total // run.training.checkpoints)
    if trainer.done == 0:
        table = HParam(flat(run.as_dict()), dict.fromkeys(trainer.metrics, 0.0))
        trainer.learner.logger.record(tags.HYPERPARAMETERS, table, exclude="csv")
    return [
        *trainer.callbacks(every),
        SaveCheckpoints(every, run.total, checkpoints, lambda: trainer.show(trainer.learner)),
        _Progress(trainer, report),
    ]


SECONDS_BETWEEN_SAVES = 60.0


class SaveCheckpoints(BaseCallback):
    """Callback that saves checkpoints at intervals, before a rollout, when the last update is complete.

    A slow training is also saved once a minute, so that at most a minute is lost. If all checkpoints are
    kept, such an extra one is removed when the next is saved. The final checkpoint is not saved here.

    Args:
        every: steps (episodes of a supervised task) between two checkpoints.
        total: length of the training.
        folder: folder of the checkpoints.
        show: logs pictures that accompany a checkpoint, except an extra one.
    """

    def __init__(
        self, every: int, total: int, folder: CheckpointFolder, show: Callable[[], None] = lambda: None
    ) -> None:
        super().__init__()
        self.every, self.total, self.folder, self.show = every, total, folder, show
        self._next, self._saved = 0, 0.0
        self._extra: Path | None = None

    def _on_training_start(self) -> None:
        self._next = (self.num_timesteps // self.every + 1) * self.every
        self._saved = time.monotonic()

    def _on_step(self) -> bool:
        return True

    def _on_rollout_start(self) -> None:
        if self.num_timesteps >= self.total:
            return
        due = self._next <= self.num_timesteps
        if not due and time.monotonic() - self._saved < SECONDS_BETWEEN_SAVES:
            return
        if due:
            self._next = (self.num_timesteps // self.every + 1) * self.every
            self.show()
        saved = self.folder.save(self.model)
        if self._extra is not None and self.folder.keep is None:
            self._extra.unlink()
        self._extra, self._saved = None if due else saved, time.monotonic()


_SECONDS_BETWEEN_REPORTS, _SHARE_BETWEEN_REPORTS = 0.2, 0.01  # there may be thousands of updates in a second


class _Progress(BaseCallback):
    """Callback that reports the progress, a few times per second and at each percent."""

    def __init__(self, trainer: Trainer, report: Callable[[Report], None]) -> None:
        super().__init__()
        self.trainer, self.report = trainer, report
        self._began, self._first = time.monotonic(), trainer.done
        self._reported, self._done = 0.0, trainer.done

    def _on_training_start(self) -> None:
        self._began = time.monotonic()

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        trainer, run, done = self.trainer, self.trainer.run, self.num_timesteps
        score = trainer.score(trainer.learner)
        now = time.monotonic()
        if (
            now - self._reported < _SECONDS_BETWEEN_REPORTS
            and done - self._done < _SHARE_BETWEEN_REPORTS * run.total
            and done < run.total
        ):
            return
        self._reported, self._done = now, done
        text = "" if score is None else trainer.score_text(score)
        speed = (done - self._first) / max(now - self._began, 1e-9)
        self.report(Report(run.label, done, run.total, text, speed, trainer.unit, score))


def _result(trainer: Trainer, scores: Scores, seconds: float, speed: float) -> dict[str, Any]:
    """Return scores, time and steps, command, machine and versions of a run as plain values for JSON."""
    import gymnasium
    import numpy
    import stable_baselines3
    import torch

    modules = (gymnasium, numpy, stable_baselines3, torch)
    return {
        "evaluation": scores.as_dict(),
        "data": dict(trainer.data_sizes),
        "steps": trainer.done,
        "seconds": round(seconds, 3),
        "steps_per_second": round(speed, 1) if speed else None,
        "core": trainer.run.network_name,
        "seed": trainer.run.seed,
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "machine": machine(str(trainer.learner.device)),
        "versions": {
            "plasticrl": __version__,
            "python": platform.python_version(),
            **{module.__name__: module.__version__ for module in modules},
        },
    }
