"""Learning rates as plain values, as far as they can be."""

from __future__ import annotations

from typing import Any

from stable_baselines3.common.utils import ConstantSchedule, FloatSchedule, LinearSchedule


def plain_rate(rate: Any) -> Any:
    """A number, SB3's schedules as their arguments, None for any other function."""
    if isinstance(rate, FloatSchedule):
        rate = rate.value_schedule
    if isinstance(rate, ConstantSchedule):
        rate = rate.val
    if isinstance(rate, LinearSchedule):
        return [float(rate.start), float(rate.end), float(rate.end_fraction)]
    return None if callable(rate) else float(rate)


def rate_from_plain(plain: Any) -> Any:
    """The learning rate that :func:`plain_rate` was given, except for functions.

    Raises:
        TypeError, ValueError: ``plain`` was not made by it.
    """
    return LinearSchedule(*map(float, plain)) if isinstance(plain, list) else plain
