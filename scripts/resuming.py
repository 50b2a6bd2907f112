"""Whether a run in the way is one to go on with."""

from __future__ import annotations

from pathlib import Path

from plasticrl.scripts.run import Run
from plasticrl.scripts.run_folder import CONFIG, is_finished, read_json


def is_unfinished(folder: Path, run: Run) -> bool:
    """Whether the folder holds a training of just this run that did not come to its end."""
    if is_finished(folder) or not (folder / CONFIG).is_file():
        return False
    return read_json(folder / CONFIG) == run.as_dict()
