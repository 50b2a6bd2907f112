"""Checks of task arguments; the errors name the argument."""

from numbers import Real
from typing import Any, TypeGuard

import numpy as np


def check_count(name: str, value: int, *, least: int = 1) -> int:
    """Return ``value`` as a plain int if it is a whole number of at least ``least``.

    Raises:
        ValueError: it is not; the message gives the argument's name, its value and the allowed range.
    """
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
        raise ValueError(f"{name} must be a whole number, at least {least}, got {value!r}")
    return int(value)


def is_number(value: Any) -> TypeGuard[float]:
    """Return True for a real number, of Python or numpy, except True and False themselves."""
    return isinstance(value, Real) and not isinstance(value, bool)
