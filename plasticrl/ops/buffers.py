"""Memory that kernels read and write: float32 on the CPU, and bare addresses of it."""

from collections.abc import Sequence

import torch
from torch import Tensor


def empty(*shape: int) -> Tensor:
    """Room for what a kernel writes, whatever torch's default dtype and device are."""
    return torch.empty(*shape, dtype=torch.float32, device="cpu")


def zeros(*shape: int) -> Tensor:
    """Zeros that a kernel adds to or reads."""
    return torch.zeros(*shape, dtype=torch.float32, device="cpu")


def ones(*shape: int) -> Tensor:
    """Ones that a kernel reads."""
    return torch.ones(*shape, dtype=torch.float32, device="cpu")


def contiguous(tensors: Sequence[Tensor | None]) -> list[Tensor | None]:
    """The tensors as kernels read them; hold these until the kernel is done with their addresses."""
    return [
        None if tensor is None else (tensor.resolve_neg() if tensor.is_neg() else tensor).contiguous()
        for tensor in tensors
    ]


def addresses(tensors: Sequence[Tensor | None]) -> list[int]:
    """Of each tensor; 0 for none.

    Raises:
        RuntimeError: a tensor keeps its numbers elsewhere.
    """
    return [0 if tensor is None else tensor.data_ptr() or _no_address(tensor) for tensor in tensors]


def _no_address(tensor: Tensor) -> int:
    if tensor.numel():
        raise RuntimeError(
            f"a {type(tensor).__name__} has no memory that a kernel can read: "
            'call plastic_scan or the core with backend="reference"'
        )
    return 0
