"""What is said of an experiment's runs: tables on standard output, JSON, CSV and pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from plasticrl.scripts.maze_setup import maze_config
from plasticrl.scripts.placed_run import PlacedRun
from plasticrl.scripts.reproduction import Experiment
from plasticrl.scripts.reproduction_curves import COLORS, common_curves, draw_curves, write_curves
from plasticrl.scripts.reproduction_summary import print_summary, summarize_experiment
from plasticrl.scripts.run_folder import write_json
from plasticrl.scripts.run_on_maze import RunOnMaze
from plasticrl.scripts.steadiness import print_steadiness, steadiness
from plasticrl.scripts.user_error import blame_user
from plasticrl.scripts.within_episode import draw_within_episode, print_within_episode, within_episode


def report(experiment: Experiment, runs: Sequence[PlacedRun], folder: Path) -> None:
    """Print and write what is finished by now.

    Args:
        experiment: what was to be trained.
        runs: of it, finished or not.
        folder: for the files: ``summary.json`` and the curves; on the maze ``steadiness.json`` and
            ``within_episode.json``, too. Curves and pictures are of each series by itself.

    Raises:
        UserError: a run cannot be read, or the folder cannot be written.
    """
    summary = summarize_experiment(experiment, runs)
    print_summary(summary, experiment)
    finished = [one for one in runs if one.is_finished]
    with blame_user(OSError, about=f"cannot write to {folder}"):
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / "summary.json", summary.as_dict())
        for series, title in experiment.titles().items():
            names = experiment.names(series)
            if own := [one for one in finished if one.group in names]:
                _draw(own, names, title, folder, "_".join(["", *series.split()]))
        if finished and isinstance(finished[0].run, RunOnMaze):
            _report_on_maze(finished, finished[0].run, folder)
    print(f"report: {folder}")


def _draw(runs: Sequence[PlacedRun], names: Sequence[str], title: str, folder: Path, suffix: str) -> None:
    """Write and draw the learning curves of one series, and what its agents learn within the episode."""
    group = [one.run for one in runs if one.group == runs[0].group]
    axes = replace(group[0].compare(group, runs[0].root).axes(), title=title)
    colors = dict(zip(names, COLORS, strict=False))
    curves = common_curves(runs, axes)
    write_curves(curves, names[0], folder / f"curves{suffix}.csv")
    draw_curves(curves, names[0], colors, axes, _pictures(folder / f"curves{suffix}"))
    if isinstance(runs[0].run, RunOnMaze):
        draw_within_episode(
            within_episode(runs), colors, title, _pictures(folder / f"within_episode{suffix}")
        )


def _pictures(path: Path) -> list[Path]:
    return [path.with_suffix(".png"), path.with_suffix(".svg")]


def _report_on_maze(finished: Sequence[PlacedRun], run: RunOnMaze, folder: Path) -> None:
    """Print and write how steadily agents learned, and how they learn within the episode."""
    steady = steadiness(finished, least=maze_config(run.maze).reward)
    print_steadiness(steady)
    write_json(folder / "steadiness.json", {name: asdict(one) for name, one in steady.items()})
    within = within_episode(finished)
    print_within_episode(within)
    write_json(folder / "within_episode.json", {name: asdict(one) for name, one in within.items()})
