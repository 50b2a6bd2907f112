"""A run's folder: locking, and safe writing, reading and removal of its files.

Its files are regular files in the folder itself, never links, and are written atomically. A command removes
only files that a run writes, and only after it has recognised the folder as that of a run.
"""

from __future__ import annotations

import csv
import errno
import io
import json
import math
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from filelock import FileLock, Timeout

from plasticrl.scripts.errors import UserError, as_user_error, one_line, os_error_in_one_line, shortened
from plasticrl.scripts.runs.run import Run, in_this_version, run_from_dict
from plasticrl.whole_files import ANY_WRITER, kind_of, read_regular, write_whole

LOCK = ".lock"
_NO_LOCKS = {errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP}  # errors of file systems without locks


class BusyError(UserError):
    """The folder is in use by another process."""


def busy_error(folder: Path) -> BusyError:
    """Return the error for a folder that another process has locked."""
    return BusyError(f"{folder} is in use by another process: wait for it, or stop it")


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Lock the folder against training, searching and removal by other processes.

    Raises:
        BusyError: another process holds the lock.
        UserError: the lock file is a link, or is a hard link to another file.
    """
    path = folder / LOCK
    if os.path.lexists(path) and (
        kind_of(path) is not None or path.stat().st_nlink > 1 < path.stat().st_size
    ):
        raise UserError(f"{path} is not the lock file of a run: remove it")
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise busy_error(folder) from None
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        print(
            f"plasticrl: warning: {folder} is on a file system without locks: start no other training there",
            file=sys.stderr,
        )
    try:
        yield
    finally:
        lock.release()


CONFIG, RESULT, CHECKPOINTS = "config.json", "result.json", "checkpoints"
# All files that any version of a run writes into its folder, also unfinished ones.
_LOGS = r"progress\.csv|events\.out\.tfevents\..+"
_FILES = re.compile(
    rf"(config|result|spent|tracked)\.json|{_LOGS}"
    rf"|\.((config|result|spent|tracked)\.json|{_LOGS})\.{ANY_WRITER}"
    r"|\.(config|result|spent)\.\d+\.json|\.progress\.\d+\.csv"
)
_UNFINISHED_CONFIG = re.compile(rf"\.config\.json\.{ANY_WRITER}|\.config\.\d+\.json")
_CHECKPOINT_FILES = re.compile(
    rf"step_\d+\.(safetensors|zip)(\.damaged)?|\.step_\d+\.(safetensors|zip)\.{ANY_WRITER}"
)
_CHECKPOINT = re.compile(r"step_(\d{1,18})\.safetensors")
MOST_BYTES = 2**20  # of JSON; a run's files have a few thousand


def write_json(path: Path, data: Any) -> None:
    """Write strict JSON atomically.

    Raises:
        ValueError: a number is not finite.
    """
    write_whole(path, (json.dumps(data, indent=2, allow_nan=False) + "\n").encode())


def write_csv(path: Path, rows: Iterable[Sequence[Any]], line_end: str = "\r\n") -> None:
    """Write a CSV table atomically."""
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator=line_end).writerows(rows)
    write_whole(path, text.getvalue().encode())


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object that a run has written: a strict, regular file of limited size.

    Raises:
        UserError: the file cannot be read, or is not such an object.
    """
    try:
        return json_object(read_regular(path, MOST_BYTES).decode())
    except OSError as error:
        raise UserError(os_error_in_one_line(error, f"cannot read {path}")) from error
    except (ValueError, RecursionError) as error:
        raise UserError(
            f"{path} is not valid JSON ({one_line(error)}): restore it or train the run again"
        ) from error


def json_object(text: str) -> dict[str, Any]:
    """Return the object that strict JSON holds.

    Raises:
        ValueError: it is not such JSON, a name occurs twice in an object, or a number is not finite.
        RecursionError: it is nested too deeply.
    """
    data = json.loads(text, parse_constant=_finite, parse_float=_finite, object_pairs_hook=without_duplicates)
    if not isinstance(data, dict):
        raise ValueError("it is not an object")
    return data


def _finite(text: str) -> float:
    if not math.isfinite(number := float(text)):
        raise ValueError(f"it holds {text}, which is no finite number")
    return number


def without_duplicates(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """Return a dict of these pairs.

    Raises:
        ValueError: a name occurs twice.
    """
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"{name} occurs twice")
        found[name] = value
    return found


