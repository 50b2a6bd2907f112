"""Helpers shared by all figures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from plasticrl.signals import PostponedInterrupt
from plasticrl.whole_files import written_whole

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

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


@contextmanager
def one_panel(title: str, paths: Sequence[Path], size: tuple[float, float] = (8, 4.8)) -> Iterator[Axes]:
    """Yield the panel of a new figure, with title and grid; then add the legend, and write the figure.

    Args:
        title: title of the figure.
        paths: files to write, PNG or SVG by their suffix.
        size: width and height in inches.

    Raises:
        KeyboardInterrupt: Ctrl-C was pressed; raised after a file is written.
    """
    from matplotlib.figure import Figure  # takes a second to load

    figure = Figure(figsize=size, dpi=160, layout="constrained")
    panel = figure.add_subplot()
    panel.set_title(title, loc="left", fontsize=11)
    make_plain(panel)
    yield panel
    _add_legend(figure)
    for path in paths:
        write_figure(figure, path)


def _add_legend(figure: Figure) -> None:
    """Add a legend below the panel, with as many columns, four at the most, as the figure is wide."""
    for columns in (4, 3, 2, 1):
        legend = figure.legend(
            frameon=False, loc="outside lower center", ncols=columns, columnspacing=1.2, handlelength=1.6
        )
        if columns == 1 or legend.get_window_extent().width <= figure.bbox.width:
            return
        legend.remove()


def make_plain(axes: Axes) -> None:
    """Draw a light grid behind the data, and remove the frame above and to the right."""
    axes.grid(color="0.9")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def write_figure(figure: Figure, path: Path) -> None:
    """Write a figure completely or not at all, as PNG or SVG by its suffix; equal figures give equal files.

    Raises:
        KeyboardInterrupt: Ctrl-C was pressed; raised after the file is written.
    """
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    # Matplotlib's C++ code mistakes an interrupt during drawing for an invalid array.
    with (
        PostponedInterrupt(),
        written_whole(path) as stream,
        mpl.rc_context({"svg.hashsalt": path.stem}),  # else names in the file are random
    ):
        FigureCanvasAgg(figure)
        kind = path.suffix[1:]
        figure.savefig(stream, format=kind, metadata={"Date": None} if kind == "svg" else None)


def add_share_axis(axes: Axes, zero: float, whole: float, label: str) -> None:
    """Add a scale on the right, on which ``zero`` is 0 and ``whole`` is 100 %."""

    def to_share(points: ArrayLike) -> NDArray[np.float64]:
        return (np.asarray(points, dtype=np.float64) - zero) / (whole - zero) * 100

    def to_points(share: ArrayLike) -> NDArray[np.float64]:
        return np.asarray(share, dtype=np.float64) * (whole - zero) / 100 + zero

    shares = axes.secondary_yaxis("right", functions=(to_share, to_points))
    shares.set_ylabel(label)
    shares.spines["right"].set_visible(False)
