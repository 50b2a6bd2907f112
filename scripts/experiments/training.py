"""A training of any task, from its settings to its finished folder."""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch.distributed as dist
from stable_baselines3.common.logger import Logger

from plasticrl import __version__
from plasticrl.agents.common.distributed import LostProcessError, Ranks
from plasticrl.agents.common.tensorboard import tensorboard_writer
from plasticrl.scripts.errors import UserError, blame_user, os_error_in_one_line, place_of, shortened
from plasticrl.scripts.runs.checkpoints import CheckpointFolder, Spent, TimeSpent
from plasticrl.scripts.runs.folder import (
    CHECKPOINTS,
    RESULT,
    BusyError,
    check_claim,
    claim,
    in_use,
    is_unfinished,
    locked,
    write_json,
)
from plasticrl.scripts.runs.logs import flush, open_logs
from plasticrl.scripts.runs.run import Run
from plasticrl.scripts.runs.setup import check_at_least, machine, process_count, set_up_torch
from plasticrl.scripts.runs.terminal import Report
from plasticrl.scripts.settings.maze import OutputSettings
from plasticrl.scripts.tasks.registry import task_of
from plasticrl.scripts.tasks.task import Scores, Trainer
from plasticrl.signals import PostponedInterrupt, StoppedBetweenUpdates, sigterm_ends


@contextmanager
def blame_disk(folder: Path) -> Iterator[None]:
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
def blame_divergence(trainer: Trainer) -> Iterator[None]:
    """Turn the error of a diverged training into a UserError, since its cause is the settings."""
    try:
        yield
    except (RuntimeError, ValueError, ArithmeticError) as error:
        said = trainer.divergence(error)
        if said is None:
            raise
        raise UserError(said) from error


def result_of(trainer: Trainer, run: Run, scores: Scores, spent: Spent) -> dict[str, Any]:
    """Return scores, time and steps, command, machine and versions of a run as plain values for JSON."""
    import gymnasium
    import numpy
    import stable_baselines3
    import torch

    modules = (gymnasium, numpy, stable_baselines3, torch)
    return {
        "evaluation": scores.as_dict(),
        "data": trainer.data_sizes(),
        "steps": trainer.learner.num_timesteps,
        "seconds": round(spent.seconds, 3),
        "steps_per_second": round(spent.steps / spent.seconds, 1) if spent.steps else None,
        "core": run.network_name,
        "seed": run.seed,
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "machine": machine(str(trainer.learner.device)),
        "versions": {
            "plasticrl": __version__,
            "python": platform.python_version(),
            **{module.__name__: module.__version__ for module in modules},
        },
    }


def check_run(run: Run) -> str | None:
    """Build everything that a run needs, to check its settings; write nothing.

    Returns:
        A remark for the user before the training, in one line, or None.

    Raises:
        UserError: a setting is not allowed, or data are missing.
    """
    with closing(task_of(run).trainer(run, "cpu")) as trainer:
        return trainer.remark()


def train(
    run: Run,
    output: OutputSettings,
    report: Callable[[Report], None],
    note: Callable[[str], None] | None = None,
) -> Scores:
    """Train and evaluate a run and write its folder, or resume it if its folder holds it unfinished.

    Args:
        run: the run to train.
        output: output folder, and device.
        report: receives the progress after every update.
        note: receives a remark before the training; None if :func:`check_run` was used for it.

    Raises:
        UserError: a setting is not allowed, the folder is taken (nothing has been written then), the
            training diverged, or the folder can no longer be written.
        KeyboardInterrupt: raised after saving a checkpoint, if it came between two updates.
    """
    folder = run.folder(output.root)
    resumes = not output.overwrite and is_unfinished(folder, run)
    if not resumes:
        with _taken_meanwhile(folder, run, overwrite=output.overwrite):
            # Before data are loaded, or even downloaded.
            check_claim(folder, run, overwrite=output.overwrite)
    set_up_torch(output.device, output.threads)
    check_at_least(1, keep=1 if output.keep is None else output.keep)
    checkpoints = CheckpointFolder(folder / CHECKPOINTS, output.keep)
    with closing(task_of(run).trainer(run, output.device)) as trainer:
        if not resumes:
            with _taken_meanwhile(folder, run, overwrite=output.overwrite):
                claim(folder, run, overwrite=output.overwrite)
        if note is not None and (remark := trainer.remark()) is not None:
            note(remark)
        with blame_disk(folder), locked(folder):
            if not is_unfinished(folder, run):
                raise BusyError(f"{folder} was taken by another process meanwhile: run the command again")
            checkpoint = checkpoints.usable() if resumes else None
            if checkpoint is not None:
                trainer.go_on(checkpoint)
            with _logs_in(folder, run, trainer), blame_divergence(trainer):
                scores = _learn_and_evaluate(trainer, run, folder, checkpoint, checkpoints, report)
    return scores


