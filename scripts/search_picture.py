"""The figure of a search: the score against each setting tried."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plasticrl.scripts.figures import make_plain, write_figure
from plasticrl.scripts.learning_curves import COLORS
from plasticrl.scripts.search_space import Between, SearchSpace
from plasticrl.scripts.shown_metric import ShownMetric

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLUMNS = 4


def draw_search(
    rows: Sequence[Mapping[str, Any]], space: SearchSpace, metric: ShownMetric, path: Path
) -> None:
    """Draw a panel for each setting, as a PNG. Trials that were stopped early are hollow.

    Args:
        rows: the trials, as in ``search.json``.
        space: search space of all cores.
        metric: the score.
        path: file to write.

    Raises:
        KeyboardInterrupt: Ctrl-C was pressed; raised after the file is written.
    """
    from matplotlib.figure import Figure

    columns = min(_COLUMNS, len(space))
    lines = -(-len(space) // columns)
    figure = Figure(figsize=(3 * columns, 2.6 * lines + 0.6), dpi=140, layout="constrained")
    panels = figure.subplots(lines, columns, squeeze=False, sharey=True).flat
    for (name, allowed), panel in zip(space.items(), panels, strict=False):
        for core in dict.fromkeys(row["core"] for row in rows):
            found = [row for row in rows if row["core"] == core and name in row["settings"]]
            for state, face in (("finished", COLORS[core]), ("stopped early", "none")):
                shown = [row for row in found if row["state"] == state and row["score"] is not None]
                panel.scatter(
                    [row["settings"][name] for row in shown],
                    [row["score"] for row in shown],
                    s=22,
                    facecolors=face,
                    edgecolors=COLORS[core],
                    linewidths=1.0,
                )
        if isinstance(allowed, Between):
            _set_scale(panel, allowed)
        panel.set_xlabel(name)
        make_plain(panel)
    for panel in panels:
        panel.set_visible(False)
    figure.supylabel(metric.label)
    marks = [
        panel.scatter([], [], s=22, color=COLORS[core], label=core)
        for core in dict.fromkeys(row["core"] for row in rows)
    ]
    hollow = panel.scatter([], [], s=22, facecolors="none", edgecolors="0.4", label="stopped early")
    figure.legend(handles=[*marks, hollow], frameon=False, loc="outside lower center", ncols=len(marks) + 1)
    write_figure(figure, path)


def _set_scale(panel: Axes, allowed: Between) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    if allowed.log:
        panel.set_xscale("log")
        panel.xaxis.set_major_locator(LogLocator(subs=(1, 3)))
        panel.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
        panel.xaxis.set_minor_formatter(NullFormatter())
    panel.set_xlim(allowed.low, allowed.high)