def refuse_checkpoints(folder: Path) -> None:
    """Check that the folder is not a run's folder of checkpoints.

    Raises:
        UserError: it is; the message names the run's folder.
    """
    run = folder.absolute().parent
    if folder.absolute().name == CHECKPOINTS and (run / CONFIG).is_file():
        raise UserError(f"{folder} is a run's folder of checkpoints: give the run's folder, {run}")


def read_run(folder: Path) -> Run:
    """Return the settings of the run in ``folder``.

    Raises:
        UserError: there is no run, its settings cannot be read, or they name code in its own folder.
    """
    refuse_checkpoints(folder)
    if not os.path.lexists(folder / CONFIG):
        raise UserError(
            f"{folder} holds no run (no {CONFIG}): give a folder that train wrote, runs/TASK/CORE/seed_K"
        )
    return run_of(folder / CONFIG, read_json(folder / CONFIG))


def run_of(path: Path, data: dict[str, Any]) -> Run:
    """Return the run with the settings in a run's file.

    Args:
        path: the file.
        data: its content.

    Raises:
        UserError: the content is not the settings of a run, or names code in the run's own folder.
    """
    try:
        run = run_from_dict(data)
    except (KeyError, TypeError) as error:
        cause = f"{error.args[0]} is missing" if isinstance(error, KeyError) else error
        raise UserError(
            f"{path} is not the settings of a run ({one_line(cause)}): restore it or train the run again"
        ) from error
    for module in run.modules if path.name == CONFIG else ():  # a copy elsewhere is in no run's folder
        _refuse_own_code(module, path.parent)
    return run


def _refuse_own_code(module: str, folder: Path) -> None:
    """Refuse a module that would be imported from the run's own folder.

    Raises:
        UserError: it would.
    """
    place = Path(module.partition(".")[0]).resolve()  # modules are also found in the current folder
    whole = folder.resolve()
    if whole.is_relative_to(place) or place.is_relative_to(whole):
        raise UserError(
            f"{folder / CONFIG} names the module {module}, which lies beside the run: move it to another "
            "folder if you trust it"
        )


def _settings_in(folder: Path) -> dict[str, Any]:
    """Return the settings in a run's folder as this version writes them; as they are if it cannot read them.

    Raises:
        UserError: there is no JSON object, or a later version wrote it.
    """
    return in_this_version(read_json(folder / CONFIG))


