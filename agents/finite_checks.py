"""Stops a training whose numbers are no longer finite, before they reach the parameters."""

from collections.abc import Mapping

import torch
from torch import Tensor


class NonFiniteError(FloatingPointError):
    """A tensor of a training holds NaN or infinity; the text names it and the update."""


def first_non_finite(tensors: Mapping[str, Tensor | None]) -> str | None:
    """Name of the first tensor that is not finite throughout, None where all are."""
    for name, tensor in tensors.items():
        if tensor is not None and not torch.isfinite(tensor).all():
            return name
    return None
