"""The processes that ``torchrun`` starts for one training: their number, ranks and communication."""

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

# A dead process is noticed at once by its closed connection; this timeout is for one that hangs. The longest
# regular waits are for a checkpoint and for the compilation of kernels at the start.
_PATIENCE = timedelta(minutes=10)


def process_count() -> int:
    """Return the number of processes that train together; 1 without ``torchrun``."""
    return int(os.environ.get("WORLD_SIZE", 1)) if "RANK" in os.environ else 1


def process_rank() -> int:
    """Return the rank of this process; process 0 writes and prints."""
    return int(os.environ["RANK"]) if process_count() > 1 else 0


def processes_here() -> tuple[int, int]:
    """Return the rank of this process on this machine, and the number of processes on it."""
    rank, count = process_rank(), process_count()
    return int(os.environ.get("LOCAL_RANK", rank)), int(os.environ.get("LOCAL_WORLD_SIZE", count))


def check_shares(**totals: int) -> None:
    """Check that the processes can share each number evenly.

    Raises:
        UserError: a number is not a multiple of the number of processes; the message names it.
    """
    count = process_count()
    for name, total in totals.items():
        if total % count:
            raise UserError(f"{name} must be a multiple of {count}, the number of processes, not {total}")


@contextmanager
def trained_together(trainer: Trainer, run: Run, checkpoint: Path | None) -> Iterator[None]:
    """Train the same learner in all processes in the block; after it, each has the complete learner.

    With a single process, nothing changes.

    Args:
        trainer: trainer of the same run in every process.
        run: the run.
        checkpoint: checkpoint that the first process has loaded; the others load it here.

    Raises:
        UserError: another process has ended, or the processes were started with different settings.
    """
    if process_count() == 1:
        yield
        return
    import torch.distributed as dist

    from plasticrl.agents.common.distributed import LostProcessError, Ranks
    from plasticrl.signals import StoppedBetweenUpdates

    on_gpu = trainer.learner.device.type == "cuda"
    with blame_user(RuntimeError, about="the processes cannot connect"), sigterm_ends():
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
        except StoppedBetweenUpdates:  # raised in all processes
            trainer.learner.leave()
            raise
        else:
            trainer.learner.leave()
    dist.destroy_process_group()


def no_logs(trainer: Trainer) -> None:
    """Disable the learner's logs, since the first process writes them."""
    from stable_baselines3.common.logger import Logger

    trainer.learner.set_logger(Logger(None, []))
