"""Checks of a task's arguments that say which one is wrong."""

from numbers import Real
from typing import Any, TypeGuard

import numpy as np


def check_count(name: str, value: int, *, least: int = 1) -> int:
    """The value itself, as a plain int, where it is a whole number of at least ``least``.

    Raises:
        ValueError: it is not; the text names the argument, what was given and what is allowed.
    """
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
        raise ValueError(f"{name} must be a whole number, at least {least}, got {value!r}")
    return int(value)


def is_number(value: Any) -> TypeGuard[float]:
    """Whether it is a real number, numpy's too; True and False are none."""
    return isinstance(value, Real) and not isinstance(value, bool)
