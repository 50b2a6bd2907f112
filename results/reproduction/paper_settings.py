"""What went with the points in the runs with the paper's own settings: a row for each, from its progress.csv.

python results/reproduction/paper_settings.py
"""

import csv
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from plasticrl.scripts.reports.maze_details import block_means, count_dips

_MILLION, _BEGINNING, _COMMON = 1_000_000, 2_000_000, 10_000_000  # steps
_LONG, _REWARD = 100.0, 10.0
_COLUMNS = ("best million", "dips in 10 million", "gradients above 100", "points with trace", "eta below 0")


def row(folder: Path) -> tuple[str, ...]:
    """One run: its best million steps, dips in the first ten, long gradients, what trace and eta did."""
    with (folder / "progress.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))

    def column(name: str) -> NDArray[np.float64]:
        return np.array([float(one[name] or "nan") for one in rows])

    steps, points = column("time/total_timesteps"), column("rollout/ep_rew_mean")
    millions = ((steps - 1) // _MILLION).astype(int)
    best = max(np.nanmean(points[millions == one]) for one in range(millions.max() + 1))
    early = steps <= _COMMON
    dips, _ = count_dips(block_means(steps[early], points[early]), least=_REWARD)
    long = np.mean(column("train/grad_norm") > _LONG)
    trace = eta = "-"
    if "plastic/eta" in rows[0]:
        later = steps > _BEGINNING
        trace = f"{spearmanr(points[later], column('plastic/trace_abs_mean')[later])[0]:.2f}"
        eta = f"{100 * np.mean(column('plastic/eta') < 0):.0f} %"
    return f"{best:.0f}", str(dips), f"{100 * long:.1f} %", trace, eta


if __name__ == "__main__":
    here = Path(__file__).parent
    folders = [
        *(
            folder
            for core in ("plastic", "homogeneous", "rnn")
            for folder in sorted((here / "maze_quick" / f"{core}_paper" / "maze" / core).glob("seed_*"))
        ),
        *sorted((here / "paper_settings_clipped" / "maze" / "plastic").glob("seed_*")),
    ]
    print(f"{'run':54}", *(f"{name:>20}" for name in _COLUMNS))
    for folder in folders:
        print(f"{folder.relative_to(here)!s:54}", *(f"{cell:>20}" for cell in row(folder)))
