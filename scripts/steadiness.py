"""Steadiness of learning on the maze: dips of the learning curves, and skipped updates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from plasticrl.scripts.learning_curves import read_curve
from plasticrl.scripts.placed_run import PlacedRun, grouped
from plasticrl.scripts.reproduction_curves import smoothed
from plasticrl.scripts.run_logs import CSV, most_logged
from plasticrl.scripts.tables import print_table

BLOCK = 125_000  # steps; fixed, so that the result of a run does not depend on the others
_LOW, _BACK = 0.5, 0.8  # fractions of the best so far
_LEFT_OUT = "train/skipped_updates"


@dataclass(frozen=True)
class Steadiness:
    """Steadiness of the finished runs of one condition, in the order of their seeds.

    Attributes:
        dips: number of times that the points fell below half of the best so far; a dip lasts until they are
            back at four fifths.
        ended_in_dip: true if they were not back at the end.
        left_out: number of updates skipped because of their gradients; None if a run did not log it.
    """

    dips: list[int]
    ended_in_dip: list[bool]
    left_out: list[int] | None


def count_dips(points: NDArray[np.float64], least: float) -> tuple[int, bool]:
    """Count the dips of a curve, and return True as second value if it ends in one.

    Args:
        points: the curve.
        least: a dip counts only if the best so far exceeds this.
    """
    best, dips, inside = least, 0, False
    for point in points:
        if inside:
            inside = bool(point < _BACK * best)
        elif point < _LOW * best and best > least:
            dips, inside = dips + 1, True
        best = max(best, float(point))
    return dips, inside


def block_means(steps: NDArray[np.float64], points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mean of a run's points over each :data:`BLOCK` of steps, counted from step 0.

    Args:
        steps: ascending steps of the curve's rows; ``(rows,)``.
        points: points at these steps; ``(rows,)``.

    Returns:
        ``(blocks,)``. The last block may be shorter; one without a row is interpolated from its neighbours.
    """
    return smoothed(np.arange(BLOCK, steps[-1] + BLOCK, BLOCK), steps, points)


def steadiness(finished: Sequence[PlacedRun], least: float) -> dict[str, Steadiness]:
    """Return the steadiness of each condition with finished runs; each run is counted separately.

    Args:
        finished: runs on the maze.
        least: see :func:`count_dips`.

    Raises:
        UserError: a curve cannot be read.
    """
    found = {}
    for name, group in grouped(finished).items():
        folders = [one.folder for one in group]
        counts = [count_dips(block_means(*read_curve(folder / CSV)), least) for folder in folders]
        left_out = [most_logged(folder, _LEFT_OUT) for folder in folders]
        whole = [count for count in left_out if count is not None]
        found[name] = Steadiness(
            dips=[dips for dips, _ in counts],
            ended_in_dip=[inside for _, inside in counts],
            left_out=whole if len(whole) == len(left_out) else None,
        )
    return found


def print_steadiness(found: Mapping[str, Steadiness]) -> None:
    """Print a table with one row per condition."""
    print_table(
        "Steadiness: dips below half of the best so far, over the runs",
        ("condition", "updates left out", "dips", "ended in one"),
        [(name, *texts(one)) for name, one in found.items()],
    )


def texts(one: Steadiness) -> tuple[str, str, str]:
    """Format updates left out, dips, and the number of runs that ended in one."""
    left_out = "-" if one.left_out is None else _span(one.left_out)
    return left_out, _span(one.dips), f"{sum(one.ended_in_dip)} of {len(one.dips)}"


def _span(counts: Sequence[int]) -> str:
    low, high = min(counts), max(counts)
    return str(low) if low == high else f"{low} to {high}"
