"""Checks of arguments; their errors name the argument, its value and the allowed range."""

import os
from collections.abc import Iterable
from math import ceil, isfinite, isnan
from numbers import Integral, Real
from typing import Any, TypeGuard

import numpy as np


def with_home(folder: str | None) -> str | None:
    """Return the path of a folder with the home folder in place of ``~``, which no shell expanded."""
    return None if folder is None else os.path.expanduser(folder)


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


MOST_STEPS = 2**63 - 1
MOST_SIZE = 2**31 - 1  # far beyond any memory; numpy's and torch's own errors are hard to read


def plain_number(value: Any) -> Any:
    """Return a number of numpy, or the only one of an array or tensor, as Python's own; others unchanged."""
    # Torch is not imported for this: environments use the module, too.
    return value.item() if getattr(value, "ndim", None) == 0 and hasattr(value, "item") else value


def check_whole(name: str, value: Any, *, least: int | None = None, most: int | None = None) -> int:
    """Return a whole number as a plain int; True counts as 1, and 2.0 as 2.

    Raises:
        ValueError: it is not a whole number, or out of range; the message names the argument and its range.
    """
    number = plain_number(value)
    whole = isinstance(number, int) or (isinstance(number, float) and number.is_integer())
    if not whole or (least is not None and number < least) or (most is not None and number > most):
        allowed = "" if least is None else f" of at least {least}"
        allowed += "" if most is None else f" and at most {most}"
        raise ValueError(f"{name} must be a whole number{allowed}, not {value!r}")
    return int(number)


def check_size(name: str, value: int) -> int:
    """Return the size of a layer as a plain int; only a whole number of Python or numpy is accepted.

    Raises:
        ValueError: it is not above 0, or is too large; the message names the argument.
    """
    if not isinstance(value, Integral) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{name} must be an integer above 0, not {value!r}")
    if value > MOST_SIZE:
        raise ValueError(f"{name} must be at most {MOST_SIZE}, not {value}")
    return int(value)


def check_choice(name: str, value: object, choices: Iterable[str]) -> None:
    """Check that ``value`` is one of a few names.

    Raises:
        ValueError: it is not; the message lists them.
    """
    names = list(choices)
    if value not in names:
        raise ValueError(f"unknown {name} {value!r}: choose one of {', '.join(map(repr, names))}")


def check_flag(name: str, value: Any) -> bool:
    """Return a flag as a plain bool; 0, 1 and numpy's bools are accepted.

    Raises:
        ValueError: it is something else; the message names the argument.
    """
    flag = plain_number(value)
    if not isinstance(flag, (bool, int)) or flag not in (0, 1):
        raise ValueError(f"{name} must be True or False, not {value!r}")
    return bool(flag)


def whole_steps(name: str, steps: Any) -> int:
    """Round a number of steps up to a whole one: 1000.5 gives 1,001; infinity gives the largest int64.

    Raises:
        ValueError: it is not a number, or is below 0.
    """
    number = plain_number(steps)
    if not is_number(number) or isnan(number) or number < 0:
        raise ValueError(f"{name} must be a number of at least 0, not {steps!r}")
    return ceil(min(number, MOST_STEPS))


def check_number(name: str, value: float, *, least: float = 0.0, most: float | None = None) -> float:
    """Return a finite number within ``least`` and ``most``, ends included, as a plain Python number.

    Raises:
        ValueError: it is not such a number; the message names the argument and its range.
    """
    if not is_number(value) or not isfinite(value) or value < least or (most is not None and value > most):
        allowed = f"between {least:g} and {most:g}" if most is not None else f"finite and at least {least:g}"
        raise ValueError(f"{name} must be {allowed}, not {value!r}")
    return _own(value)


def check_above_zero(name: str, value: Any) -> float:
    """Return a finite number above 0 as a plain Python number.

    Raises:
        ValueError: it is not such a number; the message names the argument.
    """
    if not (is_number(value) and isfinite(value) and value > 0):
        raise ValueError(f"{name} must be finite and above 0, not {value!r}")
    return _own(value)


def check_schedule(name: str, value: Any) -> Any:
    """Return a number above 0 as a plain Python number, or a function of the remaining progress as it is.

    Raises:
        ValueError: it is neither; the message names the argument.
    """
    if not callable(value) and not (is_number(value) and isfinite(value) and value > 0):
        raise ValueError(f"{name} must be finite and above 0, or a function, not {value!r}")
    return value if callable(value) else _own(value)


def check_max_grad_norm(norm: float) -> float:
    """Return the norm to which gradients are clipped as a plain Python number; infinity means no clipping.

    Raises:
        ValueError: it is not a number above 0.
    """
    if not (is_number(norm) and norm > 0):
        raise ValueError(f"max_grad_norm must be above 0 (math.inf: no clipping), not {norm!r}")
    return _own(norm)


def check_max_grad_ratio(ratio: float, max_grad_norm: float = 1.0) -> float:
    """Return the largest allowed ratio of a gradient's norm to the usual one; infinity allows all.

    Raises:
        ValueError: it is not a number above 1, or is finite although ``max_grad_norm`` is not.
    """
    if not (is_number(ratio) and ratio > 1):
        raise ValueError(f"max_grad_ratio must be above 1 (math.inf: no update is skipped), not {ratio!r}")
    if isfinite(ratio) and not isfinite(max_grad_norm):
        raise ValueError("max_grad_ratio must be math.inf if max_grad_norm is: give a finite max_grad_norm")
    return _own(ratio)


def _own(number: Any) -> float:
    """Convert a number to a plain Python number; an int stays an int."""
    return number if type(number) in (int, float) else float(number)
