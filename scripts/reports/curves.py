"""Learning curves: of a comparison, of an experiment, and aggregated for TensorBoard."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from plasticrl.scripts.errors import UserError, as_user_error, one_line
from plasticrl.scripts.reports.comparison import Comparison, CurveAxes
from plasticrl.scripts.reports.figures import add_share_axis, make_plain, write_figure
from plasticrl.scripts.reports.statistics import rank_sums
from plasticrl.scripts.runs.folder import PlacedRun, grouped, refuse_linked, write_csv
from plasticrl.scripts.runs.logs import EventWriter, read_rows
from plasticrl.scripts.runs.run import Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes


CORE_COLORS = {
    "plastic": "#c2410c",
    "homogeneous": "#0f766e",
    "rnn": "#1d4ed8",
    "lstm": "#7e22ce",
    "gru": "#a16207",
    "feedforward": "#475569",
}
_GREYS = ("0.15", "0.45", "0.6")
_STEPS, _REWARD = "time/total_timesteps", "rollout/ep_rew_mean"
_COMPARISON_POINTS = 400  # common points that the curves of all runs are interpolated to


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
    common = np.linspace(first, last, _COMPARISON_POINTS)
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
        axes.plot(steps / unit, middle, color=CORE_COLORS[core], linewidth=2, label=core)
        axes.fill_between(steps / unit, low, high, color=CORE_COLORS[core], alpha=0.18, linewidth=0)
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


FOLDER = "aggregate"
TAGS = ("aggregate/median", "aggregate/lower_quartile", "aggregate/upper_quartile")


def write_aggregates(runs: Sequence[Run], root: Path, axes: CurveAxes) -> None:
    """Write median and quartiles over the runs of each core, and a layout that shows them as bands.

    They are written to ``ROOT/TASK/aggregate/CORE`` and replace the curves of an earlier comparison for the
    same core; those of other cores stay.

    Args:
        runs: the finished runs.
        root: root folder of the runs.
        axes: columns of ``progress.csv`` to use.

    Raises:
        UserError: a run's curve cannot be read, or the folder is not writable.
    """
    folder = root / runs[0].task / FOLDER
    layout = {axes.title: {f"{axes.y_label}: median and quartiles": ["Margin", list(TAGS)]}}
    for core in dict.fromkeys(run.core for run in runs):
        paths = [run.folder(root) / "progress.csv" for run in runs if run.core == core]
        steps, low, middle, high = quartiles([read_curve(path, axes.steps, axes.score) for path in paths])
        whole = np.unique(np.round(steps))  # TensorBoard's steps are integers; a short run has few of them
        with as_user_error(OSError, about=f"cannot write to {folder}"):
            refuse_linked(folder)
            refuse_linked(folder / core)  # what is removed next must be an earlier comparison's
            (folder / core).mkdir(parents=True, exist_ok=True)
            for old in (folder / core).glob("events.out.tfevents.*"):
                old.unlink()
            with EventWriter(folder / core) as writer:
                writer.add_custom_scalars(layout)
                for tag, values in zip(TAGS, (middle, low, high), strict=True):
                    for step, value in zip(whole, np.interp(whole, steps, values), strict=True):
                        writer.add_scalar(tag, float(value), int(step))


_POINTS = 200
_SIGNIFICANT = 0.05
_ROW = 0.018  # fraction of a panel's height for the dots of one condition
COLORS = (
    "#c2410c",
    "#0f766e",
    "#1d4ed8",
    "#7e22ce",
    "#a16207",
    "#475569",
    "#be185d",
    "#65a30d",
)

Curves = Mapping[str, NDArray[np.float64]]
"""For each condition: the steps, then one row per run; ``(1 + runs, points)``.

The steps are the same for all conditions, except that a shorter training ends earlier.
"""


def common_curves(runs: Sequence[PlacedRun], axes: CurveAxes) -> Curves:
    """Interpolate the curves of finished runs to common steps.

    Raises:
        UserError: a curve cannot be read.
    """
    found = {
        name: [read_curve(one.folder / "progress.csv", axes.steps, axes.score) for one in group]
        for name, group in grouped(runs).items()
    }
    every = [curve for curves in found.values() for curve in curves]
    first, last = max(steps[0] for steps, _ in every), max(steps[-1] for steps, _ in every)
    common = np.linspace(first, last, _POINTS)
    whole = {
        name: np.vstack([common, *(smoothed(common, *curve) for curve in curves)])
        for name, curves in found.items()
    }
    return {name: curve[:, np.isfinite(curve).all(axis=0)] for name, curve in whole.items()}


def smoothed(
    common: NDArray[np.float64], steps: NDArray[np.float64], scores: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Average the scores since the previous common step; interpolate gaps; NaN beyond the last score."""
    ends = np.searchsorted(steps, common, side="right")
    sums = np.concatenate([[0.0], np.cumsum(scores)])
    starts = np.concatenate([[0], ends[:-1]])
    counts = ends - starts
    means = np.full(len(common), np.nan)
    np.divide(sums[ends] - sums[starts], counts, out=means, where=counts > 0)
    there = ~np.isnan(means)
    filled: NDArray[np.float64] = np.interp(common, common[there], means[there], right=np.nan)
    return filled


