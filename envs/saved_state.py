"""What the environments' ``state_dict`` and ``load_state_dict`` share: generators, and checks by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def generator_states(rngs: Sequence[np.random.Generator]) -> list[dict[str, Any]]:
    """The states of generators, as numbers."""
    return [dict(rng.bit_generator.state) for rng in rngs]


def restored_generators(states: Any, count: int) -> list[np.random.Generator]:
    """Generators in the states that :func:`generator_states` told.

    Args:
        states: what was told.
        count: how many there must be.

    Raises:
        ValueError: they are not the states of ``count`` generators of Gymnasium's kind.
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
    """``saved[name]``.

    Raises:
        ValueError: ``saved`` is no mapping, or has no such entry.
    """
    if not isinstance(saved, Mapping) or name not in saved:
        raise ValueError(f"the saved state has no {name!r}")
    return saved[name]


def whole_numbers(name: str, value: Any, shape: tuple[int, ...], least: Any, most: Any) -> NDArray[np.intp]:
    """A copy of an integer array.

    Args:
        name: for the error.
        value: the array.
        shape: it must have.
        least: smallest allowed element, or an array of them.
        most: largest allowed element, or an array of them.

    Raises:
        ValueError: it is something else.
    """
    array = array_of(name, value, shape, "iu").astype(np.intp)
    if (array < least).any() or (array > most).any():
        raise ValueError(f"{name} must be between {least} and {most}, got {array.tolist()}")
    return array


def array_of(name: str, value: Any, shape: tuple[int, ...], kinds: str) -> NDArray[Any]:
    """A copy of the array.

    Args:
        name: for the error.
        value: the array.
        shape: it must have.
        kinds: allowed kinds of its dtype, as numpy's one-letter codes.

    Raises:
        ValueError: it is no array, or has another shape or dtype.
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
    """A copy of an array of finite floating-point numbers.

    Args:
        name: for the error.
        value: the array.
        shape: it must have.
        low: smallest allowed element, or an array of them.
        high: largest allowed element, or an array of them.

    Raises:
        ValueError: it is something else.
    """
    array = array_of(name, value, shape, "f")
    if not (np.isfinite(array) & (array >= low) & (array <= high)).all():
        raise ValueError(f"{name} must be finite and within its bounds")
    return array
