"""Details of learning on the maze: steadiness of the curves, and learning within the episode."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plasticrl.agents.common import tags
from plasticrl.scripts.experiments.experiment import Trial, by_condition
from plasticrl.scripts.reports.curves import read_curve, smoothed
from plasticrl.scripts.reports.figures import one_panel
from plasticrl.scripts.runs.folder import read_evaluation
from plasticrl.scripts.runs.logs import CSV, most_logged
from plasticrl.scripts.runs.terminal import print_table

BLOCK = 125_000  # steps; fixed, so that the result of a run does not depend on the others
_LOW, _BACK = 0.5, 0.8  # fractions of the best so far


@dataclass(frozen=True)
class Steadiness:
    """Steadiness of the finished runs of one condition, in the order of their seeds.

    Attributes:
        dips: number of times that the points fell below half of the best so far; a dip lasts until they are
            back at four fifths.
        ended_in_dip: True if they were not back at the end.
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


def steadiness(finished: Sequence[Trial], least: float) -> dict[str, Steadiness]:
    """Return the steadiness of each condition with finished runs; each run is counted separately.

    Args:
        finished: runs on the maze.
        least: see :func:`count_dips`.

    Raises:
        UserError: a curve cannot be read.
    """
    found = {}
    for name, group in by_condition(finished).items():
        folders = [one.folder for one in group]
        counts = [count_dips(block_means(*read_curve(folder / CSV)), least) for folder in folders]
        left_out = [most_logged(folder, tags.SKIPPED_UPDATES) for folder in folders]
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
        ("condition", "skipped updates", "dips", "ended in a dip"),
        [(name, *steadiness_texts(one)) for name, one in found.items()],
    )


def steadiness_texts(one: Steadiness) -> tuple[str, str, str]:
    """Format skipped updates, dips, and the number of runs that ended in a dip."""
    left_out = "-" if one.left_out is None else _span(one.left_out)
    return left_out, _span(one.dips), f"{sum(one.ended_in_dip)} of {len(one.dips)}"


def _span(counts: Sequence[int]) -> str:
    low, high = min(counts), max(counts)
    return str(low) if low == high else f"{low} to {high}"


@dataclass(frozen=True)
class WithinEpisode:
    """Means over the finished runs of a condition, in their test episodes.

    Attributes:
        first: steps to the first reward, over the episodes with a reward; None if there are none.
        later: steps from one reward to the next, over the episodes with two; None if there are none.
        fifths: points in each fifth of the episode.
    """

    first: float | None
    later: float | None
    fifths: tuple[float, ...]


def within_episode(finished: Sequence[Trial]) -> dict[str, WithinEpisode]:
    """Return the means of each condition with finished runs.

    Args:
        finished: runs on the maze.

    Raises:
        UserError: a result cannot be read.
    """
    found = {}
    for name, group in by_condition(finished).items():
        episodes = [read_evaluation(one.folder, _learning_of) for one in group]
        found[name] = WithinEpisode(
            first=_mean([first for first, _, _ in episodes]),
            later=_mean([later for _, later, _ in episodes]),
            fifths=tuple(fmean(parts) for parts in zip(*(fifths for _, _, fifths in episodes), strict=True)),
        )
    return found


def print_within_episode(found: Mapping[str, WithinEpisode]) -> None:
    """Print a table with one row per condition."""
    print_table(
        "Within the episode, means over the runs",
        ("condition", "steps to the first reward", "to a later one", "points in each fifth"),
        [(name, *within_episode_texts(one)) for name, one in found.items()],
    )


def within_episode_texts(one: WithinEpisode) -> tuple[str, str, str]:
    """Format steps to the first reward, steps to a later one, and points."""
    first, later = ("-" if steps is None else f"{steps:.0f}" for steps in (one.first, one.later))
    return first, later, "  ".join(f"{points:.1f}" for points in one.fifths)


def draw_within_episode(
    found: Mapping[str, WithinEpisode], colors: Mapping[str, str], title: str, paths: Sequence[Path]
) -> None:
    """Draw the points in each fifth of the episode: agents that learn within it earn more later.

    Args:
        found: means of the conditions.
        colors: colours of the conditions.
        title: title of the figure.
        paths: files to write, PNG or SVG by their suffix.
    """
    with one_panel(f"{title}: within the episode", paths, size=(6, 4.5)) as panel:
        for name, one in found.items():
            parts = range(1, len(one.fifths) + 1)
            panel.plot(
                parts, one.fifths, color=colors[name], linewidth=2, marker="o", markersize=4, label=name
            )
        panel.set_xticks(range(1, 6))
        panel.set_ylim(bottom=min(0.0, panel.get_ylim()[0]))
        panel.set_xlabel("fifth of the episode")
        panel.set_ylabel("points in it, mean over the runs")


def _learning_of(evaluation: Mapping[str, Any]) -> tuple[float | None, float | None, tuple[float, ...]]:
    fifths = tuple(float(points) for points in evaluation["points_by_fifth"])
    return evaluation["first_reward_step"], evaluation["mean_steps_later"], fifths


def _mean(steps: Sequence[float | None]) -> float | None:
    known = [one for one in steps if one is not None]
    return fmean(known) if known else None
