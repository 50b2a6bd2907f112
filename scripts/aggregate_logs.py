"""Aggregated TensorBoard curves of a comparison: for each core, the median of all its runs with a band."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from plasticrl.scripts.comparison import CurveAxes
from plasticrl.scripts.learning_curves import quartiles, read_curve
from plasticrl.scripts.run import Run
from plasticrl.scripts.run_folder import refuse_linked
from plasticrl.scripts.user_error import blame_user

FOLDER = "aggregate"
TAGS = ("aggregate/median", "aggregate/lower_quartile", "aggregate/upper_quartile")


def write_aggregates(runs: Sequence[Run], root: Path, axes: CurveAxes) -> None:
    """Write median and quartiles over the runs of each core, and a layout that shows them as bands.

    They are written to ``ROOT/TASK/aggregate/CORE`` and replace the curves of an earlier comparison for the
    same core; those of other cores stay.

    Args:
        runs: the finished runs.
        root: root folder of the runs.
        axes: columns of ``progress.csv`` to use.

    Raises:
        UserError: a run's curve cannot be read, or the folder is not writable.
    """
    from plasticrl.scripts.event_file import EventWriter

    folder = root / runs[0].task / FOLDER
    layout = {axes.title: {f"{axes.y_label}: median and quartiles": ["Margin", list(TAGS)]}}
    for core in dict.fromkeys(run.core for run in runs):
        paths = [run.folder(root) / "progress.csv" for run in runs if run.core == core]
        steps, low, middle, high = quartiles([read_curve(path, axes.steps, axes.score) for path in paths])
        whole = np.unique(np.round(steps))  # TensorBoard's steps are integers; a short run has few of them
        with blame_user(OSError, about=f"cannot write to {folder}"):
            refuse_linked(folder)
            refuse_linked(folder / core)  # what is removed next must be an earlier comparison's
            (folder / core).mkdir(parents=True, exist_ok=True)
            for old in (folder / core).glob("events.out.tfevents.*"):
                old.unlink()
            with EventWriter(folder / core) as writer:
                writer.add_custom_scalars(layout)
                for tag, values in zip(TAGS, (middle, low, high), strict=True):
                    for step, value in zip(whole, np.interp(whole, steps, values), strict=True):
                        writer.add_scalar(tag, float(value), int(step))
