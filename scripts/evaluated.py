"""How good a network is: what an evaluation tells to the commands, whatever its task."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, NamedTuple

EVALUATION_SEEDS = 1_000_000  # added to a run's seed, so that it is not evaluated on its training episodes


class Scores(ABC):
    """Scores over some episodes."""

    episodes: int

    @abstractmethod
    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""

    @abstractmethod
    def summary(self) -> str:
        """The most important ones, in half a line."""

    @abstractmethod
    def scalars(self) -> dict[str, float]:
        """What TensorBoard gets, by the name after ``eval/``."""

    @abstractmethod
    def rows(self) -> list[tuple[str, str]]:
        """All of them, named, for a table."""


class Evaluated(NamedTuple):
    """What evaluating a checkpoint gave.

    Attributes:
        scores: how good it is.
        trained: how long it had been trained, in words.
        about: how it was evaluated, beside seed and checkpoint, for JSON.
    """

    scores: Scores
    trained: str
    about: dict[str, Any]