@contextmanager
def _taken_meanwhile(folder: Path, run: Run, *, overwrite: bool) -> Iterator[None]:
    """Inside, a folder that was free a moment ago is checked or claimed again.

    Raises:
        BusyError: another process started this run at the same time and was faster.
    """
    try:
        yield
    except UserError:
        if not overwrite and is_unfinished(folder, run):
            raise in_use(folder) from None
        raise


# A dead process is noticed at once, by its closed connection; this is for one that hangs. The longest that
# the others wait in good health is for a checkpoint, and for kernels to be compiled at the start.
_PATIENCE = timedelta(minutes=10)


@contextmanager
def _trained_together(trainer: Trainer, run: Run, checkpoint: Path | None) -> Iterator[None]:
    """Inside, all processes train the same learner; after it, each has all of it. Alone, nothing happens.

    Args:
        trainer: made alike in every process.
        run: what it trains.
        checkpoint: what the first process went on from; the others do so here.

    Raises:
        UserError: another process is gone, or they were not started alike.
    """
    if process_count() == 1:
        yield
        return
    on_gpu = trainer.learner.device.type == "cuda"
    with blame_user(RuntimeError, about="the processes cannot meet"), sigterm_ends():
        dist.init_process_group("cpu:gloo,cuda:nccl" if on_gpu else "gloo", timeout=_PATIENCE)
    try:
        ranks = Ranks.of_group()
        with blame_user(LostProcessError):
            with blame_user(ValueError):
                ranks.check_alike(json.dumps(run.as_dict(), sort_keys=True).encode())
            path = os.fsdecode(
                ranks.gather_bytes(os.fsencode(checkpoint.absolute()) if checkpoint else b"")[0]
            )
            if path and ranks.rank > 0:
                trainer.go_on(Path(path))
            with blame_user(ValueError):
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


def _no_logs(trainer: Trainer) -> None:
    """Let the learner log nowhere: what it has to say, the first process says."""
    trainer.learner.set_logger(Logger(None, []))


def assist(run: Run, output: OutputSettings) -> None:
    """Train together with the first of several processes, which runs :func:`train`; write nothing.

    Raises:
        UserError: a setting is not allowed, the training diverged, or another process has ended.
        KeyboardInterrupt: as in :func:`train`.
    """
    set_up_torch(output.device, output.threads)
    with closing(task_of(run).trainer(run, output.device)) as trainer, _trained_together(trainer, run, None):
        _no_logs(trainer)
        if trainer.learner.num_timesteps < run.total:
            with blame_divergence(trainer):
                trainer.assist()


def _learn_and_evaluate(
    trainer: Trainer,
    run: Run,
    folder: Path,
    checkpoint: Path | None,
    checkpoints: CheckpointFolder,
    report: Callable[[Report], None],
) -> Scores:
    clock = TimeSpent(folder, checkpoint, trainer.learner.num_timesteps)
    checkpoints = replace(checkpoints, time=clock)
    try:
        with _trained_together(trainer, run, checkpoint):
            if trainer.learner.num_timesteps < run.total:
                trainer.learn(checkpoints, report)
    except StoppedBetweenUpdates:
        _save(trainer, checkpoints)
        raise
    _save(trainer, checkpoints)  # before the evaluation, which may be interrupted
    spent = clock.until_now(trainer.learner.num_timesteps)
    scores = trainer.evaluate()
    _finish(trainer, run, folder, scores, spent)
    clock.forget()
    return scores


def _save(trainer: Trainer, checkpoints: CheckpointFolder) -> None:
    """Write the logs and a checkpoint; postpone a first Ctrl-C or SIGTERM until then."""
    with PostponedInterrupt():
        flush(trainer.learner.logger)
        checkpoints.save(trainer.learner)


def _finish(trainer: Trainer, run: Run, folder: Path, scores: Scores, spent: Spent) -> None:
    """Write the final output, with ``result.json`` last, since it marks the run as finished."""
    learner = trainer.learner
    trainer.show()
    writer = tensorboard_writer(learner.logger)
    assert writer is not None
    for name, value in scores.scalars().items():
        writer.add_scalar(f"eval/{name}", value, learner.num_timesteps)
    writer.flush()
    write_json(folder / RESULT, result_of(trainer, run, scores, spent))


@contextmanager
def _logs_in(folder: Path, run: Run, trainer: Trainer) -> Iterator[None]:
    """Let the learner log to ``progress.csv`` and TensorBoard in the block; close both at its end."""
    learner = trainer.learner
    learner.set_logger(open_logs(folder, done=learner.num_timesteps, total=run.total, counter=run.counter))
    try:
        yield
    finally:
        learner.logger.close()
