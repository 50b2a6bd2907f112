"""The report on an experiment's runs: tables on standard output, JSON, CSV, figures, and networks drawn."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from itertools import cycle
from pathlib import Path

from PIL import Image
from torch import Tensor

from plasticrl.agents.common.tensorboard import plastic_matrices
from plasticrl.agents.supervised.learner import EpisodeLearner
from plasticrl.agents.supervised.pictures import draw, look
from plasticrl.scripts.errors import UserError, as_user_error
from plasticrl.scripts.experiments.experiment import Experiment, Trial
from plasticrl.scripts.reports.comparison import compare_trials
from plasticrl.scripts.reports.curves import common_curves, draw_curves, write_curves
from plasticrl.scripts.reports.figures import COLORS, write_figure
from plasticrl.scripts.reports.maze_details import (
    WithinEpisode,
    draw_within_episode,
    print_steadiness,
    print_within_episode,
    steadiness,
    within_episode,
)
from plasticrl.scripts.reports.summary import print_summary, summarize_experiment
from plasticrl.scripts.runs.checkpoints import find_checkpoint, has_checkpoint
from plasticrl.scripts.runs.folder import write_json
from plasticrl.scripts.runs.run import Run
from plasticrl.scripts.tasks.environments.setup import maze_config
from plasticrl.scripts.tasks.supervised.setup import load_learner, make_tasks
from plasticrl.whole_files import written_whole

_EPISODES = 4


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


def draw_networks(finished: Sequence[Trial], folder: Path) -> None:
    """Draw one run of each condition: ``episodes_CONDITION.png``, ``matrices_CONDITION.png``.

    The first run with a checkpoint is used. Runs from elsewhere may come without checkpoints; if a condition
    has none, existing pictures stay. If a checkpoint or its data cannot be loaded, a message says so.

    Args:
        finished: the runs, ordered by seed within a condition; runs on the maze have no such pictures.
        folder: the output folder.
    """
    first = {one.condition: one for one in reversed(finished) if has_checkpoint(one.folder)}
    for one in reversed(first.values()):
        if one.run.learner == "supervised":
            try:
                _draw_network(one.condition, _loaded(one.run, one.folder), folder)
            except UserError as error:
                print(f"no pictures of {one.label}: {error}", file=sys.stderr)


def _draw_network(name: str, learner: EpisodeLearner, folder: Path) -> None:
    seen = look(learner, _EPISODES, seed=0)
    picture = Image.fromarray(draw(seen.episode, seen.prediction)[1])
    with written_whole(folder / f"episodes_{name}.png") as stream:
        picture.save(stream, format="PNG")
    matrices = plastic_matrices(learner.network.core, seen.state)
    if matrices:
        _draw_matrices(matrices, name, folder / f"matrices_{name}.png")


def _loaded(run: Run, folder: Path) -> EpisodeLearner:
    _, checkpoint = find_checkpoint(folder)
    tasks = make_tasks(run)
    return load_learner(checkpoint, run, "cpu", tasks.train, tasks.test)


def _draw_matrices(matrices: Mapping[str, Tensor], title: str, path: Path) -> None:
    """Draw matrices, blue below zero, white at zero, red above; each matrix has its own scale."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4 * len(matrices), 3.6), dpi=120, layout="constrained")
    for panel, (name, matrix) in zip(
        figure.subplots(1, len(matrices), squeeze=False)[0], matrices.items(), strict=True
    ):
        values = matrix.detach().cpu().numpy()
        most = float(abs(values).max()) or 1.0
        image = panel.imshow(
            values, cmap="RdBu_r", vmin=-most, vmax=most, interpolation="nearest", aspect="auto"
        )
        panel.set_title({"trace": "trace before the query"}.get(name, name), fontsize=10)
        panel.set_xticks([])
        panel.set_yticks([])
        figure.colorbar(image, ax=panel, shrink=0.8)
    figure.suptitle(title, fontsize=11)
    write_figure(figure, path)
