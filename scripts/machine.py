"""What a training ran on, in words that tell one kind of machine from another."""

from __future__ import annotations

import os
import platform
from pathlib import Path


def machine(device: str) -> dict[str, str | int | None]:
    """Kind of the processor, how many there are, the system, and the GPU where one computed.

    Args:
        device: of the network, as torch calls it.
    """
    import torch

    return {
        "processor": processor_name(),
        "processors": os.cpu_count(),
        "system": platform.system(),
        "gpu": torch.cuda.get_device_name(device) if device.startswith("cuda") else None,
    }


def processor_name() -> str:
    """The model; Linux keeps its name elsewhere than ``platform`` looks."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
