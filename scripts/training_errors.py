"""What goes wrong in a training through no fault of the program, told as the user's to mend."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from plasticrl.scripts.system_errors import os_error_in_one_line, place_of, shortened
from plasticrl.scripts.trainer import Trainer
from plasticrl.scripts.user_error import UserError


@contextmanager
def blame_disk(folder: Path) -> Iterator[None]:
    """A full or vanished disk is not a fault of the program, and costs nothing that was saved."""
    try:
        yield
    except OSError as error:
        if not os.path.isdir(folder):
            raise UserError(
                f"{shortened(folder)} was removed or renamed while it trained: give it its name back, then "
                "run the same command again, which begins anew where there is no such folder"
            ) from error
        elsewhere = place_of(error) and not place_of(error).startswith(os.fspath(folder))
        about = "" if elsewhere else f"cannot write to {shortened(folder)}, whose last checkpoint is whole"
        raise UserError(os_error_in_one_line(error, about)) from error


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
