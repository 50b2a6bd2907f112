"""Learning curves of the conditions of an experiment: read, compared, drawn, and written for TensorBoard."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from plasticrl.agents.common import tags
from plasticrl.scripts.errors import UserError, as_user_error, one_line
from plasticrl.scripts.experiments.experiment import Trial, by_condition
from plasticrl.scripts.reports.figures import add_share_axis, one_panel
from plasticrl.scripts.reports.statistics import rank_sums
from plasticrl.scripts.runs.folder import refuse_linked, write_csv
from plasticrl.scripts.runs.logs import CSV, EventWriter, read_rows

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_GREYS = ("0.15", "0.45", "0.6")  # of the reference lines
_POINTS = 200
_SIGNIFICANT = 0.05
_ROW = 0.018  # fraction of a panel's height for the dots of one condition
_FOLDER = "aggregate"

Curve: TypeAlias = tuple[NDArray[np.float64], NDArray[np.float64]]
"""Steps and scores of a run, ``(rows,)`` each."""
Curves: TypeAlias = Mapping[str, NDArray[np.float64]]
"""For each condition: the steps, then one row per run; ``(1 + runs, points)``.

The steps are the same for all conditions, except that a shorter training ends earlier.
"""


@dataclass(frozen=True)
class CurveAxes:
    """Axes and contents of the picture of the learning curves.

    Attributes:
        title: title of the picture.
        steps, score: columns of ``progress.csv``.
        x_label, x_unit: label of the x axis, and size of one of its units in steps.
        y_label: label of the score.
        references: name, score and line style of each horizontal line; one so far above the curves that
            these would fill less than half of the picture is in the legend only.
        above: name and score of references that only the legend shows, so that the axes fit the data.
        share: the scores that are 0 and 100 % on a second axis to the right, and its label; None for no
            such axis.
    """

    title: str
    steps: str
    score: str
    x_label: str
    x_unit: float
    y_label: str
    references: Sequence[tuple[str, float, str]] = ()
    above: Sequence[tuple[str, float]] = ()
    share: tuple[float, float, str] | None = None


def read_curve(path: Path, steps_column: str = tags.TIMESTEPS, score_column: str = tags.REWARD) -> Curve:
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
        steps, scores = np.array([point for point in points if all(point)], dtype=np.float64).T
        if not np.isfinite(steps).all():
            raise ValueError("its steps are not finite")
    except (OSError, ValueError) as error:
        cause = one_line(error)
        raise UserError(f"{path} holds no learning curve ({cause}): train the run again") from error
    return steps, scores


def common_curves(trials: Sequence[Trial], axes: CurveAxes) -> Curves:
    """Read the curves of finished trials and average them between common steps.

    Raises:
        UserError: a curve cannot be read.
    """
    found = {
        name: [read_curve(trial.folder / CSV, axes.steps, axes.score) for trial in group]
        for name, group in by_condition(trials).items()
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
    known = ~np.isnan(means)
    filled: NDArray[np.float64] = np.interp(common, common[known], means[known], right=np.nan)
    return filled


def quartiles(curve: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return lower quartile, median and upper quartile over the runs of a condition, ``(3, points)``."""
    found: NDArray[np.float64] = np.quantile(curve[1:], [0.25, 0.5, 0.75], axis=0)
    return found


