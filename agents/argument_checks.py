"""Checks of constructor arguments that say which one is wrong."""

from math import inf, isfinite
from typing import Any

from plasticrl.envs.argument_checks import is_number


def check_number(name: str, value: float, *, least: float = 0.0, most: float | None = None) -> None:
    """Nothing, where the number is finite and within its range, ends included.

    Raises:
        ValueError: it is not; the text names the argument and its range.
    """
    if not is_number(value) or not isfinite(value) or value < least or (most is not None and value > most):
        allowed = f"between {least:g} and {most:g}" if most is not None else f"finite and at least {least:g}"
        raise ValueError(f"{name} must be {allowed}, not {value!r}")


def check_learning_rate(rate: Any) -> None:
    """Nothing, where it is a number to descend with, or a function that gives one.

    Raises:
        ValueError: it is neither.
    """
    if not callable(rate) and not (is_number(rate) and isfinite(rate) and rate > 0):
        raise ValueError(f"learning_rate must be finite and above 0, or a function, not {rate!r}")


def check_max_grad_norm(norm: float) -> None:
    """Nothing, where gradients can be clipped to it, or are not.

    Raises:
        ValueError: it is not such a number.
    """
    if not (is_number(norm) and norm > 0):
        raise ValueError(f"max_grad_norm must be above 0 (math.inf: no clipping), not {norm!r}")


def check_max_grad_ratio(ratio: float, max_grad_norm: float) -> None:
    """Nothing, where gradients that are so many times the usual one can be left out, or none is.

    Raises:
        ValueError: it is not such a number, or what is too short to be clipped has no limit.
    """
    if not (is_number(ratio) and ratio > 1):
        raise ValueError(f"max_grad_ratio must be above 1 (math.inf: no update is left out), not {ratio!r}")
    if isfinite(ratio) and not isfinite(max_grad_norm):
        raise ValueError(
            "max_grad_ratio must be math.inf where max_grad_norm is: give a finite max_grad_norm"
        )


def check_total_timesteps(total: float) -> None:
    """Nothing, where it is a number of steps to train for; from 0 down there is nothing to do, as in SB3.

    Raises:
        ValueError: it is no finite number.
    """
    if not is_number(total) or total != total or abs(total) == inf:
        raise ValueError(f"total_timesteps must be a finite number, not {total!r}")
