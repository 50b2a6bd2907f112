"""Detection and disabling of autocast, since errors of half precision would accumulate in the trace."""

from contextlib import AbstractContextManager, nullcontext

import torch


def is_on(device: torch.device) -> bool:
    """Return True if ``torch.autocast`` is enabled for this type of device."""
    return torch.amp.is_autocast_available(device.type) and torch.is_autocast_enabled(device.type)


def off(device: torch.device) -> AbstractContextManager[object]:
    """Return a context manager that disables ``torch.autocast`` for this type of device."""
    return torch.autocast(device.type, enabled=False) if is_on(device) else nullcontext()
