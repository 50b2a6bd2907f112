"""A metric for display: its name, its format, and the direction that is better."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple


class ShownMetric(NamedTuple):
    """One metric.

    Attributes:
        name: the learner's name for it.
        label: the name in tables.
        form: formats a value.
        sign: 1 if higher is better, -1 if lower is better.
    """

    name: str
    label: str
    form: Callable[[float], str]
    sign: int

    def text(self, value: float | None) -> str:
        """Format a value; None means infinite."""
        return "∞" if value is None else self.form(value)
