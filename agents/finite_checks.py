"""Stops a training whose numbers are no longer finite, before they reach the parameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor


class NonFiniteError(FloatingPointError):
    """A tensor of a training holds NaN or infinity; the text names it and the update."""


def first_non_finite(tensors: Mapping[str, Tensor | None]) -> str | None:
    """Name of the first tensor that is not finite throughout, None where all are."""
    for name, tensor in tensors.items():
        # A sum is much cheaper, and is not finite where a term is not (nor where large ones overflow).
        if tensor is None or tensor.detach().sum().isfinite():
            continue
        if not torch.isfinite(tensor).all():
            return name
    return None


def non_finite_place(arrays: npt.NDArray[Any] | dict[str, npt.NDArray[Any]]) -> tuple[int, int] | None:
    """First step and environment at which an array ``(T, B, ...)`` is not finite; None where it is."""
    places = []
    for array in arrays.values() if isinstance(arrays, dict) else [arrays]:
        finite = np.isfinite(array) if array.dtype.kind == "f" else np.True_
        if not finite.all():
            step, row = np.argwhere(~finite)[0][:2].tolist()
            places.append((step, row))
    return min(places, default=None)
