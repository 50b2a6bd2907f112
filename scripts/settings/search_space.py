"""Search spaces: the settings that a search may change, with their ranges; every preset has one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True)
class Between:
    """A range of numbers from ``low`` to ``high``.

    Attributes:
        low, high: the bounds.
        log: draw uniformly on a logarithmic scale instead of a linear one.
    """

    low: float
    high: float
    log: bool = True

    def __contains__(self, value: object) -> bool:
        return isinstance(value, (int, float)) and self.low <= value <= self.high


@dataclass(frozen=True)
class OneOf:
    """A choice from a few values."""

    choices: tuple[str, ...]

    def __contains__(self, value: object) -> bool:
        return value in self.choices


SearchSpace: TypeAlias = Mapping[str, Between | OneOf]
"""Ranges and choices by the name of the setting."""

RULES = OneOf(("hebb", "oja", "clipped"))
