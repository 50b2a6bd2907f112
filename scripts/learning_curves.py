"""The figure of a comparison: the learning curves of the cores."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from plasticrl.scripts.figures import add_share_axis, make_plain, write_figure
from plasticrl.scripts.run import Run
from plasticrl.scripts.run_logs import read_rows
from plasticrl.scripts.user_error import UserError, one_line

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
_GREYS = ("0.15", "0.45", "0.6")
_STEPS, _REWARD = "time/total_timesteps", "rollout/ep_rew_mean"
_POINTS = 400  # common points that the curves of all runs are interpolated to


def read_curve(
    path: Path, steps_column: str = _STEPS, score_column: str = _REWARD
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Read steps and scores from a ``progress.csv``.

    Args:
        path: the file.
        steps_column: column of the steps. Default: the environment steps of a training on the maze.
        score_column: column of the score. Default: the mean reward of a training on the maze.

    Raises:
        UserError: the file cannot be read or holds no curve.
    """
    try:
        header, *rows = read_rows(path) or [[]]
        places = [header.index(name) for name in (steps_column, score_column)]
        points = [[row[place] for place in places] for row in rows if len(row) > max(places)]
        steps, rewards = np.array([point for point in points if all(point)], dtype=np.float64).T
        if not np.isfinite(steps).all():
            raise ValueError("its steps are not finite")
    except (OSError, ValueError) as error:
        cause = one_line(error)
        raise UserError(f"{path} holds no learning curve ({cause}): train the run again") from error
    return steps, rewards


def quartiles(curves: list[tuple[NDArray[np.float64], NDArray[np.float64]]]) -> NDArray[np.float64]:
    """Compute lower quartile, median and upper quartile over runs at common steps.

    Args:
        curves: steps and rewards of each run.

    Returns:
        ``(4, points)``: the steps, then the three quartiles.
    """
    first, last = max(steps[0] for steps, _ in curves), min(steps[-1] for steps, _ in curves)
    common = np.linspace(first, last, _POINTS)
    rewards = [np.interp(common, steps, rewards) for steps, rewards in curves]
    return np.vstack([common, np.quantile(rewards, [0.25, 0.5, 0.75], axis=0)])


def draw_learning_curves(runs: Sequence[Run], root: Path, comparison: Comparison, path: Path) -> None:
    """Draw the median over the runs of each core, with a band between the quartiles, as a PNG.

    Raises:
        UserError: a run's curve cannot be read.
        KeyboardInterrupt: Ctrl-C was pressed; raised after the file is written.
    """
    from matplotlib.figure import Figure  # takes a second to load

    shown, unit = comparison.axes(), comparison.axes().x_unit
    figure = Figure(figsize=(8, 4.5), dpi=160, layout="constrained")
    axes = figure.add_subplot()
    for core in comparison.ranking:  # best first, in the order of the lines
        folders = [run.folder(root) for run in runs if run.core == core]
        curves = [read_curve(folder / "progress.csv", shown.steps, shown.score) for folder in folders]
        steps, low, middle, high = quartiles(curves)
        axes.plot(steps / unit, middle, color=COLORS[core], linewidth=2, label=core)
        axes.fill_between(steps / unit, low, high, color=COLORS[core], alpha=0.18, linewidth=0)
    for grey, (name, score, style) in zip(_GREYS, shown.references, strict=False):
        axes.axhline(score, color=grey, linestyle=style, linewidth=1.5, label=name)
    axes.set_xlim(0, max(run.total for run in runs) / unit)
    axes.set_xlabel(shown.x_label)
    axes.set_ylabel(shown.y_label)
    count = len({run.seed for run in runs})
    over = f"median of {count} runs, band between the quartiles" if count > 1 else "one run each"
    axes.set_title(f"{shown.title}: {over}", loc="left", fontsize=11)
    if shown.share is not None:
        add_share_axis(axes, *shown.share)
    make_plain(axes)
    columns = len(comparison.ranking) + len(shown.references)
    figure.legend(frameon=False, loc="outside lower center", ncols=columns)
    write_figure(figure, path)
