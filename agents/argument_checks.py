"""Checks of constructor arguments that say which one is wrong."""

from math import isfinite


def check_number(name: str, value: float, *, least: float = 0.0, most: float | None = None) -> None:
    """Nothing, where the number is finite and within its range, ends included.

    Raises:
        ValueError: it is not; the text names the argument and its range.
    """
    if not isfinite(value) or value < least or (most is not None and value > most):
        allowed = f"between {least:g} and {most:g}" if most is not None else f"finite and at least {least:g}"
        raise ValueError(f"{name} must be {allowed}, not {value!r}")
