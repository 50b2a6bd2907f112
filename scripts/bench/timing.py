"""Measurements of the benchmarks: interleaved timing, peak memory, and a description of the machine."""

import os
import platform
import re
import statistics
import time
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path

from plasticrl.scripts.tasks.task import processor_name


def interleaved(
    cases: Mapping[str, Callable[[], object]],
    rounds: int,
    summary: Callable[[list[float]], float] = statistics.median,
) -> dict[str, float]:
    """Return the seconds of each case; the cases take turns, so that all meet the same conditions.

    Each case first runs once without measurement, to compile and to fill caches.

    Args:
        cases: what to measure, by name.
        rounds: number of measurements of each case.
        summary: the number to return for a case's measurements; by default their median.
    """
    for case in cases.values():
        case()
    times: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(rounds):
        for name, case in cases.items():
            began = time.perf_counter()
            case()
            times[name].append(time.perf_counter() - began)
    return {name: summary(measured) for name, measured in times.items()}


def peak_memory(case: Callable[[], object]) -> float:
    """Return the peak resident memory while ``case`` runs, above the level before it, in MB; Linux only.

    Run it in a separate process: freed memory kept by the allocator would hide part of the use.
    """
    before = _status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak
    case()
    return (_status("VmHWM") - before) / 1024


def machine() -> dict[str, str | int | list[str]]:
    """Describe the machine and the versions that the numbers were measured with."""
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
