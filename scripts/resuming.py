"""Whether a run in the way is one to go on with, and from which of its checkpoints."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from plasticrl.scripts.checkpoint_files import SUFFIX
from plasticrl.scripts.run import Run
from plasticrl.scripts.run_folder import CHECKPOINTS, CONFIG, is_finished, read_json
from plasticrl.scripts.user_error import UserError

LOCK = ".lock"


def is_unfinished(folder: Path, run: Run) -> bool:
    """Whether the folder holds a training of just this run that did not come to its end."""
    if is_finished(folder) or not (folder / CONFIG).is_file():
        return False
    return read_json(folder / CONFIG) == run.as_dict()


def usable_checkpoint(folder: Path) -> Path | None:
    """The newest checkpoint that is whole; each damaged one is told on stderr. None where there is none."""
    from plasticrl.agents.tensor_file import TensorFileError, read_tensors

    for path in sorted((folder / CHECKPOINTS).glob(f"step_*{SUFFIX}"), reverse=True):
        try:
            read_tensors(path)
        except (TensorFileError, OSError) as error:
            print(f"plasticrl: warning: {error}; the checkpoint before it is used", file=sys.stderr)
        else:
            return path
    return None


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep other processes from training in the folder.

    Raises:
        UserError: one does.
    """
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise UserError(f"{folder} is being trained by another process: wait for it, or stop it") from None
    try:
        yield
    finally:
        lock.release()
