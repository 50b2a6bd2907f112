"""Memory for kernels: float32 tensors on the CPU, and their addresses."""

from collections.abc import Sequence

import torch
from torch import Tensor


def empty(*shape: int) -> Tensor:
    """Return uninitialised memory for a kernel's output, independent of torch's default dtype and device."""
    return torch.empty(*shape, dtype=torch.float32, device="cpu")


def zeros(*shape: int) -> Tensor:
    """Return zeros for a kernel to add to or to read."""
    return torch.zeros(*shape, dtype=torch.float32, device="cpu")


def ones(*shape: int) -> Tensor:
    """Return ones for a kernel to read."""
    return torch.ones(*shape, dtype=torch.float32, device="cpu")


def contiguous(tensors: Sequence[Tensor | None]) -> list[Tensor | None]:
    """Return contiguous tensors; keep them alive until the kernel has finished with their addresses."""
    return [None if tensor is None else tensor.contiguous() for tensor in tensors]


def addresses(tensors: Sequence[Tensor | None]) -> list[int]:
    """Return the address of each tensor; 0 for None."""
    return [0 if tensor is None else tensor.data_ptr() for tensor in tensors]
