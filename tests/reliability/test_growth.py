"""A long training takes no more memory and no more files than a short one."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from children import finished

WARM_UP = 200_000
MEGABYTE = 2**20


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is read from Linux's /proc")
def test_memory_and_open_files_do_not_grow(
    tmp_path: Path, soak: bool, figures: Callable[..., None], request: pytest.FixtureRequest
) -> None:
    if not soak:
        pytest.skip("takes a million steps: make soak")
    found = finished(
        "measure_growth", tmp_path / "said", 900, folder=str(tmp_path), steps=1_000_000, every=50_000
    )
    steps, memory, handles = np.array([row for row in found if row[0] >= WARM_UP]).T
    assert steps[-1] >= 1_000_000
    growth = np.polyfit(steps / 100_000, memory / MEGABYTE, 1)[0]
    figures(
        "growth",
        steps=int(steps[-1]),
        megabytes_per_100k_steps=round(float(growth), 3),
        megabytes_at_200k=round(memory[0] / MEGABYTE, 1),
        megabytes_at_end=round(memory[-1] / MEGABYTE, 1),
        open_files_at_200k=int(handles[0]),
        open_files_at_end=int(handles[-1]),
    )
    assert growth < 1
    assert handles[-1] <= handles[0]
