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
    """The tensors as kernels read them; hold these until the kernel is done with their addresses."""
    return [
        None if tensor is None else (tensor.resolve_neg() if tensor.is_neg() else tensor).contiguous()
        for tensor in tensors
    ]


def addresses(tensors: Sequence[Tensor | None]) -> list[int]:
    """Return the address of each tensor's data; 0 for None.

    Raises:
        RuntimeError: a tensor has no data in memory.
    """
    return [0 if tensor is None else tensor.data_ptr() or _no_address(tensor) for tensor in tensors]


def _no_address(tensor: Tensor) -> int:
    if tensor.numel():
        raise RuntimeError(
            f"a {type(tensor).__name__} has no memory that a kernel can read: "
            'call plastic_scan or the core with backend="reference"'
        )
    return 0
