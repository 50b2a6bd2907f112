"""The report on an experiment's runs: tables on standard output, JSON, CSV and figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from itertools import cycle
from pathlib import Path

from plasticrl.scripts.errors import as_user_error
from plasticrl.scripts.experiments.experiment import Experiment, Trial
from plasticrl.scripts.reports.comparison import compare_trials
from plasticrl.scripts.reports.curves import common_curves, draw_curves, write_curves
from plasticrl.scripts.reports.figures import COLORS
from plasticrl.scripts.reports.maze_details import (
    WithinEpisode,
    draw_within_episode,
    print_steadiness,
    print_within_episode,
    steadiness,
    within_episode,
)
from plasticrl.scripts.reports.summary import print_summary, summarize_experiment
from plasticrl.scripts.runs.folder import write_json
from plasticrl.scripts.tasks.environments.setup import maze_config


def report_experiment(experiment: Experiment, trials: Sequence[Trial], folder: Path) -> None:
    """Print and write the results of the trials finished so far.

    Args:
        experiment: the experiment.
        trials: its trials, finished or not.
        folder: output folder for ``summary.json`` and the curves and, on the maze, also for
            ``steadiness.json`` and ``within_episode.json``. Each series has its own curves and figures.

    Raises:
        UserError: a run cannot be read, or the folder is not writable.
    """
    summary = summarize_experiment(experiment, trials)
    print_summary(summary, experiment)
    finished = [trial for trial in trials if trial.is_finished]
    with as_user_error(OSError, about=f"cannot write to {folder}"):
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / "summary.json", summary.as_dict())
        within = within_episode(finished) if finished and finished[0].run.task == "maze" else {}
        for series, title in experiment.titles().items():
            names = experiment.names(series)
            if own := [trial for trial in finished if trial.condition in names]:
                colors = dict(zip(names, cycle(COLORS), strict=False))
                suffix = f"_{series}" if series else ""
                _report_curves(own, names[0], colors, title, folder / f"curves{suffix}")
                if learned := {name: one for name, one in within.items() if name in names}:
                    pictures = _pictures(folder / f"within_episode{suffix}")
                    draw_within_episode(learned, colors, title, pictures)
        if within:
            _report_maze(finished, within, folder)
    print(f"report: {folder}")


def _report_curves(
    trials: Sequence[Trial], first: str, colors: Mapping[str, str], title: str, path: Path
) -> None:
    """Write and draw the learning curves of one series."""
    one_condition = [trial for trial in trials if trial.condition == trials[0].condition]
    axes = replace(compare_trials(one_condition).axes(), title=title)
    curves = common_curves(trials, axes)
    write_curves(curves, first, path.with_suffix(".csv"))
    draw_curves(curves, axes, colors, _pictures(path), first)


def _pictures(path: Path) -> list[Path]:
    return [path.with_suffix(".png"), path.with_suffix(".svg")]


def _report_maze(finished: Sequence[Trial], within: Mapping[str, WithinEpisode], folder: Path) -> None:
    """Print and write how steadily agents learned, and how much they learn within an episode."""
    run = finished[0].run
    steady = steadiness(finished, least=maze_config(run.maze).reward)
    print_steadiness(steady)
    write_json(folder / "steadiness.json", {name: asdict(one) for name, one in steady.items()})
    print_within_episode(within)
    write_json(folder / "within_episode.json", {name: asdict(one) for name, one in within.items()})
