"""Which settings a search may change, and how far: part of every preset."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True)
class Between:
    """Any number from ``low`` to ``high``.

    Attributes:
        low, high: the bounds.
        log: whether each decade is as probable as another, instead of each number.
    """

    low: float
    high: float
    log: bool = True

    def __contains__(self, value: object) -> bool:
        return isinstance(value, (int, float)) and self.low <= value <= self.high


@dataclass(frozen=True)
class OneOf:
    """One of a few choices."""

    choices: tuple[str, ...]

    def __contains__(self, value: object) -> bool:
        return value in self.choices


SearchSpace: TypeAlias = Mapping[str, Between | OneOf]
"""By the name of the setting."""

RULES = OneOf(("hebb", "oja", "clipped"))