def has_file(path: Path) -> bool:
    """Return True if a run's file exists.

    Raises:
        UserError: the path is not a regular file, but for example a link.
    """
    try:
        kind = kind_of(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise UserError(os_error_in_one_line(error, f"cannot read {shortened(path)}")) from error
    if kind is not None:
        raise UserError(f"{path} is {kind}, but a run's files must be regular files: remove it")
    return True


def is_finished(folder: Path) -> bool:
    """Return True if the run in ``folder`` is finished.

    Raises:
        UserError: its result is not a regular file.
    """
    return has_file(folder / RESULT)


def check_files(folder: Path) -> None:
    """Check that the files a run writes to and removes from this folder are not links to other places.

    Raises:
        UserError: the folder or one of its files is a link or not regular; the message names it.
    """
    if folder.is_symlink():
        raise UserError(f"{folder} is a link, and a run must not be written through one: give its target")
    if not folder.is_dir():
        return
    refuse_linked(folder / CHECKPOINTS)
    with as_user_error(OSError, about=f"cannot read {folder}"):
        names = os.listdir(folder)
    for name in names:
        if name == LOCK or _FILES.fullmatch(name):
            has_file(folder / name)


def refuse_linked(folder: Path) -> None:
    """Check that a folder in which a command writes and removes files is not a link.

    Raises:
        UserError: it is a link.
    """
    if folder.is_symlink():
        raise UserError(f"{folder} is a link, and its files may not be the run's: replace it by a folder")


def check_claim(folder: Path, run: Run, *, overwrite: bool) -> None:
    """Check, without writing, that :func:`claim` will be allowed.

    Raises:
        UserError: the folder is taken, is not that of a run, or cannot be written.
    """
    check_files(folder)
    if folder.is_dir() and not _is_begun(folder):
        _check_is_run(folder, run)
        if not overwrite:
            raise _taken(folder, run)
        _check_checkpoints(folder / CHECKPOINTS)
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not existing.is_dir():
        raise UserError(f"cannot write to {folder}: {existing} is not a folder; choose another --root")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise UserError(f"cannot write to {folder}: no permission for {existing}; choose another --root")


def claim(folder: Path, run: Run, *, overwrite: bool) -> None:
    """Create the folder and write its ``config.json``; with ``overwrite``, remove an existing run first.

    Other files in the folder are kept, and listed on stderr.

    Raises:
        BusyError: another process trains in it, or claims it now.
        UserError: the folder is taken, is not that of a run, or cannot be written.
    """
    check_claim(folder, run, overwrite=overwrite)
    with as_user_error(OSError, about=f"cannot write to {folder}"):
        folder.mkdir(parents=True, exist_ok=True)
        with locked(folder):
            check_claim(folder, run, overwrite=overwrite)  # of two simultaneous claims, one fails here
            if others := _remove_files(folder):
                names = one_line(", ".join(others))
                print(f"plasticrl: note: {folder} keeps files of no run: {names}", file=sys.stderr)
            (folder / CHECKPOINTS).mkdir(exist_ok=True)
            write_json(folder / CONFIG, run.as_dict())


def remove_run(folder: Path, run: Run) -> None:
    """Remove a run, or the remains of a killed claim; keep other files in the folder.

    Args:
        folder: folder of the run.
        run: a run that belongs there, with any settings.

    Raises:
        BusyError: another process trains in it.
        OSError: a file cannot be removed.
        UserError: the folder is not that of a run.
    """
    _check_removable(folder, run)  # before a lock file is created in it
    with locked(folder):
        _check_removable(folder, run)
        others = _remove_files(folder)
        (folder / CONFIG).unlink(missing_ok=True)
        if not others:
            (folder / LOCK).unlink()
            if (folder / CHECKPOINTS).is_dir():
                (folder / CHECKPOINTS).rmdir()
            folder.rmdir()


def _check_removable(folder: Path, run: Run) -> None:
    check_files(folder)
    if not _is_begun(folder):
        _check_is_run(folder, run)


def _remove_files(folder: Path) -> list[str]:
    """Remove the files of a run except ``config.json``, which marks the folder as a run's to the end.

    Returns:
        The names of the remaining files, which no run has written.
    """
    others = _remove(folder, _FILES, but=(LOCK, CONFIG, CHECKPOINTS))
    if (folder / CHECKPOINTS).is_dir():
        left = _remove(folder / CHECKPOINTS, _CHECKPOINT_FILES)
        others += [f"{CHECKPOINTS}/{name}" for name in left]
    return others


_CAN_HOLD = os.unlink in os.supports_dir_fd and os.scandir in os.supports_fd


def _remove(folder: Path, ours: re.Pattern[str], but: Sequence[str] = ()) -> list[str]:
    """Remove files whose names match ``ours`` from a folder; return the other names, except ``but``."""
    # The folder is kept open: if it is replaced meanwhile, for example by a link, nothing is removed there.
    held = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW) if _CAN_HOLD else None
    others = []
    try:
        with os.scandir(folder if held is None else held) as found:
            # The result is removed first: without it, the remains are an unfinished run.
            entries = sorted(found, key=lambda entry: (entry.name != RESULT, entry.name))
        for entry in entries:
            if entry.name in but:
                continue
            if not ours.fullmatch(entry.name) or entry.is_dir(follow_symlinks=False):
                others.append(entry.name)
            else:
                os.unlink(entry.path if held is None else entry.name, dir_fd=held)
    finally:
        if held is not None:
            os.close(held)
    return others


def _is_begun(folder: Path) -> bool:
    """Return True if the folder holds nothing but the remains of a killed claim."""
    return all(
        path.name == LOCK
        or _UNFINISHED_CONFIG.fullmatch(path.name)
        or (path.name == CHECKPOINTS and path.is_dir() and not any(path.iterdir()))
        for path in folder.iterdir()
    )


def _check_is_run(folder: Path, run: Run) -> None:
    """Check that a folder's ``config.json`` is that of a run.

    Args:
        folder: the folder.
        run: the run that belongs there. Settings that only another version has are accepted.

    Raises:
        UserError: it is not.
    """
    cause, ours = f"no {CONFIG}", run.as_dict()
    if os.path.lexists(folder / CONFIG):
        try:
            data = read_json(folder / CONFIG)
        except UserError as error:
            cause = str(error).partition(": ")[0]
        else:
            data = in_this_version(data)  # a later version is refused with the way out
            same = all(data.get(name) == ours[name] for name in ("task", "core", "seed"))
            try:
                if not (same and data.keys() == ours.keys()):
                    read_run(folder)
                return
            except UserError as error:
                cause = str(error).partition(": ")[0]
    raise UserError(f"{folder} is not a run's folder ({cause}): move its files away, or give another --root")


