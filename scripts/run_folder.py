"""A run's folder: who may write into it, and how its files are written and read back."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from plasticrl.scripts.run import Run
from plasticrl.scripts.run_kinds import run_from_dict
from plasticrl.scripts.run_lock import LOCK, locked
from plasticrl.scripts.user_error import UserError, blame_user

CONFIG, RESULT, CHECKPOINTS = "config.json", "result.json", "checkpoints"


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """A temporary path beside ``path`` that takes its place when the block ends without an error."""
    temporary = path.with_name(_temporary(path, os.getpid()))
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def remove_whole(path: Path) -> None:
    """Remove what :func:`written_whole` wrote, if anything, and what a killed process left."""
    for one in (path, *path.parent.glob(_temporary(path))):
        one.unlink(missing_ok=True)


def _temporary(path: Path, process: int | str = "*") -> str:
    """The name under which a process writes a file; by default the pattern of all of them."""
    return f".{path.stem}.{process}{path.suffix}"


def write_json(path: Path, data: Any) -> None:
    """Write strict JSON: all of it or nothing.

    Raises:
        ValueError: a number is not finite.
    """
    text = json.dumps(data, indent=2, allow_nan=False)
    with written_whole(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        UserError: there is none.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"), parse_constant=_refused)
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"cannot read {path}: {getattr(error, 'strerror', None) or 'not a text file'}"
        ) from error
    except ValueError as error:
        raise UserError(f"{path} is not valid JSON ({error}): restore it or train the run again") from error
    if not isinstance(data, dict):
        raise UserError(f"{path} does not hold a JSON object: restore it or train the run again")
    return data


def _refused(constant: str) -> None:
    raise ValueError(f"it has {constant}, which no run writes")


def refuse_checkpoints(folder: Path) -> None:
    """Nothing, unless the folder is that of a run's checkpoints.

    Raises:
        UserError: it is; the text names the run's.
    """
    run = folder.absolute().parent
    if folder.absolute().name == CHECKPOINTS and (run / CONFIG).is_file():
        raise UserError(f"{folder} is a run's folder of checkpoints: give the run's own, {run}")


def read_run(folder: Path) -> Run:
    """The settings that made the run in ``folder``.

    Raises:
        UserError: there is no run, or its settings cannot be read.
    """
    refuse_checkpoints(folder)
    if not (folder / CONFIG).is_file():
        raise UserError(
            f"{folder} holds no run (no {CONFIG}): give a folder that train wrote, runs/TASK/CORE/seed_K"
        )
    data = read_json(folder / CONFIG)
    try:
        return run_from_dict(data)
    except (KeyError, TypeError) as error:
        what = f"{error.args[0]} is missing" if isinstance(error, KeyError) else error
        raise UserError(
            f"{folder / CONFIG} is not the settings of a run ({what}): restore it or train the run again"
        ) from error


def is_finished(folder: Path) -> bool:
    """Whether the run in ``folder`` came to its end."""
    return (folder / RESULT).is_file()


def check_claim(folder: Path, run: Run, *, overwrite: bool) -> None:
    """Check, without writing, that :func:`claim` will be allowed.

    Raises:
        UserError: the folder is taken, is no run's, or cannot be written.
    """
    if folder.is_dir() and not _is_begun(folder):
        if not (folder / CONFIG).is_file():
            raise UserError(
                f"{folder} is not a run's folder (no {CONFIG}): move its files away, or give another --root"
            )
        if not overwrite:
            raise UserError(f"{folder} already holds {_what_is_there(folder, run)}")
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not existing.is_dir():
        raise UserError(f"cannot write to {folder}: {existing} is not a folder; choose another --root")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise UserError(f"cannot write to {folder}: no permission for {existing}; choose another --root")


def claim(folder: Path, run: Run, *, overwrite: bool) -> None:
    """Make the folder and write its ``config.json``; with ``overwrite``, remove the run that is there.

    Raises:
        BusyError: another process trains in it, or claims it now.
        UserError: the folder is taken, is no run's, or cannot be written.
    """
    check_claim(folder, run, overwrite=overwrite)
    with blame_user(OSError, about=f"cannot write to {folder}"):
        folder.mkdir(parents=True, exist_ok=True)
        with locked(folder):
            check_claim(folder, run, overwrite=overwrite)  # of two who claim it at once, one fails here
            for path in folder.iterdir():
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                elif path.name != LOCK:
                    path.unlink()
            (folder / CHECKPOINTS).mkdir()
            write_json(folder / CONFIG, run.as_dict())


def _is_begun(folder: Path) -> bool:
    """Whether there is nothing in the folder but what a claim that was killed midway leaves."""
    return all(
        path.name == LOCK
        or path.match(_temporary(Path(CONFIG)))
        or (path.name == CHECKPOINTS and path.is_dir() and not any(path.iterdir()))
        for path in folder.iterdir()
    )


def _what_is_there(folder: Path, run: Run) -> str:
    """The run in the way, and what to do about it."""
    ways = "give --overwrite to replace it, or another --seed or --root to keep it"
    kind = "a finished run" if is_finished(folder) else "an unfinished run"
    change = first_difference(read_json(folder / CONFIG), run.as_dict())
    if change is None:
        return f"{kind}: {ways}"
    if not is_finished(folder):
        ways += f"; plasticrl train --resume {folder} goes on with it"
    return f"{kind}, which was trained with other settings ({change}): {ways}"


def first_difference(old: dict[str, Any], new: dict[str, Any]) -> str | None:
    """The first setting of ``new`` that was another in ``old``, in words; None where there is none."""
    for name, value in new.items():
        was = old.get(name)
        if isinstance(value, dict) and isinstance(was, dict):
            if (change := first_difference(was, value)) is not None:
                return change
        elif was != value:
            return f"{name} was {was}, now {value}"
    return None if old.keys() <= new.keys() else "by another version"
