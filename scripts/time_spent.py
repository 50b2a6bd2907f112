"""What a training took so far, carried from each process that had a part in it to the next."""

from __future__ import annotations

from pathlib import Path
from time import monotonic
from typing import NamedTuple

from plasticrl.scripts.run_folder import read_json, remove_whole, write_json
from plasticrl.scripts.user_error import UserError

SPENT = "spent.json"


class Spent(NamedTuple):
    """Time in training, and what was done in it.

    Attributes:
        seconds: of all processes. What one did after its last checkpoint and had to be done again is not
            counted, nor is the evaluation.
        steps: taken in that time; episodes of a supervised task.
    """

    seconds: float = 0.0
    steps: int = 0


class TimeSpent:
    """A clock that starts with a process's part of a training, from the time of those before it.

    That is in the run's folder as ``spent.json``, for each checkpoint. It is not in the checkpoint, which
    would else be another file each time; nor in ``progress.csv``, whose rows may be far between.

    Args:
        folder: of the run.
        checkpoint: where the training goes on; None: it begins. Where nothing tells the time until then, as
            beside one that an older version wrote, that part is not counted, neither its time nor its steps.
        done: steps that it has behind it.
    """

    def __init__(self, folder: Path, checkpoint: Path | None, done: int) -> None:
        self._path = folder / SPENT
        self._before = Spent() if checkpoint is None else self._told().get(checkpoint.name, Spent())
        self._began, self._done = monotonic(), done

    def until_now(self, done: int) -> Spent:
        """The time until now.

        Args:
            done: steps that the training has behind it.
        """
        seconds, steps = self._before
        return Spent(seconds + monotonic() - self._began, steps + done - self._done)

    def tell(self, checkpoint: Path, done: int) -> None:
        """Write it down for whoever goes on from this checkpoint, which need not be there yet.

        Raises:
            OSError: the file cannot be written.
        """
        kept = {path.name for path in checkpoint.parent.iterdir()}
        told = {name: spent for name, spent in self._told().items() if name in kept}
        told[checkpoint.name] = self.until_now(done)
        write_json(self._path, {name: spent._asdict() for name, spent in told.items()})

    def forget(self) -> None:
        """Remove the file: the run's result tells the time now."""
        remove_whole(self._path)

    def _told(self) -> dict[str, Spent]:
        """By the checkpoint's name; nothing where there is no such file, or a damaged one."""
        try:
            found = read_json(self._path)
            return {name: Spent(float(one["seconds"]), int(one["steps"])) for name, one in found.items()}
        except (UserError, KeyError, TypeError, ValueError, OverflowError):
            return {}
