"""The learning curves of an experiment: as numbers, and as a picture."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from plasticrl.scripts.comparison import CurveAxes
from plasticrl.scripts.learning_curves import add_share_axis, read_curve, write_figure
from plasticrl.scripts.placed_run import PlacedRun
from plasticrl.scripts.run_folder import written_whole
from plasticrl.scripts.statistics_of_runs import rank_sums

_POINTS = 200
_SIGNIFICANT = 0.05
_COLORS = ("#c2410c", "#0f766e", "#1d4ed8", "#7e22ce", "#a16207", "#475569", "#be185d", "#4d7c0f")

Curves = Mapping[str, NDArray[np.float64]]
"""For each condition: steps, then a row for each run; ``(1 + runs, points)``, at the same steps for all."""


def common_curves(runs: Sequence[PlacedRun], axes: CurveAxes) -> Curves:
    """The curves of finished runs, interpolated to common steps.

    Raises:
        UserError: a curve cannot be read.
    """
    found: dict[str, list[tuple[NDArray[np.float64], NDArray[np.float64]]]] = {}
    for one in runs:
        curve = read_curve(one.folder / "progress.csv", axes.steps, axes.score)
        found.setdefault(one.group, []).append(curve)
    every = [curve for curves in found.values() for curve in curves]
    first, last = max(steps[0] for steps, _ in every), max(steps[-1] for steps, _ in every)
    common = np.linspace(first, last, _POINTS)
    return {
        name: np.vstack([common, *(_smooth(common, *curve) for curve in curves)])
        for name, curves in found.items()
    }


def _smooth(
    common: NDArray[np.float64], steps: NDArray[np.float64], scores: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The mean of the scores since the point before; beyond the last one there is nothing."""
    ends = np.searchsorted(steps, common, side="right")
    sums = np.concatenate([[0.0], np.cumsum(scores)])
    starts = np.concatenate([[0], ends[:-1]])
    counts = ends - starts
    means = np.full(len(common), np.nan)
    np.divide(sums[ends] - sums[starts], counts, out=means, where=counts > 0)
    there = ~np.isnan(means)
    filled: NDArray[np.float64] = np.interp(common, common[there], means[there], right=np.nan)
    return filled


def write_curves(curves: Curves, path: Path) -> None:
    """A CSV: condition, step, quartiles over the runs, and the rank-sum test against the first condition."""
    first = next(iter(curves.values()))[1:]
    with written_whole(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(("condition", "step", "lower_quartile", "median", "upper_quartile", "p_value"))
        for number, (name, curve) in enumerate(curves.items()):
            low, middle, high = np.nanquantile(curve[1:], [0.25, 0.5, 0.75], axis=0)
            p = rank_sums(first, curve[1:]) if number and min(len(first), len(curve) - 1) > 1 else None
            for point, step in enumerate(curve[0]):
                told = "" if p is None else f"{p[point]:.4g}"
                numbers = (f"{row[point]:.5g}" for row in (low, middle, high))
                table.writerow((name, round(step), *numbers, told))


def draw_curves(curves: Curves, axes: CurveAxes, paths: Sequence[Path]) -> None:
    """Median and band between the quartiles; below, where the first condition differs from each other one.

    Args:
        curves: of the conditions.
        axes: what is shown.
        paths: files to write, PNG or SVG by their ending.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.8), dpi=160, layout="constrained")
    panel = figure.add_subplot()
    runs = sorted({len(curve) - 1 for curve in curves.values()})
    for color, (name, curve) in zip(_COLORS, curves.items(), strict=False):
        low, middle, high = np.nanquantile(curve[1:], [0.25, 0.5, 0.75], axis=0)
        panel.plot(curve[0] / axes.x_unit, middle, color=color, linewidth=2, label=name)
        panel.fill_between(curve[0] / axes.x_unit, low, high, color=color, alpha=0.18, linewidth=0)
    for grey, (name, score, style) in zip(("0.15", "0.45", "0.6"), axes.references, strict=False):
        panel.axhline(score, color=grey, linestyle=style, linewidth=1.2, label=name)
    _mark_differences(panel, curves, axes.x_unit)
    panel.set_xlabel(axes.x_label)
    panel.set_ylabel(axes.y_label)
    count = "-".join(str(n) for n in (runs[0], runs[-1])) if len(runs) > 1 else str(runs[0])
    panel.set_title(
        f"{axes.title}: median of {count} runs, band between the quartiles", loc="left", fontsize=11
    )
    if axes.share is not None:
        add_share_axis(panel, *axes.share)
    panel.grid(color="0.9")
    panel.set_axisbelow(True)
    panel.spines[["top", "right"]].set_visible(False)
    figure.legend(frameon=False, loc="outside lower center", ncols=4)
    for path in paths:
        write_figure(figure, path)


def _mark_differences(panel: object, curves: Curves, unit: float) -> None:
    """A dot below the curves wherever the rank-sum test tells a condition from the first one."""
    from matplotlib.axes import Axes
    from matplotlib.transforms import blended_transform_factory

    assert isinstance(panel, Axes)
    at = blended_transform_factory(panel.transData, panel.transAxes)
    first, *others = curves.values()
    for row, (color, curve) in enumerate(zip(_COLORS[1:], others, strict=False)):
        if min(len(first), len(curve)) < 3:
            continue
        told = rank_sums(first[1:], curve[1:]) < _SIGNIFICANT
        heights = np.full(int(told.sum()), 0.015 + 0.018 * row)
        panel.scatter(
            curve[0][told] / unit, heights, s=3, color=color, transform=at, linewidths=0, clip_on=False
        )
