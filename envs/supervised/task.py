"""Supervised tasks, which draw batches of whole lifetimes, and the schedule of those that show a set."""

from __future__ import annotations

import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from plasticrl.arguments import check_count


class Episode(NamedTuple):
    """B episodes of T steps, time first: the inputs, and the target that the network should output.

    ``target_mask`` is true at one or more steps of every episode; the environments check it.

    A completion task (patterns, images) has a vector as target and may set ``clamp`` and ``hidden``. A
    classification task (Omniglot) sets ``labels`` and has a class as target, or one for each step. If many
    steps show the same few inputs, ``inputs`` may hold each of them once, and ``picture`` which one is shown.
    """

    inputs: NDArray[np.float32]  # (T, B, *input_shape), or with picture (P, *input_shape)
    clamp: NDArray[np.bool_] | None  # (T, B, D): input elements that clamp their neurons
    labels: NDArray[np.int64] | None  # (T, B): label shown with the input, -1 for none
    target: NDArray[Any]  # (B, D) float32, (B,) int64, or (T, B) int64
    target_mask: NDArray[np.bool_]  # (T, B): steps whose output is scored
    hidden: NDArray[np.bool_] | None  # (B, D): elements hidden in the query; None: unknown
    picture: NDArray[np.int64] | None = None  # (T, B): the input of each step, 0 to P - 1

    def rows(self, own: slice) -> Episode:
        """Return the episodes of a slice of the batch."""
        return Episode(
            self.inputs if self.picture is not None else self.inputs[:, own],
            None if self.clamp is None else self.clamp[:, own],
            None if self.labels is None else self.labels[:, own],
            self.target[own] if self.target.dtype.kind == "f" else self.target[..., own],
            self.target_mask[:, own],
            None if self.hidden is None else self.hidden[own],
            None if self.picture is None else self.picture[:, own],
        )

    def expanded(self) -> Episode:
        """Return the episodes with ``inputs`` (T, B, *input_shape) and without ``picture``."""
        if self.picture is None:
            return self
        return self._replace(inputs=self.inputs[self.picture], picture=None)

    def answers(self) -> NDArray[Any]:
        """Return the target of each episode's last scored step: (B, D), or (B,) for classes."""
        if self.target.dtype.kind == "f" or self.target.ndim == 1:
            return self.target
        steps, batch = self.target_mask.shape
        last = steps - 1 - self.target_mask[::-1].argmax(axis=0)
        answers: NDArray[np.int64] = self.target[last, np.arange(batch)]
        return answers


Predictor: TypeAlias = Callable[[Episode], NDArray[Any]]
"""A function that answers the episodes of a batch: vectors ``(B, D)``, or classes ``(B,)``."""


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

    def references(self) -> Mapping[str, Predictor]:
        """Return the untrained predictors that networks are compared with, by name; none by default."""
        return {}


def check_task(name: str, task: Any) -> None:
    """Raise TypeError unless ``task`` is an ``EpisodeTask``.

    Raises:
        TypeError: it is something else; the message names the argument.
    """
    if not isinstance(task, EpisodeTask):
        raise TypeError(f"{name} must be an EpisodeTask, such as PatternsTask(), got {task!r}")


@dataclass(frozen=True)
class Presentation:
    """A schedule of cycles, each of which shows every item once in random order, and a final query.

    Every presentation lasts ``steps_on`` steps and is followed by ``steps_off`` steps of zeros. This
    includes the last one before the query, as in the programs of Miconi et al. (2018).

    Attributes:
        n_cycles: number of times that the whole set is shown, at least 1.
        steps_on: steps per presentation, at least 1.
        steps_off: steps of zeros after it, at least 0.
        test_steps: steps of the query, at least 1; the last one is scored.

    Raises:
        ValueError: a number is out of range; the message names it.
    """

    n_cycles: int
    steps_on: int
    steps_off: int
    test_steps: int

    def __post_init__(self) -> None:
        for name in ("n_cycles", "steps_on", "test_steps"):
            check_count(name, getattr(self, name))
        check_count("steps_off", self.steps_off, least=0)

    def steps(self, n_items: int) -> int:
        """Return T, the number of steps of an episode with ``n_items`` items."""
        return self.n_cycles * n_items * (self.steps_on + self.steps_off) + self.test_steps

    def show(
        self, items: NDArray[np.float32], query: NDArray[np.float32], rng: np.random.Generator
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Return the inputs (T, B, D) of B episodes, and the mask (T, B) of the step that is scored.

        Args:
            items: (B, n_items, D), the items of each episode.
            query: (B, D), the input of the final steps.
            rng: draws the orders.
        """
        batch, n_items, width = items.shape
        steps = self.steps(n_items)
        order = rng.permuted(np.tile(np.arange(n_items), (batch, self.n_cycles, 1)), axis=2)
        inputs = np.zeros((steps, batch, width), dtype=np.float32)
        showings = inputs[: -self.test_steps].reshape(
            self.n_cycles * n_items, self.steps_on + self.steps_off, batch, width
        )
        for showing, item in zip(showings, order.reshape(batch, -1).T, strict=True):
            showing[: self.steps_on] = items[np.arange(batch), item]
        inputs[-self.test_steps :] = query
        scored = np.zeros((steps, batch), dtype=np.bool_)
        scored[-1] = True
        return inputs, scored


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
