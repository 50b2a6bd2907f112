"""Supervised tasks: they draw whole lifetimes, many side by side."""

from __future__ import annotations

import zlib
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


_SHAPE = ("steps", "input_shape", "n_classes", "input_bound")  # may be class attributes


def task_fingerprint(task: EpisodeTask) -> str:
    """Return a text that is equal for tasks of one class with equal public attributes, and rarely otherwise.

    Plain values are included as they are, arrays by dtype, shape and checksum, objects that hold settings
    (``Presentation``) by their class and their own plain values, and anything else by its class. Private
    attributes are left out, because they may be caches.
    """
    attributes = {name: getattr(task, name) for name in _SHAPE} | vars(task)
    return _described(task, {name: _text(value) for name, value in attributes.items()})


def _described(thing: object, attributes: dict[str, str]) -> str:
    public = [f"{name}={text}" for name, text in sorted(attributes.items()) if not name.startswith("_")]
    return f"{type(thing).__qualname__}({', '.join(public)})"


def _text(value: Any) -> str:
    if isinstance(value, np.ndarray) and not value.dtype.hasobject:
        content = np.ascontiguousarray(value).reshape(-1).view(np.uint8).data
        return f"<{value.dtype.str} {value.shape} {zlib.crc32(content):08x}>"
    plain = _plain_text(value)
    if plain is None:
        inner = {name: _plain_text(its) or "..." for name, its in getattr(value, "__dict__", {}).items()}
        return _described(value, inner)
    return plain


def _plain_text(value: Any) -> str | None:
    """Return the text of a plain value; None for other values."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, (tuple, list)):
        return f"({', '.join(_plain_text(one) or '...' for one in value)})"
    return repr(value) if value is None or isinstance(value, (str, bool, int, float)) else None
