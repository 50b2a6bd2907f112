"""What went with the points in the runs with the paper's own settings: a row for each, from its progress.csv.

python results/reproduction/paper_settings.py
"""

import csv
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

_MILLION, _BEGINNING, _LONG = 1_000_000, 2_000_000, 100.0


def row(folder: Path) -> str:
    """One run: the best million steps, long gradients, and what its trace and eta did."""
    with (folder / "progress.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))

    def column(name: str) -> NDArray[np.float64]:
        return np.array([float(one[name] or "nan") for one in rows])

    steps, points = column("time/total_timesteps"), column("rollout/ep_rew_mean")
    millions = ((steps - 1) // _MILLION).astype(int)
    best = max(np.nanmean(points[millions == one]) for one in range(millions.max() + 1))
    cells = [f"{best:.0f}", f"{100 * np.mean(column('train/grad_norm') > _LONG):.1f} %", "-", "-"]
    if "plastic/eta" in rows[0]:
        later = steps > _BEGINNING
        cells[2] = f"{spearmanr(points[later], column('plastic/trace_abs_mean')[later])[0]:.2f}"
        cells[3] = f"{100 * np.mean(column('plastic/eta') < 0):.0f} %"
    return " | ".join(cells)


if __name__ == "__main__":
    root = Path(__file__).parent / "maze_quick"
    print("best million steps | gradients above 100 | correlation of points and trace | eta negative")
    for core in ("plastic", "homogeneous", "rnn"):
        for folder in sorted((root / f"{core}_paper" / "maze" / core).glob("seed_*")):
            print(core, folder.name, "|", row(folder))
