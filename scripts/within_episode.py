"""Learning of agents within an episode of the maze: steps to a reward, and points in each fifth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from plasticrl.scripts.figures import make_plain, write_figure
from plasticrl.scripts.finished_runs import read_evaluation
from plasticrl.scripts.placed_run import PlacedRun, grouped
from plasticrl.scripts.tables import print_table


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


def within_episode(finished: Sequence[PlacedRun]) -> dict[str, WithinEpisode]:
    """Return the means of each condition with finished runs.

    Args:
        finished: runs on the maze.

    Raises:
        UserError: a result cannot be read.
    """
    found = {}
    for name, group in grouped(finished).items():
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
        [(name, *texts(one)) for name, one in found.items()],
    )


def texts(one: WithinEpisode) -> tuple[str, str, str]:
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
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4.5), dpi=160, layout="constrained")
    panel = figure.add_subplot()
    for name, one in found.items():
        parts = range(1, len(one.fifths) + 1)
        panel.plot(parts, one.fifths, color=colors[name], linewidth=2, marker="o", markersize=4, label=name)
    panel.set_xticks(range(1, 6))
    panel.set_ylim(bottom=min(0.0, panel.get_ylim()[0]))
    panel.set_xlabel("fifth of the episode")
    panel.set_ylabel("points in it, mean over the runs")
    panel.set_title(f"{title}: within the episode", loc="left", fontsize=11)
    make_plain(panel)
    figure.legend(frameon=False, loc="outside lower center", ncols=4)
    for path in paths:
        write_figure(figure, path)


def _learning_of(evaluation: Mapping[str, Any]) -> tuple[float | None, float | None, tuple[float, ...]]:
    fifths = tuple(float(points) for points in evaluation["points_by_fifth"])
    return evaluation["first_reward_step"], evaluation["mean_steps_later"], fifths


def _mean(steps: Sequence[float | None]) -> float | None:
    known = [one for one in steps if one is not None]
    return fmean(known) if known else None
