"""Pictures of the networks of a supervised experiment: their outputs, and their weights and trace."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image
from torch import Tensor

from plasticrl.agents.common.tensorboard import plastic_matrices
from plasticrl.agents.supervised.learner import EpisodeLearner
from plasticrl.agents.supervised.pictures import draw, look
from plasticrl.scripts.errors import UserError
from plasticrl.scripts.experiments.experiment import Trial
from plasticrl.scripts.reports.figures import write_figure
from plasticrl.scripts.runs.checkpoints import find_checkpoint, has_checkpoint
from plasticrl.scripts.runs.run import Run
from plasticrl.scripts.tasks.supervised.setup import load_learner, make_tasks
from plasticrl.whole_files import written_whole

_EPISODES = 4


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
