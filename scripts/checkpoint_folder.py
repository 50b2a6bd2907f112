"""The folder of a run's checkpoints: what is written into it, and how many stay."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plasticrl.scripts.checkpoint_files import CHECKPOINT_NAMES, checkpoint_path, checkpoints_in
from plasticrl.scripts.run_folder import refuse_linked
from plasticrl.scripts.time_spent import TimeSpent
from plasticrl.whole_files import UnfitFileError, kind_of, temporary_name

DAMAGED = ".damaged"


@dataclass(frozen=True)
class CheckpointFolder:
    """The checkpoints of one run; only the process that trains it may use this.

    Attributes:
        path: the folder.
        keep: how many stay, the newest; None: all.
        time: tells of each checkpoint how long it took; None: nothing does.
    """

    path: Path
    keep: int | None
    time: TimeSpent | None = None

    def save(self, learner: Any) -> Path:
        """Write a checkpoint, whole or not at all, and only then remove those that are too many.

        Args:
            learner: has ``num_timesteps`` and ``save``.
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
        """The checkpoints, whole or not."""
        return checkpoints_in(self.path)[::-1]

    def usable(self) -> Path | None:
        """The newest checkpoint that is whole; None where there is none.

        Each damaged one is told on stderr and set aside under another name, so that it does not count as
        one of those to keep. So is a link or a pipe, which is never opened. What a killed process left
        unfinished is removed.

        Raises:
            UserError: the folder is a link.
        """
        from plasticrl.agents.tensor_file import TensorFileError, read_tensors

        refuse_linked(self.path)
        for left in self.path.glob(temporary_name(CHECKPOINT_NAMES)):
            if kind_of(left) is None:
                left.unlink()
        found = self.newest_first()
        for path in found:
            try:
                if (kind := kind_of(path)) is not None:
                    raise UnfitFileError(path, f"{kind}, where a regular file belongs")
                read_tensors(path)
            except (TensorFileError, OSError) as error:
                aside = path.rename(path.with_name(path.name + DAMAGED))
                instead = "the training begins anew" if path is found[-1] else "the one before it is used"
                print(
                    f"plasticrl: warning: {error}; it is set aside as {aside.name}, and {instead}",
                    file=sys.stderr,
                )
            else:
                return path
        return None
