"""The processes that ``torchrun`` starts for one training: how many, which one this is, and how they meet."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from plasticrl.scripts.errors import UserError, blame_user
from plasticrl.signals import sigterm_ends

if TYPE_CHECKING:
    from plasticrl.scripts.runs.run import Run
    from plasticrl.scripts.tasks.task import Trainer

# A dead process is noticed at once, by its closed connection; this is for one that hangs. The longest that
# the others wait in good health is for a checkpoint, and for kernels to be compiled at the start.
_PATIENCE = timedelta(minutes=10)


def process_count() -> int:
    """How many processes train together; 1 where nobody says otherwise."""
    return int(os.environ.get("WORLD_SIZE", 1)) if "RANK" in os.environ else 1


def process_rank() -> int:
    """The number of this process; 0 is the one that writes and prints."""
    return int(os.environ["RANK"]) if process_count() > 1 else 0


def processes_here() -> tuple[int, int]:
    """The number of this process on this machine, and how many of them are here."""
    rank, count = process_rank(), process_count()
    return int(os.environ.get("LOCAL_RANK", rank)), int(os.environ.get("LOCAL_WORLD_SIZE", count))


def check_shares(**totals: int) -> None:
    """Refuse what the processes cannot share evenly.

    Raises:
        UserError: a number is no multiple of the number of processes; the text names it.
    """
    count = process_count()
    for name, total in totals.items():
        if total % count:
            raise UserError(f"{name} must be a multiple of {count}, the number of processes, not {total}")


@contextmanager
def trained_together(trainer: Trainer, run: Run, checkpoint: Path | None) -> Iterator[None]:
    """Inside, all processes train the same learner; after it, each has all of it. Alone, nothing happens.

    Args:
        trainer: made alike in every process.
        run: what it trains.
        checkpoint: what the first process went on from; the others do so here.

    Raises:
        UserError: another process is gone, or they were not started alike.
    """
    if process_count() == 1:
        yield
        return
    import torch.distributed as dist

    from plasticrl.agents.common.distributed import LostProcessError, Ranks
    from plasticrl.signals import StoppedBetweenUpdates

    on_gpu = trainer.learner.device.type == "cuda"
    with blame_user(RuntimeError, about="the processes cannot meet"), sigterm_ends():
        dist.init_process_group("cpu:gloo,cuda:nccl" if on_gpu else "gloo", timeout=_PATIENCE)
    ranks = Ranks.of_group()
    with blame_user(LostProcessError):
        with blame_user(ValueError):
            ranks.check_alike(json.dumps(run.as_dict(), sort_keys=True).encode())
        path = os.fsdecode(ranks.gather_bytes(os.fsencode(checkpoint.absolute()) if checkpoint else b"")[0])
        if path and ranks.rank > 0:
            trainer.go_on(Path(path))
        with blame_user(ValueError):
            trainer.learner.join(ranks)
        try:
            yield
        except StoppedBetweenUpdates:  # all of them did
            trainer.learner.leave()
            raise
        else:
            trainer.learner.leave()
    dist.destroy_process_group()


def no_logs(trainer: Trainer) -> None:
    """Let the learner log nowhere: what it has to say, the first process says."""
    from stable_baselines3.common.logger import Logger

    trainer.learner.set_logger(Logger(None, []))
