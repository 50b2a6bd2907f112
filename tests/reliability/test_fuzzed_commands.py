"""Whatever is typed, or stands in a config.json: it runs, or one line says what is wrong."""

import os
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from children import finished

HELPERS = Path(__file__).parents[1] / "helpers"


def test_fuzzed_command_lines_and_settings_run_or_are_refused_by_name(
    tmp_path: Path, soak: bool, figures: Callable[..., None]
) -> None:
    counts: Counter[str] = Counter()
    batches, size = (40, 250) if soak else (1, 60)

    def try_batch(seed: int) -> Any:
        folder = tmp_path / str(seed)
        folder.mkdir()
        given = {"folder": str(folder), "helpers": str(HELPERS), "seed": seed, "count": size}
        return finished("fuzz", folder / "said", 900, **given)

    with ThreadPoolExecutor(os.cpu_count()) as pool:  # its threads only wait for processes
        for result in pool.map(try_batch, range(batches)):
            assert not result["faults"]
            counts += Counter(result["counts"])
    assert min(counts["ran"], counts["refused by name"]) > 0.05 * batches * size
    figures("fuzzed_commands", command_lines=batches * size, **counts, tracebacks=0)
