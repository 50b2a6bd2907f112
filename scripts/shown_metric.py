"""A metric as it is shown: its name, how it is written, and which way is better."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple


class ShownMetric(NamedTuple):
    """One metric.

    Attributes:
        name: as the learner calls it.
        label: in tables.
        form: writes a value.
        sign: 1 where more is better, -1 where less is.
    """

    name: str
    label: str
    form: Callable[[float], str]
    sign: int

    def text(self, value: float | None) -> str:
        """A value; None is infinite."""
        return "∞" if value is None else self.form(value)