def draw_curves(
    curves: Curves,
    axes: CurveAxes,
    colors: Mapping[str, str],
    paths: Sequence[Path],
    reference: str | None = None,
) -> None:
    """Draw medians with a band between the quartiles.

    Args:
        curves: curves of the conditions, drawn in this order.
        axes: axes and contents of the figure.
        colors: colours of the conditions.
        paths: files to write, PNG or SVG by their suffix.
        reference: the condition that the others are compared with; dots below the curves mark significant
            differences. None for no dots.

    Raises:
        KeyboardInterrupt: Ctrl-C was pressed; raised after a file is written.
    """
    counts = sorted({len(curve) - 1 for curve in curves.values()})
    runs = str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    over = "one run each" if counts == [1] else f"median of {runs} runs, band between the quartiles"
    with one_panel(f"{axes.title}: {over}", paths) as panel:
        for name, curve in curves.items():
            steps, (low, middle, high) = curve[0] / axes.x_unit, quartiles(curve)
            panel.plot(steps, middle, color=colors[name], linewidth=2, label=name)
            panel.fill_between(steps, low, high, color=colors[name], alpha=0.18, linewidth=0)
        least, most = panel.dataLim.intervaly
        far = most + max(0.0, most - min(least, 0.0))  # from there on, lines would take more than half
        above = [*axes.above, *((name, score) for name, score, _ in axes.references if score > far)]
        for grey, (name, score, style) in zip(_GREYS, axes.references, strict=False):
            if score <= far:
                panel.axhline(score, color=grey, linestyle=style, linewidth=1.2, label=name)
        for name, score in above:
            panel.plot([], [], linestyle="none", label=f"{name}: {score:.0f}, above the axis")
        if reference is not None:
            _mark_differences(panel, curves, reference, colors, axes.x_unit)
        panel.set_xlim(0, max(curve[0, -1] for curve in curves.values()) / axes.x_unit)
        panel.set_xlabel(axes.x_label)
        panel.set_ylabel(axes.y_label)
        if axes.share is not None:
            add_share_axis(panel, *axes.share)


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
        about = f"dots: differs from {reference}, p < {_SIGNIFICANT}"
        panel.scatter([], [], s=3, color="0.3", linewidths=0, label=about)


def _differences(curves: Curves, name: str, reference: str) -> NDArray[np.float64] | None:
    """Return the p-values of the rank-sum test at each common point; None if there is nothing to compare."""
    if name == reference or reference not in curves:
        return None
    both = min(curves[reference].shape[1], curves[name].shape[1])
    ours, theirs = curves[reference][1:, :both], curves[name][1:, :both]
    return rank_sums(ours, theirs) if min(len(ours), len(theirs)) > 1 else None


def write_curves(curves: Curves, reference: str, path: Path) -> None:
    """Write a CSV: condition, step, quartiles over the runs, and the rank-sum test against the reference."""
    table: list[tuple[Any, ...]] = [
        ("condition", "step", "lower_quartile", "median", "upper_quartile", "p_value")
    ]
    for name, curve in curves.items():
        p = _differences(curves, name, reference)
        for point, (step, numbers) in enumerate(zip(curve[0], quartiles(curve).T, strict=True)):
            p_value = "" if p is None or point >= len(p) else f"{p[point]:.4g}"
            table.append((name, round(step), *(f"{number:.5g}" for number in numbers), p_value))
    write_csv(path, table)


def write_aggregates(curves: Curves, axes: CurveAxes, folder: Path) -> None:
    """Write median and quartiles of each condition for TensorBoard, and a layout that shows them as bands.

    They are written to ``FOLDER/aggregate/CONDITION`` and replace earlier curves of the same condition; those
    of other conditions stay.

    Args:
        curves: curves of the conditions.
        axes: title and label of the score.
        folder: folder of the experiment.

    Raises:
        UserError: the folder is not writable.
    """
    folder = folder / _FOLDER
    layout = {axes.title: {f"{axes.y_label}: median and quartiles": ["Margin", list(tags.AGGREGATES)]}}
    for name, curve in curves.items():
        low, middle, high = quartiles(curve)
        whole = np.unique(np.round(curve[0]))  # TensorBoard's steps are integers; a short run has few of them
        with as_user_error(OSError, about=f"cannot write to {folder}"):
            refuse_linked(folder)
            refuse_linked(folder / name)  # only files of an earlier report may be removed
            (folder / name).mkdir(parents=True, exist_ok=True)
            for old in (folder / name).glob("events.out.tfevents.*"):
                old.unlink()
            with EventWriter(folder / name) as writer:
                writer.add_custom_scalars(layout)
                for tag, values in zip(tags.AGGREGATES, (middle, low, high), strict=True):
                    for step, value in zip(whole, np.interp(whole, curve[0], values), strict=True):
                        writer.add_scalar(tag, float(value), int(step))
