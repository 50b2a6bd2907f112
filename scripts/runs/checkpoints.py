"""A run's checkpoints: names, loading, and the number kept."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plasticrl.agents.checkpoint import tensor_file
from plasticrl.agents.pretrained.registry import pretrained_folder
from plasticrl.scripts.errors import UserError, as_user_error, one_line
from plasticrl.scripts.runs.folder import (
    CHECKPOINTS,
    CONFIG,
    RESULT,
    has_file,
    is_finished,
    refuse_checkpoints,
    refuse_linked,
)
from plasticrl.scripts.runs.logs import flush
from plasticrl.whole_files import UnfitFileError, kind_of, temporary_name

SUFFIX = ".safetensors"
_PRETRAINED = "pretrained:"
CHECKPOINT_NAMES = f"step_*{SUFFIX}"


def find_checkpoint(path: Path) -> tuple[Path, Path]:
    """Return the run's folder and the checkpoint for ``path``: a file, or a run's folder (its newest one).

    ``pretrained:NAME`` is the folder of an agent that comes with the package.

    Raises:
        UserError: there is no checkpoint.
    """
    if str(path).startswith(_PRETRAINED):
        with as_user_error(ValueError):
            path = pretrained_folder(str(path).removeprefix(_PRETRAINED))
    if path.is_file():
        folder = _run_around(path)
        if path.suffix != SUFFIX or folder is None:
            raise UserError(
                f"{path} is not a checkpoint in a run's folder: give RUN, or a file in RUN/{CHECKPOINTS}, or "
                "with an agent that Python saved the id of its environment, --env ID"
            )
        return folder, path
    if not path.exists():
        raise UserError(
            f"{path} does not exist: give a run's folder, such as runs/maze/plastic/seed_0, or a file"
        )
    refuse_checkpoints(path)
    refuse_linked(path / CHECKPOINTS)
    found = checkpoints_in(path / CHECKPOINTS)
    if not found:
        ways = "give the folder of a trained run, runs/TASK/CORE/seed_K"
        if is_finished(path):
            ways = f"its checkpoints were not kept; {RESULT} has its scores; --overwrite trains it again"
        raise UserError(f"{path} holds no checkpoint ({CHECKPOINTS}/step_N): {ways}")
    has_file(found[-1])
    return path, found[-1]


def _run_around(file: Path) -> Path | None:
    folder = file.parent.parent if file.parent.name == CHECKPOINTS else file.parent
    return folder if (folder / CONFIG).is_file() else None


def find_saved_agent(path: Path) -> Path | None:
    """Return the file of an agent that Python saved; None for what is in a run's folder, or no file.

    Args:
        path: the file, perhaps without the suffix that ``save`` adds.
    """
    file = path if path.exists() else tensor_file.with_suffix(path)
    return file if file.is_file() and _run_around(file) is None else None


def find_weights(path: Path) -> Path:
    """Return the file of saved weights for ``path``: a file, or that of a run's folder (its newest one).

    Raises:
        UserError: there is none.
    """
    return path if path.is_file() else find_checkpoint(path)[1]


def has_checkpoint(folder: Path) -> bool:
    """Return True if a run's folder holds a checkpoint."""
    return bool(checkpoints_in(folder / CHECKPOINTS))


def checkpoints_in(folder: Path) -> list[Path]:
    """Return the checkpoints in a folder, including damaged ones, oldest first."""
    return sorted(folder.glob(CHECKPOINT_NAMES))


@contextmanager
def checkpoint_errors(path: Path) -> Iterator[None]:
    """Turn errors in the block into one that says that the checkpoint at ``path`` cannot be loaded.

    Raises:
        UserError: in place of a ValueError or an OSError.
    """
    try:
        yield
    except (ValueError, OSError) as error:
        raise UserError(
            f"{path} cannot be loaded as a checkpoint ({one_line(error)}): choose another one"
        ) from error


def check_network(path: Path, expected: Mapping[str, Any], found: Mapping[str, Any]) -> None:
    """Check that the network in a checkpoint is that of the run in whose folder it is.

    Settings that the checkpoint is older than are not compared.

    Args:
        path: path of the checkpoint.
        expected: the network's settings in ``config.json``.
        found: the network's settings in the checkpoint.

    Raises:
        UserError: they differ.
    """
    for name, value in expected.items():
        if name in found and found[name] != value:
            raise UserError(
                f"{path} holds a network that does not match the run's {CONFIG} ({name} is "
                f"{one_line(found[name])}, not {value}): restore one of the two files"
            )


DAMAGED = ".damaged"


@dataclass(frozen=True)
class CheckpointFolder:
    """The folder of one run's checkpoints; only the process that trains the run may use it.

    Attributes:
        path: the folder.
        keep: number of newest checkpoints to keep; None keeps all.
    """

    path: Path
    keep: int | None

    def save(self, learner: Any) -> Path:
        """Write the logs and then a checkpoint to the disk, and remove checkpoints beyond ``keep``.

        Args:
            learner: the learner; it must have ``logger``, ``num_timesteps`` and ``save``.
        """
        flush(learner.logger)  # before a checkpoint that counts them as done
        saved = self.path / f"step_{learner.num_timesteps:012d}{SUFFIX}"
        learner.save(saved)
        if self.keep is not None:
            for path in [path for path in self.newest_first() if kind_of(path) is None][self.keep :]:
                path.unlink()
        return saved

    def newest_first(self) -> list[Path]:
        """Return the checkpoints, including damaged ones, newest first."""
        return checkpoints_in(self.path)[::-1]

    def usable(self) -> Path | None:
        """Return the newest intact checkpoint, or None.

        Each damaged one is reported on stderr and renamed, so that it does not count towards ``keep``. Links
        and pipes are treated likewise and never opened. Unfinished files of killed processes are removed.

        Raises:
            OSError, MemoryError: a checkpoint cannot be read at the moment: it stays as it is.
            UserError: the folder is a link.
        """
        refuse_linked(self.path)
        for left in self.path.glob(temporary_name(CHECKPOINT_NAMES)):
            if kind_of(left) is None:
                left.unlink()
        found = self.newest_first()
        for path in found:
            try:
                if (kind := kind_of(path)) is not None:
                    raise UnfitFileError(path, f"{kind}, not a regular file")
                tensor_file.read_tensors(path)
                return path
            except (tensor_file.TensorFileError, UnfitFileError) as error:
                aside = path.rename(path.with_name(path.name + DAMAGED))
                instead = "the training starts over" if path is found[-1] else "the previous one is used"
                print(
                    f"plasticrl: warning: {error}; it is renamed to {aside.name}, and {instead}",
                    file=sys.stderr,
                )
        return None
