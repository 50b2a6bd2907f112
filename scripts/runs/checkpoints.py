"""A run's checkpoints: names, loading, the number kept, and the time spent in training."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any, NamedTuple

from plasticrl.scripts.errors import UserError, one_line
from plasticrl.scripts.runs.folder import (
    CHECKPOINTS,
    CONFIG,
    has_file,
    read_json,
    refuse_checkpoints,
    refuse_linked,
    remove_whole,
    write_json,
)
from plasticrl.whole_files import UnfitFileError, kind_of, temporary_name

SUFFIX = ".safetensors"
CHECKPOINT_NAMES = f"step_*{SUFFIX}"


def checkpoint_path(folder: Path, done: int) -> Path:
    """Return the path of the checkpoint after ``done`` steps: ``folder/step_NNNNNNNNNNNN.safetensors``."""
    return folder / f"step_{done:012d}{SUFFIX}"


def find_checkpoint(path: Path) -> tuple[Path, Path]:
    """Return the run's folder and the checkpoint for ``path``: a file, or a run's folder (its newest one).

    Raises:
        UserError: there is no checkpoint.
    """
    if path.is_file():
        folder = path.parent.parent if path.parent.name == CHECKPOINTS else path.parent
        if path.suffix != SUFFIX or not (folder / CONFIG).is_file():
            raise UserError(
                f"{path} is not a checkpoint in a run's folder: give RUN, or a file in RUN/{CHECKPOINTS}"
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
        raise UserError(
            f"{path} holds no checkpoint ({CHECKPOINTS}/step_N): give the folder of a trained run, "
            "runs/TASK/CORE/seed_K"
        )
    has_file(found[-1])
    return path, found[-1]


def has_checkpoint(folder: Path) -> bool:
    """Return True if a run's folder holds a checkpoint."""
    return bool(checkpoints_in(folder / CHECKPOINTS))


def checkpoints_in(folder: Path) -> list[Path]:
    """Return the checkpoints in a folder, including damaged ones, oldest first."""
    return sorted(folder.glob(CHECKPOINT_NAMES))


@contextmanager
def blame_checkpoint(path: Path) -> Iterator[None]:
    """Turn errors in the block into one that says that the checkpoint at ``path`` cannot be loaded.

    Raises:
        UserError: in place of a ValueError or an OSError.
    """
    try:
        yield
    except (ValueError, OSError) as error:
        cause = " ".join(str(error).split())
        if "spaces do not match" in cause:
            raise UserError(
                f"{path} was trained for other spaces ({cause}): give a run on this maze"
            ) from error
        raise UserError(f"{path} cannot be loaded as a checkpoint ({cause}): choose another one") from error


def check_network(path: Path, expected: Mapping[str, Any], found: Mapping[str, Any]) -> None:
    """Check that the network in a checkpoint is that of the run in whose folder it is.

    Args:
        path: path of the checkpoint.
        expected: the network's settings in ``config.json``.
        found: the network's settings in the checkpoint.

    Raises:
        UserError: they differ.
    """
    for name, value in expected.items():
        if found.get(name) != value:
            raise UserError(
                f"{path} holds a network that does not match the run's {CONFIG} ({name} is "
                f"{one_line(found.get(name))}, not {value}): restore one of the two files"
            )


SPENT = "spent.json"


class Spent(NamedTuple):
    """Time spent in training, and the steps done in it.

    Attributes:
        seconds: total over all processes that trained one after another. Time after a process's last
            checkpoint, whose work was repeated, is not counted, nor is the evaluation.
        steps: steps in that time; episodes of a supervised task.
    """

    seconds: float = 0.0
    steps: int = 0


class TimeSpent:
    """Clock of a training that continues the time of earlier processes of the same run.

    The time at each checkpoint is kept in ``spent.json`` in the run's folder. It is not stored in the
    checkpoint, which would then differ between equal runs, nor in ``progress.csv``, whose rows may be far
    apart.

    Args:
        folder: folder of the run.
        checkpoint: checkpoint to resume from; None at the start. If its time is unknown, because an older
            version wrote it, neither the time nor the steps before it are counted.
        done: number of steps done so far.
    """

    def __init__(self, folder: Path, checkpoint: Path | None, done: int) -> None:
        self._path = folder / SPENT
        self._before = Spent() if checkpoint is None else self._read().get(checkpoint.name, Spent())
        self._began, self._done = monotonic(), done

    def until_now(self, done: int) -> Spent:
        """Return the time spent until now.

        Args:
            done: number of steps done so far.
        """
        seconds, steps = self._before
        return Spent(seconds + monotonic() - self._began, steps + done - self._done)

    def tell(self, checkpoint: Path, done: int) -> None:
        """Store the time of a checkpoint, which need not exist yet, for a later resume.

        Raises:
            OSError: the file cannot be written.
        """
        kept = {path.name for path in checkpoint.parent.iterdir()}
        times = {name: spent for name, spent in self._read().items() if name in kept}
        times[checkpoint.name] = self.until_now(done)
        write_json(self._path, {name: spent._asdict() for name, spent in times.items()})

    def forget(self) -> None:
        """Remove the file, since the run's result now holds the time."""
        remove_whole(self._path)

    def _read(self) -> dict[str, Spent]:
        """Return the stored times by the checkpoint's name; empty if the file is missing or damaged."""
        try:
            found = read_json(self._path)
            return {name: Spent(float(one["seconds"]), int(one["steps"])) for name, one in found.items()}
        except (UserError, KeyError, TypeError, ValueError, OverflowError):
            return {}


DAMAGED = ".damaged"


@dataclass(frozen=True)
class CheckpointFolder:
    """The folder of one run's checkpoints; only the process that trains the run may use it.

    Attributes:
        path: the folder.
        keep: number of newest checkpoints to keep; None keeps all.
        time: clock that stores the time of each checkpoint, if any.
    """

    path: Path
    keep: int | None
    time: TimeSpent | None = None

    def save(self, learner: Any) -> Path:
        """Write a checkpoint atomically, and then remove those beyond ``keep``.

        Args:
            learner: the learner; it must have ``num_timesteps`` and ``save``.
        """
        saved = checkpoint_path(self.path, learner.num_timesteps)
        if self.time is not None:
            self.time.tell(saved, learner.num_timesteps)
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
        from plasticrl.agents.checkpoint.tensor_file import TensorFileError, read_tensors

        refuse_linked(self.path)
        for left in self.path.glob(temporary_name(CHECKPOINT_NAMES)):
            if kind_of(left) is None:
                left.unlink()
        found = self.newest_first()
        for path in found:
            try:
                if (kind := kind_of(path)) is not None:
                    raise UnfitFileError(path, f"{kind}, not a regular file")
                read_tensors(path)
            except (TensorFileError, UnfitFileError) as error:
                aside = path.rename(path.with_name(path.name + DAMAGED))
                instead = "the training starts over" if path is found[-1] else "the previous one is used"
                print(
                    f"plasticrl: warning: {error}; it is renamed to {aside.name}, and {instead}",
                    file=sys.stderr,
                )
            else:
                return path
        return None
