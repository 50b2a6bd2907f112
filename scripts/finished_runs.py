"""What finished runs say without being run: whether they are those asked for, and how good they are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from plasticrl.scripts.run import Run
from plasticrl.scripts.run_folder import CONFIG, RESULT, is_finished, read_json
from plasticrl.scripts.user_error import UserError

Found = TypeVar("Found")


def is_kept(run: Run, root: Path) -> bool:
    """Whether just this run came to its end below ``root``."""
    folder = run.folder(root)
    return is_finished(folder) and read_json(folder / CONFIG) == run.as_dict()


def finished_score(run: Run, root: Path) -> float:
    """The score of the evaluation at its end; more is better.

    Raises:
        UserError: its result cannot be read.
    """
    return read_evaluation(run.folder(root), run.score)


def read_evaluation(folder: Path, read: Callable[[Any], Found]) -> Found:
    """What ``read`` takes from the evaluation in a run's ``result.json``.

    Raises:
        UserError: it cannot be read.
    """
    path = folder / RESULT
    try:
        return read(read_json(path)["evaluation"])
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path} is not a run's result ({error}): train it again with --overwrite") from error
