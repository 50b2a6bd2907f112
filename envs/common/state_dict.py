"""Helpers of the environments' ``state_dict`` and ``load_state_dict``: generators, and checks of values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def generator_states(rngs: Sequence[np.random.Generator]) -> list[dict[str, Any]]:
    """Return the states of generators as numbers."""
    return [dict(rng.bit_generator.state) for rng in rngs]


def restored_generators(states: Any, count: int) -> list[np.random.Generator]:
    """Return generators in the states that :func:`generator_states` returned.

    Args:
        states: the saved states.
        count: required number of generators.

    Raises:
        ValueError: ``states`` are not the states of ``count`` generators of Gymnasium's kind, PCG64.
    """
    if not isinstance(states, Sequence) or len(states) != count:
        raise ValueError(f"generators must be {count} states, one for each environment")
    rngs = [np.random.Generator(np.random.PCG64(0)) for _ in states]
    for rng, state in zip(rngs, states, strict=True):
        try:
            rng.bit_generator.state = state
        except (TypeError, ValueError, KeyError, OverflowError) as error:
            raise ValueError(f"generators must be states of PCG64 ({error!r})") from error
    return rngs


def entry(saved: Any, name: str) -> Any:
    """Return ``saved[name]``.

    Raises:
        ValueError: ``saved`` is not a mapping, or has no such entry.
    """
    if not isinstance(saved, Mapping) or name not in saved:
        raise ValueError(f"the saved state has no {name!r}")
    return saved[name]


def check_settings(saved: Any, settings: Mapping[str, Any]) -> None:
    """Check that the saved episodes are of an environment with these settings.

    Raises:
        ValueError: they are of one with others.
    """
    found = entry(saved, "settings")
    if found != settings:
        raise ValueError(f"the saved episodes have the settings {found}, these have {settings}")


def step_number(value: Any, most: int) -> int:
    """Return the number of a batch's step after checking it.

    Raises:
        ValueError: it is not a whole number from 0 to ``most``.
    """
    if type(value) is not int or not 0 <= value <= most:
        raise ValueError(f"step must be an integer between 0 and {most}, got {value!r}")
    return value


def whole_numbers(name: str, value: Any, shape: tuple[int, ...], least: Any, most: Any) -> NDArray[np.intp]:
    """Return a copy of an integer array after checking it; the bounds may be arrays.

    Raises:
        ValueError: ``value`` is not such an array.
    """
    array = array_of(name, value, shape, "iu").astype(np.intp)
    if (array < least).any() or (array > most).any():
        raise ValueError(f"{name} must be between {least} and {most}, got {array.tolist()}")
    return array


def array_of(name: str, value: Any, shape: tuple[int, ...], kinds: str) -> NDArray[Any]:
    """Return a copy of an array after checking it.

    Args:
        name: name for the error message.
        value: the array.
        shape: its required shape.
        kinds: allowed kinds of its dtype, as numpy's one-letter codes.

    Raises:
        ValueError: ``value`` is not an array, or has another shape or dtype.
    """
    if not isinstance(value, np.ndarray) or value.shape != shape or value.dtype.kind not in kinds:
        got = (
            f"{value.dtype} of shape {value.shape}" if isinstance(value, np.ndarray) else type(value).__name__
        )
        raise ValueError(f"{name} must be an array of shape {shape} and kind {kinds!r}, got {got}")
    copy: NDArray[Any] = value.copy()
    return copy


def finite_array(
    name: str, value: Any, shape: tuple[int, ...], low: Any = -np.inf, high: Any = np.inf
) -> NDArray[Any]:
    """Return a copy of an array of finite floating-point numbers after checking it; the bounds may be arrays.

    Raises:
        ValueError: ``value`` is not such an array.
    """
    array = array_of(name, value, shape, "f")
    if not (np.isfinite(array) & (array >= low) & (array <= high)).all():
        raise ValueError(f"{name} must be finite and within its bounds")
    return array
