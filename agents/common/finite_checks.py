"""Checks that stop a training before NaN or infinity reaches the parameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor


class NonFiniteError(FloatingPointError):
    """A tensor of a training holds NaN or infinity; the message names it and the update."""


def first_non_finite(tensors: Mapping[str, Tensor | None]) -> str | None:
    """Return the name of the first tensor with a non-finite element; None if all are finite."""
    for name, tensor in tensors.items():
        # A sum is much cheaper. It is not finite if a term is not, but it may also overflow.
        if tensor is None or tensor.detach().sum().isfinite():
            continue
        if not torch.isfinite(tensor).all():
            return name
    return None


def non_finite_place(arrays: Mapping[str, npt.NDArray[Any]]) -> tuple[int, int] | None:
    """Return the first step and environment of a non-finite element in arrays ``(T, B, ...)``, or None."""
    places = []
    for array in arrays.values():
        finite = np.isfinite(array) if array.dtype.kind == "f" else np.True_
        if not finite.all():
            step, row = np.argwhere(~finite)[0][:2].tolist()
            places.append((step, row))
    return min(places, default=None)
