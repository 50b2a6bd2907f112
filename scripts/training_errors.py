"""What goes wrong in a training through no fault of the program, told as the user's to mend."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from plasticrl.scripts.trainer import Trainer
from plasticrl.scripts.user_error import UserError


@contextmanager
def blame_disk(folder: Path) -> Iterator[None]:
    """A full or vanished disk is not a fault of the program, and costs nothing that was saved."""
    try:
        yield
    except OSError as error:
        raise UserError(
            f"cannot write to {folder} ({error.strerror or error}): the last checkpoint is whole; make room, "
            "then run the same command again"
        ) from error


@contextmanager
def blame_divergence(trainer: Trainer) -> Iterator[None]:
    """A training that diverges is one of unfortunate settings."""
    try:
        yield
    except (RuntimeError, ValueError, ArithmeticError) as error:
        said = trainer.divergence(error)
        if said is None:
            raise
        raise UserError(said) from error
