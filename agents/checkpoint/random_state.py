"""Saving and restoring the global random generators of Python, numpy and torch."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

_KEY = 624  # words of the Mersenne Twister's state


def random_states(device: torch.device) -> dict[str, Any]:
    """Return the states of all generators, as plain values, arrays and tensors.

    Args:
        device: device of the learner; torch has a generator for each device.
    """
    version, words, gauss = random.getstate()
    _, key, position, has_gauss, numpy_gauss = np.random.get_state()  # noqa: NPY002 (the global one is meant)
    return {
        "python": [version, list(words), gauss],
        "numpy": [np.asarray(key, dtype=np.int64), position, has_gauss, numpy_gauss],
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state(device) if device.type == "cuda" else None,
    }


def check_random_states(states: Any) -> None:
    """Check that :func:`restore_random_states` accepts these states.

    Raises:
        ValueError: they were not returned by :func:`random_states`.
    """
    try:
        python, key, torch_state = _parts(states)
        random.Random().setstate(python)
        np.random.RandomState().set_state(key)
        torch.Generator().set_state(torch_state)
        if states["cuda"] is not None and states["cuda"].dtype != torch.uint8:
            raise ValueError("cuda must be bytes")
    except (KeyError, TypeError, ValueError, OverflowError, RuntimeError, AttributeError) as error:
        raise ValueError(f"not the states of random generators ({error})") from error


def restore_random_states(states: dict[str, Any], device: torch.device) -> None:
    """Set all generators to the states that :func:`random_states` returned."""
    python, key, torch_state = _parts(states)
    random.setstate(python)
    np.random.set_state(key)  # noqa: NPY002
    torch.set_rng_state(torch_state)
    if device.type == "cuda" and states["cuda"] is not None:
        torch.cuda.set_rng_state(states["cuda"], device)


@contextmanager
def undisturbed(device: torch.device) -> Iterator[None]:
    """Restore all generators at the end of the block, as if no random number had been drawn in it."""
    before = random_states(device)
    try:
        yield
    finally:
        restore_random_states(before, device)


def _parts(states: Any) -> tuple[Any, Any, torch.Tensor]:
    version, words, gauss = states["python"]
    key, position, has_gauss, numpy_gauss = states["numpy"]
    if key.shape != (_KEY,) or not 0 <= position <= _KEY:  # numpy would read beyond the array
        raise ValueError(f"numpy's position must be between 0 and {_KEY}, got {position}")
    return (
        (version, tuple(words), gauss),
        ("MT19937", key.astype(np.uint32), position, has_gauss, numpy_gauss),
        states["torch"],
    )
