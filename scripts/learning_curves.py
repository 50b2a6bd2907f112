"""The picture of a comparison: how the cores' scores rise with training."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from plasticrl.scripts.run_folder import written_whole
from plasticrl.scripts.settings import MazeRun
from plasticrl.scripts.user_error import UserError

if TYPE_CHECKING:
    from plasticrl.scripts.comparison import Comparison

COLORS = {
    "plastic": "#c2410c",
    "homogeneous": "#0f766e",
    "rnn": "#1d4ed8",
    "lstm": "#7e22ce",
    "gru": "#a16207",
    "feedforward": "#475569",
}
_STEPS, _REWARD = "time/total_timesteps", "rollout/ep_rew_mean"
_POINTS = 400  # to which the curves are interpolated, so that runs can be summed up


def read_curve(path: Path) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Steps and mean rewards of a ``progress.csv``.

    Raises:
        UserError: the file cannot be read or holds no curve.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = [(row[_STEPS], row[_REWARD]) for row in csv.DictReader(file)]
        steps, rewards = np.array([row for row in rows if all(row)], dtype=np.float64).T
    except (OSError, KeyError, ValueError) as error:
        raise UserError(f"{path} holds no learning curve ({error}): train the run again") from error
    return steps, rewards


def quartiles(curves: list[tuple[NDArray[np.float64], NDArray[np.float64]]]) -> NDArray[np.float64]:
    """Lower quartile, median and upper quartile over runs at common steps.

    Args:
        curves: steps and rewards of each run.

    Returns:
        ``(4, points)``: steps, then the three.
    """
    first, last = max(steps[0] for steps, _ in curves), min(steps[-1] for steps, _ in curves)
    common = np.linspace(first, last, _POINTS)
    rewards = [np.interp(common, steps, rewards) for steps, rewards in curves]
    return np.vstack([common, np.quantile(rewards, [0.25, 0.5, 0.75], axis=0)])


def draw_learning_curves(runs: list[MazeRun], root: Path, comparison: Comparison, path: Path) -> None:
    """Draw the median over the runs of each core, with a band between the quartiles, as a PNG.

    Raises:
        UserError: a run's curve cannot be read.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # a second to load
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), dpi=160, layout="constrained")
    axes = figure.add_subplot()
    axes.axhline(comparison.oracle, color="0.15", linestyle="--", linewidth=1.5, label="oracle")
    for core in [one.core for one in comparison.cores]:  # best first, as the lines lie
        folders = [run.folder(root) for run in runs if run.core == core]
        steps, low, middle, high = quartiles([read_curve(folder / "progress.csv") for folder in folders])
        axes.plot(steps / 1e6, middle, color=COLORS[core], linewidth=2, label=core)
        axes.fill_between(steps / 1e6, low, high, color=COLORS[core], alpha=0.18, linewidth=0)
    axes.axhline(comparison.random, color="0.45", linestyle=":", linewidth=1.5, label="random")
    axes.set_xlim(0, max(run.training.total_timesteps for run in runs) / 1e6)
    axes.set_xlabel("environment steps (millions)")
    axes.set_ylabel("points per episode")
    count = len({run.seed for run in runs})
    over = f"median of {count} runs, band between the quartiles" if count > 1 else "one run each"
    axes.set_title(f"Maze: {over}", loc="left", fontsize=11)
    width = comparison.oracle - comparison.random

    def to_share(points: ArrayLike) -> NDArray[np.float64]:
        return (np.asarray(points, dtype=np.float64) - comparison.random) / width * 100

    def to_points(share: ArrayLike) -> NDArray[np.float64]:
        return np.asarray(share, dtype=np.float64) * width / 100 + comparison.random

    shares = axes.secondary_yaxis("right", functions=(to_share, to_points))
    shares.set_ylabel("share of the oracle (%)")
    shares.spines["right"].set_visible(False)
    axes.grid(color="0.9")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(frameon=False, loc="outside lower center", ncols=len(comparison.cores) + 2)
    with written_whole(path) as temporary:
        FigureCanvasAgg(figure)
        figure.savefig(temporary, format="png")
