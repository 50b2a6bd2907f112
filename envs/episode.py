"""What a supervised task is here: something that draws whole lifetimes, many side by side."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


class Episode(NamedTuple):
    """B lifetimes of T steps, time first: what is shown, and what is asked at the end.

    ``target_mask`` judges at least one step of every episode; the environments check it.

    A completion task (patterns, images) asks for a vector and may have ``clamp`` and ``hidden``; a
    classification task (Omniglot) has ``labels`` and asks for a class.
    """

    inputs: NDArray[np.float32]  # (T, B, *input_shape)
    clamp: NDArray[np.bool_] | None  # (T, B, D): elements of the input that neurons are held at
    labels: NDArray[np.int64] | None  # (T, B): class told with the input, -1 where none is
    target: NDArray[Any]  # (B, D) float32, or (B,) int64
    target_mask: NDArray[np.bool_]  # (T, B): steps whose output is judged
    hidden: NDArray[np.bool_] | None  # (B, D): elements that the query does not show; None: untold
    picture: NDArray[np.int64] | None = None  # (T, B): equal where the inputs are, if the task knows

    def rows(self, own: slice) -> Episode:
        """Some of the B lifetimes."""
        return Episode(
            self.inputs[:, own],
            None if self.clamp is None else self.clamp[:, own],
            None if self.labels is None else self.labels[:, own],
            self.target[own],
            self.target_mask[:, own],
            None if self.hidden is None else self.hidden[own],
            None if self.picture is None else self.picture[:, own],
        )


class EpisodeTask(ABC):
    """Draws batches of episodes from a seeded generator; holds no random state of its own.

    Attributes:
        steps: T, steps of one episode.
        input_shape: shape of one step's input: ``(D,)``, or ``(height, width)`` of an image.
        n_classes: N of a classification task; None for a completion task.
        input_bound: no input is larger than this, in absolute value.
    """

    steps: int
    input_shape: tuple[int, ...]
    n_classes: int | None = None
    input_bound: float = 1.0

    @abstractmethod
    def sample(self, batch_size: int, rng: np.random.Generator) -> Episode:
        """Draw ``batch_size`` episodes, independent unless the task says otherwise.

        Args:
            batch_size: B, at least 1.
            rng: the only source of randomness: the same state gives the same episodes.

        Raises:
            ValueError: ``batch_size`` is below 1.
        """


def check_task(name: str, task: Any) -> None:
    """Nothing, where it is a task.

    Raises:
        TypeError: it is something else; the text names the argument.
    """
    if not isinstance(task, EpisodeTask):
        raise TypeError(f"{name} must be an EpisodeTask, such as PatternsTask(), got {task!r}")
