"""Supervised tasks: an interface that draws batches of complete episodes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


class Episode(NamedTuple):
    """B episodes of T steps, time first: the inputs, and the target that the network should output.

    ``target_mask`` is true at one or more steps of every episode; the environments check it.

    A completion task (patterns, images) has a vector as target and may set ``clamp`` and ``hidden``. A
    classification task (Omniglot) sets ``labels`` and has a class as target.
    """

    inputs: NDArray[np.float32]  # (T, B, *input_shape)
    clamp: NDArray[np.bool_] | None  # (T, B, D): input elements that clamp their neurons
    labels: NDArray[np.int64] | None  # (T, B): label shown with the input, -1 for none
    target: NDArray[Any]  # (B, D) float32, or (B,) int64
    target_mask: NDArray[np.bool_]  # (T, B): steps whose output is scored
    hidden: NDArray[np.bool_] | None  # (B, D): elements hidden in the query; None: unknown
    picture: NDArray[np.int64] | None = None  # (T, B): equal numbers for equal inputs; None: unknown

    def rows(self, own: slice) -> Episode:
        """Return the episodes of a slice of the batch."""
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
    """A distribution of episodes, drawn in batches from a seeded generator; it holds no random state.

    Attributes:
        steps: T, the number of steps per episode.
        input_shape: shape of the input at one step: ``(D,)``, or ``(height, width)`` for an image.
        n_classes: N, the number of classes; None for a completion task.
        input_bound: upper bound on the absolute value of the inputs.
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
    """Raise TypeError unless ``task`` is an ``EpisodeTask``.

    Raises:
        TypeError: it is something else; the message names the argument.
    """
    if not isinstance(task, EpisodeTask):
        raise TypeError(f"{name} must be an EpisodeTask, such as PatternsTask(), got {task!r}")
