"""Whether a run in the way is one to go on with."""

from __future__ import annotations

from pathlib import Path

from plasticrl.scripts.run import Run
from plasticrl.scripts.run_folder import CONFIG, check_files, has_file, is_finished, read_json


def is_unfinished(folder: Path, run: Run) -> bool:
    """Whether the folder holds a training of just this run that did not come to its end.

    Raises:
        UserError: its settings cannot be read, or going on would write through a link.
    """
    if is_finished(folder) or not has_file(folder / CONFIG):
        return False
    check_files(folder)
    return read_json(folder / CONFIG) == run.as_dict()
