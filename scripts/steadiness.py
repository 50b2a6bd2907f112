"""How steadily runs on the maze learned: dips of their curves, and updates that were left out."""

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

BLOCK = 125_000  # steps; the same for all, so that what a run shows depends on no other
_LOW, _BACK = 0.5, 0.8  # of the best so far
_LEFT_OUT = "train/skipped_updates"


@dataclass(frozen=True)
class Steadiness:
    """Of the finished runs of one condition, in the order of their seeds.

    Attributes:
        dips: how often the points fell below half of the best so far, until they were back at four fifths.
        ended_in_dip: whether they were not back at the end.
        left_out: updates that were left out for their gradients; None where a run does not tell.
    """

    dips: list[int]
    ended_in_dip: list[bool]
    left_out: list[int] | None


def count_dips(points: NDArray[np.float64], least: float) -> tuple[int, bool]:
    """How many dips a curve has, and whether it ends in one.

    Args:
        points: the curve.
        least: the best so far must exceed it for anything to be a dip.
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
    """The mean of a run's points over each :data:`BLOCK` of its steps, counted from step 0.

    Args:
        steps: of the curve's rows, rising; ``(rows,)``.
        points: there; ``(rows,)``.

    Returns:
        ``(blocks,)``, the last one perhaps cut short; a block without a row lies between its neighbours.
    """
    return smoothed(np.arange(BLOCK, steps[-1] + BLOCK, BLOCK), steps, points)


def steadiness(finished: Sequence[PlacedRun], least: float) -> dict[str, Steadiness]:
    """Of each condition that has finished runs; each run is counted by itself.

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
    """Print a table: a row for each condition."""
    print_table(
        "Steadiness: dips below half of the best so far, over the runs",
        ("condition", "updates left out", "dips", "ended in one"),
        [(name, *texts(one)) for name, one in found.items()],
    )


def texts(one: Steadiness) -> tuple[str, str, str]:
    """Updates left out, dips, and runs that ended in one, as they are shown."""
    left_out = "-" if one.left_out is None else _span(one.left_out)
    return left_out, _span(one.dips), f"{sum(one.ended_in_dip)} of {len(one.dips)}"


def _span(counts: Sequence[int]) -> str:
    low, high = min(counts), max(counts)
    return str(low) if low == high else f"{low} to {high}"
