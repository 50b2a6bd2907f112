"""Mixed precision stays outside: errors of half precision would add up in the trace."""

from contextlib import AbstractContextManager, nullcontext

import torch


def is_on(device: torch.device) -> bool:
    """Whether ``torch.autocast`` is at work on this kind of device."""
    return torch.amp.is_autocast_available(device.type) and torch.is_autocast_enabled(device.type)


def off(device: torch.device) -> AbstractContextManager[object]:
    """A block in which it is not."""
    return torch.autocast(device.type, enabled=False) if is_on(device) else nullcontext()
