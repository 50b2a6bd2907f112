"""How the benchmarks measure: interleaved, medians, peak memory, and on what machine."""

import os
import platform
import re
import statistics
import time
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path

from plasticrl.scripts.machine import processor_name


def interleaved(cases: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Median seconds of each case, the cases taking turns so that all see the same machine.

    Each case runs once more beforehand, unmeasured: compilation and caches.
    """
    for case in cases.values():
        case()
    times: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(rounds):
        for name, case in cases.items():
            began = time.perf_counter()
            case()
            times[name].append(time.perf_counter() - began)
    return {name: statistics.median(measured) for name, measured in times.items()}


def peak_memory(case: Callable[[], object]) -> float:
    """Largest resident memory while ``case`` runs, above what there was before, in MB; Linux only.

    Run it in a process of its own: freed memory that the allocator kept would hide what is used.
    """
    before = _status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak
    case()
    return (_status("VmHWM") - before) / 1024


def machine() -> dict[str, str | int | list[str]]:
    """What the numbers were measured on."""
    import torch

    cpuinfo = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    flags = set(re.findall(r"\b(avx2|avx512f|neon|asimd)\b", cpuinfo))
    return {
        "processor": processor_name(),
        "cores": os.cpu_count() or 1,
        "vector_units": sorted(flags),
        "torch_threads": torch.get_num_threads(),
        "python": platform.python_version(),
        **{package: version(package) for package in ("torch", "numba", "numpy", "stable-baselines3")},
    }


def _status(field: str) -> int:
    line = re.search(rf"{field}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert line is not None
    return int(line.group(1))