def write_curves(curves: Curves, reference: str, path: Path) -> None:
    """A CSV: condition, step, quartiles over the runs, and the rank-sum test against the reference."""
    table: list[tuple[Any, ...]] = [
        ("condition", "step", "lower_quartile", "median", "upper_quartile", "p_value")
    ]
    for name, curve in curves.items():
        low, middle, high = np.nanquantile(curve[1:], [0.25, 0.5, 0.75], axis=0)
        p = _differences(curves, name, reference)
        for point, step in enumerate(curve[0]):
            told = "" if p is None or point >= len(p) else f"{p[point]:.4g}"
            numbers = (f"{row[point]:.5g}" for row in (low, middle, high))
            table.append((name, round(step), *numbers, told))
    write_csv(path, table)


def draw_curves(
    curves: Curves, reference: str, colors: Mapping[str, str], axes: CurveAxes, paths: Sequence[Path]
) -> None:
    """Draw medians with a band between the quartiles; dots below mark significant differences.

    Args:
        curves: curves of the conditions.
        reference: the condition that the others are compared with.
        colors: colours of the conditions.
        axes: axes and contents of the figure.
        paths: files to write, PNG or SVG by their suffix.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.8), dpi=160, layout="constrained")
    panel = figure.add_subplot()
    runs = sorted({len(curve) - 1 for curve in curves.values()})
    for name, curve in curves.items():
        color = colors[name]
        low, middle, high = np.nanquantile(curve[1:], [0.25, 0.5, 0.75], axis=0)
        panel.plot(curve[0] / axes.x_unit, middle, color=color, linewidth=2, label=name)
        panel.fill_between(curve[0] / axes.x_unit, low, high, color=color, alpha=0.18, linewidth=0)
    for grey, (name, score, style) in zip(("0.15", "0.45", "0.6"), axes.references, strict=False):
        panel.axhline(score, color=grey, linestyle=style, linewidth=1.2, label=name)
    _mark_differences(panel, curves, reference, colors, axes.x_unit)
    panel.set_xlabel(axes.x_label)
    panel.set_ylabel(axes.y_label)
    count = str(runs[0]) if len(runs) == 1 else f"{runs[0]} to {runs[-1]}"
    over = "one run each" if runs == [1] else f"median of {count} runs, band between the quartiles"
    panel.set_title(f"{axes.title}: {over}", loc="left", fontsize=11)
    if axes.share is not None:
        add_share_axis(panel, *axes.share)
    make_plain(panel)
    figure.legend(frameon=False, loc="outside lower center", ncols=4)
    for path in paths:
        write_figure(figure, path)


def _differences(curves: Curves, name: str, reference: str) -> NDArray[np.float64] | None:
    """Return the p-values of the rank-sum test at each common point; None if there is nothing to compare."""
    if name == reference or reference not in curves:
        return None
    both = min(curves[reference].shape[1], curves[name].shape[1])
    ours, theirs = curves[reference][1:, :both], curves[name][1:, :both]
    return rank_sums(ours, theirs) if min(len(ours), len(theirs)) > 1 else None


def _mark_differences(
    panel: Axes, curves: Curves, reference: str, colors: Mapping[str, str], unit: float
) -> None:
    """Draw a dot below the curves wherever a condition differs from the reference, one row per condition."""
    from matplotlib.transforms import blended_transform_factory

    at = blended_transform_factory(panel.transData, panel.transAxes)
    tests = {name: _differences(curves, name, reference) for name in curves}
    significant = {name: np.flatnonzero(p < _SIGNIFICANT) for name, p in tests.items() if p is not None}
    rows = [(name, points) for name, points in significant.items() if len(points)]
    low, high = panel.get_ylim()
    room = _ROW * len(rows)
    panel.set_ylim(low - (high - low) * room / (1 - room), high)
    for row, (name, points) in enumerate(rows):
        heights = np.full(len(points), 0.015 + _ROW * row)
        steps = curves[name][0][points] / unit
        panel.scatter(steps, heights, s=3, color=colors[name], transform=at, linewidths=0, clip_on=False)
    if rows:
        about = f"dots: other than {reference}, p < {_SIGNIFICANT}"
        panel.scatter([], [], s=3, color="0.3", linewidths=0, label=about)