def _check_checkpoints(folder: Path) -> None:
    """Check that nothing will obstruct new checkpoints once the old ones are removed.

    Raises:
        UserError: ``folder`` is not a folder, or a folder in it has the name of a checkpoint.
    """
    if not folder.is_dir():
        if os.path.lexists(folder):
            raise UserError(f"{folder} is not a folder, but must be that of the checkpoints: remove it")
        return
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink() and _CHECKPOINT_FILES.fullmatch(path.name):
            has_file(path)


def _taken(folder: Path, run: Run) -> UserError:
    """Return the error for a folder that another run occupies, or another process since a moment ago."""
    ways = "give --overwrite to replace it, or another --seed or --root to keep it"
    kind = "a finished run" if is_finished(folder) else "an unfinished run"
    change = first_difference(_settings_in(folder), {"init_from": None, **run.as_dict()})
    if change is None and not is_finished(folder):  # it would have been resumed
        return busy_error(folder)
    if change is not None:
        kind += f" with other settings ({change})"
        if not is_finished(folder):
            ways += f"; plasticrl train --resume {folder} resumes it"
    return UserError(f"{folder} already holds {kind}: {ways}")


def first_difference(old: dict[str, Any], new: dict[str, Any]) -> str | None:
    """Describe the first setting of ``new`` that differs from ``old``; None if all are equal."""
    for name, value in new.items():
        was = old.get(name)
        if isinstance(value, dict) and isinstance(was, dict):
            if (change := first_difference(was, value)) is not None:
                return change
        elif was != value:
            return f"{name} was {one_line(was)}, now {value}"
    if left := [name for name in old if name not in new]:
        return f"{left[0]} was {one_line(old[left[0]])}, now not given"
    return None


def is_unfinished(folder: Path, run: Run) -> bool:
    """Return True if the folder holds an unfinished training of exactly this run.

    Raises:
        UserError: its settings cannot be read, or resuming would write through a link.
    """
    if is_finished(folder) or not has_file(folder / CONFIG):
        return False
    check_files(folder)
    return _settings_in(folder) == run.as_dict()


def can_go_on(folder: Path, run: Run) -> bool:
    """Return True if the folder holds this run unfinished, or a shorter one that has come to its end.

    Raises:
        UserError: its settings cannot be read, or resuming would write through a link.
    """
    if is_unfinished(folder, run):
        return True
    if not has_file(folder / CONFIG):
        return False
    settings, total = _settings_in(folder), run.entry.total
    training = settings.get("training")
    if not isinstance(training, dict) or not isinstance(was := training.get(total), int) or was >= run.total:
        return False
    if {**settings, "training": {**training, total: run.total}} != run.as_dict():
        return False
    check_files(folder)
    saved = (_CHECKPOINT.fullmatch(path.name) for path in (folder / CHECKPOINTS).glob("step_*"))
    return any(int(found[1]) >= was for found in saved if found)


def lengthen(folder: Path, run: Run) -> None:
    """Turn the ended, shorter training in the folder into an unfinished one of this run."""
    (folder / RESULT).unlink(missing_ok=True)  # first: an unfinished training can be lengthened, too
    write_json(folder / CONFIG, run.as_dict())


Found = TypeVar("Found")


def is_kept(run: Run, root: Path) -> bool:
    """Return True if exactly this run is finished below ``root``."""
    folder = run.folder(root)
    return is_finished(folder) and _settings_in(folder) == run.as_dict()


def finished_score(run: Run, root: Path) -> float:
    """Return the score of a finished run's evaluation; higher is better.

    Raises:
        UserError: its result cannot be read.
    """
    return read_evaluation(run.folder(root), run.score)


def read_evaluation(folder: Path, read: Callable[[Any], Found]) -> Found:
    """Return the result of ``read`` for the evaluation in a run's ``result.json``.

    Raises:
        UserError: it cannot be read.
    """
    path = folder / RESULT
    try:
        return read(read_json(path)["evaluation"])
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path} is not a run's result ({error}): train it again with --overwrite") from error
