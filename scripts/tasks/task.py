"""One training of any task, ready to start, its scores, and the set-up that all tasks share.

The set-up covers seed, device, threads, memory, and the processes of one training.
"""

from __future__ import annotations

import ctypes
import os
import platform
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, NamedTuple

from plasticrl.scripts.errors import UserError
from plasticrl.scripts.runs.checkpoints import find_weights
from plasticrl.scripts.runs.run import Run

EVALUATION_SEEDS = 1_000_000  # added to a run's seed, so that it is not evaluated on its training episodes
_MOST_ROWS = 2000  # maximum rows of progress.csv; longer trainings log less often
_MOST_THREADS_PER_CORE = 16
LARGEST_SEED = 2**31 - 1


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
        take_network: gives a learner the network in a file. It raises :class:`UserError` if that cannot be
            loaded, or is another network.
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
    take_network: Callable[[Any, Path], None]
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

    def begin(self) -> None:
        """Take over the network that the run begins with, if it names one.

        Raises:
            UserError: it cannot be loaded, or is another network.
        """
        if self.run.init_from is not None:
            self.take_network(self.learner, find_weights(Path(self.run.init_from)))

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


def check_seed(seed: int) -> int:
    """Check a seed and return it.

    Raises:
        UserError: it is negative or too large for the generators.
    """
    if not 0 <= seed <= LARGEST_SEED:
        raise UserError(f"seed must be from 0 to {LARGEST_SEED}, not {seed}")
    return seed


def process_count() -> int:
    """Return the number of processes that train together; 1 unless ``torchrun`` started more."""
    return int(os.environ.get("WORLD_SIZE", 1)) if "RANK" in os.environ else 1


def process_rank() -> int:
    """Return the rank of this process; rank 0 writes and prints."""
    return int(os.environ["RANK"]) if process_count() > 1 else 0


def processes_here() -> tuple[int, int]:
    """Return the rank of this process on this machine, and the number of processes on it."""
    rank, count = process_rank(), process_count()
    return int(os.environ.get("LOCAL_RANK", rank)), int(os.environ.get("LOCAL_WORLD_SIZE", count))


def check_shares(**totals: int) -> None:
    """Check that each number can be divided evenly among the processes.

    Raises:
        UserError: a number is not a multiple of the number of processes; the text names it.
    """
    count = process_count()
    for name, total in totals.items():
        if total % count:
            raise UserError(f"{name} must be a multiple of {count}, the number of processes, not {total}")


def check_at_least(least: int, **values: int) -> None:
    """Check that no number is below ``least``.

    Raises:
        UserError: a number is; the message names it.
    """
    for name, value in values.items():
        if value < least:
            raise UserError(f"{name} must be at least {least}, not {value}")


def check_learning_rates(
    learning_rate: float, final_learning_rate: float, max_grad_norm: float | None
) -> None:
    """Check learning rates and the gradient norm.

    Raises:
        UserError: a number is out of range; the message names it.
    """
    for name, rate in (("learning_rate", learning_rate), ("final_learning_rate", final_learning_rate)):
        if not 0 <= rate < float("inf") or (name == "learning_rate" and rate == 0):
            raise UserError(f"{name} must be finite and {'above' if rate == 0 else 'at least'} 0, not {rate}")
    if max_grad_norm is not None and not 0 < max_grad_norm < float("inf"):
        raise UserError(
            f"max_grad_norm must be finite and above 0, or None for no clipping, not {max_grad_norm}"
        )


def set_up_torch(device: str, threads: int | None) -> None:
    """Set the number of threads, and check that the device is available.

    Several processes of one training share the machine: each has its own GPU, and an equal part of the cores.

    Raises:
        UserError: the device is not available, or the number is below 1, or so large that OpenMP would crash.
    """
    import torch

    if device == "cuda" and not torch.cuda.is_available():
        raise UserError("device cuda is not available on this machine: use --device cpu or auto")
    number, count = processes_here()
    if count > 1 and device != "cpu" and torch.cuda.is_available():
        if torch.cuda.device_count() < count:
            raise UserError(
                f"{count} processes need a GPU each, but there are {torch.cuda.device_count()}: start fewer "
                "processes, or use --device cpu"
            )
        torch.cuda.set_device(number)
    if threads is None and count > 1:
        threads = max(1, processors() // count)
    if threads is not None:
        most = _MOST_THREADS_PER_CORE * (os.cpu_count() or 1)
        if not 1 <= threads <= most:
            raise UserError(
                f"threads must be from 1 to {most} on this machine, or None for torch's own choice, not "
                f"{threads}"
            )
        torch.set_num_threads(threads)


def processors() -> int:
    """Return the number of processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def machine(device: str) -> dict[str, str | int | None]:
    """Return the model and number of processors, the system, and the GPU if one was used.

    Args:
        device: device of the network, as named by torch.
    """
    import torch

    return {
        "processor": processor_name(),
        "processors": os.cpu_count(),
        "system": platform.system(),
        "gpu": torch.cuda.get_device_name(device) if device.startswith("cuda") else None,
    }


def processor_name() -> str:
    """Return the processor's model, on Linux from /proc/cpuinfo, which ``platform`` does not read."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # glibc's malloc.h
_MOST = 2**31 - 1


def keep_freed_memory() -> bool:
    """Let this process keep the memory of freed CPU tensors and reuse it for later ones.

    glibc returns large blocks to the system, so that the next step waits while the system zeroes new
    ones. Training then takes 1.2 to 1.5 times as long (measured for the one-shot network, the maze with one
    environment, and RecurrentPPO). In return, the process never shrinks below its peak size. The setting
    is permanent and affects the whole process, so use it in programs that only train.

    Returns:
        True if it took effect; False if the C library is not glibc, and then nothing changed.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return bool(mallopt(_M_MMAP_THRESHOLD, _MOST)) and bool(mallopt(_M_TRIM_THRESHOLD, _MOST))
