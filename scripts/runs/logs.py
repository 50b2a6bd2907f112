"""A run's ``progress.csv`` and TensorBoard events; resuming a run neither repeats nor loses entries."""

from __future__ import annotations

import csv
import io
import os
import socket
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from stable_baselines3.common.logger import CSVOutputFormat, KVWriter, Logger, TensorBoardOutputFormat
from tensorboard.compat.proto.event_pb2 import Event  # type: ignore[import-untyped]
from tensorboard.summary.writer.record_writer import (  # type: ignore[import-untyped]
    RecordWriter,
    masked_crc32c,
)
from torch.utils.tensorboard.writer import FileWriter, SummaryWriter

from plasticrl.agents.common import tags
from plasticrl.agents.common.tensorboard import tensorboard_writer
from plasticrl.scripts.errors import UserError, as_user_error, one_line
from plasticrl.scripts.runs.folder import has_file, read_json, write_csv, write_json
from plasticrl.scripts.runs.run import Run
from plasticrl.whole_files import (
    UnfitFileError,
    check_size,
    flush_file,
    open_regular,
    read_regular,
    write_whole,
    written_whole,
)

CSV, _EVENTS = "progress.csv", "events.out.tfevents.*"
_AT_THE_END = (tags.EVALUATION, tags.MAZE_EPISODE)  # events that a run writes after its training
_HEAD, _FOOT = 12, 4  # bytes of a record before and after its data
# Limits in bytes. A run's logs have a few megabytes; a larger file is sparse, or not a log.
_MOST_OF_CSV, _MOST_OF_EVENTS, _MOST_OF_RECORD = 2**24, 2**32, 2**28
_DIGITS = 19  # numbers with so many digits are too large for steps or episodes


def open_logs(folder: Path, *, done: int, total: int, counter: str) -> RunLogger:
    """Open a logger that continues a run's logs after ``done``; later entries are removed first.

    Args:
        folder: folder of the run.
        done: number of steps or episodes done so far.
        total: length of the training. The events that its end wrote to TensorBoard are removed, too.
        counter: column of ``progress.csv`` that counts steps or episodes.
    """
    for path in folder.glob(_EVENTS):
        _cut_events(path, done, total)
    # Both are rewritten even if unchanged, so that they are not hard links to files of others.
    columns = _cut_csv(folder / CSV, counter, done)
    return RunLogger(folder, columns, counter)


class _Rows(CSVOutputFormat):
    """SB3's CSV output, appending to existing rows; new columns are in alphabetical order."""

    def __init__(self, path: Path, columns: list[str]) -> None:
        self.file = path.open("r+", newline="")
        self.file.seek(0, os.SEEK_END)
        self.keys, self.separator, self.quotechar = _Columns(columns), ",", '"'


class _Columns(list[str]):
    """List of columns that sorts new ones: SB3 adds them as a set, whose order differs between processes."""

    def extend(self, more: Iterable[str]) -> None:
        super().extend(sorted(more))


class _Events(TensorBoardOutputFormat):
    """SB3's TensorBoard output, with a writer that raises its errors in this thread."""

    def __init__(self, folder: Path) -> None:
        self.writer, self._is_closed = EventWriter(folder), False


class RunLogger(Logger):
    """SB3's logger with the time in training; it closes every output even if closing another one fails.

    Args:
        folder: folder of the run.
        columns: columns of the rows that ``progress.csv`` has.
        counter: the column that counts steps or episodes.

    Attributes:
        before: seconds in training of the processes that wrote these rows; 0 if there are none, or if an
            older version wrote them, which did not log it.
        untimed: number of steps or episodes in rows of such a version.
    """

    def __init__(self, folder: Path, columns: list[str], counter: str) -> None:
        super().__init__(str(folder), [_Rows(folder / CSV, columns), _Events(folder)])
        self._folder = folder
        self.before, self.untimed = _time_logged(folder / CSV, counter)
        self._began = time.monotonic()

    def seconds(self) -> float:
        """Return the time in training until now, of all processes that trained the run."""
        return self.before + time.monotonic() - self._began

    def track(self, run: Run) -> str | None:
        """Log to Weights & Biases from now on; return the run's address there, None if it has none.

        Raises:
            UserError: it cannot be reached, or there is no account.
        """
        tracked = _Tracked(self._folder, run)
        self.output_formats.append(tracked)
        return None if tracked.run.offline else tracked.run.url or None

    def log_evaluation(self, values: Mapping[str, float], step: int) -> None:
        """Log the scores of the final evaluation where nothing else does: at Weights & Biases."""
        for output in self.output_formats:
            if isinstance(output, _Tracked):
                output.run.log(dict(values), step=step)

    def dump(self, step: int = 0) -> None:
        """Write an entry, with the time in training as a column of ``progress.csv``."""
        self.record(tags.SECONDS, self.seconds(), exclude="tensorboard")
        super().dump(step)

    def close(self) -> None:
        """Close all outputs."""
        with ExitStack() as outputs:
            for output in self.output_formats:
                outputs.callback(output.close)


TRACKED = "tracked.json"


def check_tracking(track: bool) -> None:
    """Check that a run can be logged to Weights & Biases, if it is to be.

    Raises:
        UserError: the package is missing.
    """
    if track and find_spec("wandb") is None:
        raise UserError("--track needs Weights & Biases, which is missing: pip install 'plasticrl[track]'")


class _Tracked(KVWriter):
    """SB3's output to Weights & Biases: the numbers that ``progress.csv`` gets.

    A resumed run stays the same run there: its id is kept in the folder.

    Args:
        folder: folder of the run.
        run: the run.

    Raises:
        UserError: it cannot be reached, or there is no account.
    """

    def __init__(self, folder: Path, run: Run) -> None:
        import wandb

        path = folder / TRACKED
        known: str | None = read_json(path).get("id") if has_file(path) else None
        try:
            self.run = wandb.init(
                id=known,
                resume="allow" if known else None,
                project=None if "WANDB_PROJECT" in os.environ else "plasticrl",
                name=run.label,
                group=run.place,
                config=run.as_dict(),
                settings=wandb.Settings(silent=True, console="off"),
            )
        except wandb.Error as error:
            raise UserError(
                f"--track: {one_line(error).rstrip('.')}: log in with wandb login, or set WANDB_MODE=offline"
            ) from error
        write_json(path, {"id": self.run.id})

    def write(
        self, key_values: dict[str, Any], key_excluded: dict[str, tuple[str, ...]], step: int = 0
    ) -> None:
        """Log an entry."""
        numbers = {
            name: value
            for name, value in key_values.items()
            if "csv" not in (key_excluded[name] or ()) and isinstance(value, (int, float, np.number))
        }
        self.run.log(numbers, step=step)

    def close(self) -> None:
        """Send what is left."""
        self.run.finish()


def _time_logged(path: Path, counter: str) -> tuple[float, int]:
    """Return the seconds in the last row, and the last step or episode of a row without them."""
    header, *rows = read_rows(path) or [[]]
    named = [dict(zip(header, row, strict=False)) for row in rows]
    untimed = [_whole(row.get(counter)) or 0 for row in named if not row.get(tags.SECONDS)]
    try:
        return float(named[-1][tags.SECONDS]), max(untimed, default=0)
    except (LookupError, ValueError):
        return 0.0, max(untimed, default=0)


def flush(logger: Any) -> None:
    """Flush the logs to disk, so that they survive even a crash of the machine."""
    writer = tensorboard_writer(logger)
    if writer is None:
        return
    writer.flush()
    for path in (Path(logger.dir, CSV), *Path(logger.dir).glob(_EVENTS)):
        flush_file(path)


def length_logged(folder: Path, counter: str) -> int:
    """Return the last step or episode in a run's ``progress.csv``; 0 if there is none."""
    return most_logged(folder, counter) or 0


def most_logged(folder: Path, column: str) -> int | None:
    """Return the largest whole number in a column of a run's ``progress.csv``; None if there is none."""
    path = folder / CSV
    if not has_file(path):
        return None
    with as_user_error(OSError, ValueError, about=f"cannot read {path}"):
        header, *rows = read_rows(path) or [[]]
    numbers = (_whole(dict(zip(header, row, strict=False)).get(column)) for row in rows)
    return max((number for number in numbers if number is not None), default=None)


def read_rows(path: Path) -> list[list[str]]:
    """Return the rows of a ``progress.csv``, starting with the header.

    Raises:
        OSError: it cannot be read, is not a regular file, or is too large.
        ValueError: it is not a CSV table.
    """
    try:
        text = io.StringIO(read_regular(path, _MOST_OF_CSV).decode(), newline="")
        return [row for row in csv.reader(text) if row]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"it is not a CSV table ({one_line(error)})") from error


def _whole(cell: str | None) -> int | None:
    """Return the whole number in a cell; None if it holds none."""
    return int(cell) if cell and cell.isdecimal() and len(cell) < _DIGITS else None


def _cut_csv(path: Path, counter: str, done: int) -> list[str]:
    """Keep the rows up to ``done``; return the columns, or none if no row is left."""
    with as_user_error(OSError, ValueError, about=f"cannot read {path}"):
        header, *rows = (read_rows(path) if has_file(path) else []) or [[]]
    kept = []
    if counter in header:
        place = header.index(counter)
        whole = [row for row in rows if len(row) == len(header)]
        kept = [row for row in whole if (number := _whole(row[place])) is not None and number <= done]
    if not kept:
        write_whole(path, b"")
        return []
    write_csv(path, [header, *kept], line_end="\n")
    return header


def _cut_events(path: Path, done: int, total: int) -> None:
    """Keep the events up to ``done``; also remove an incomplete last record of a killed process."""
    with as_user_error(UnfitFileError), open_regular(path, links=False) as old, written_whole(path) as new:
        try:
            for record in _records(old, check_size(path, old, _MOST_OF_EVENTS)):
                event = Event.FromString(record[_HEAD:-_FOOT])
                is_of_the_end = event.step >= total and any(
                    value.tag.startswith(_AT_THE_END) for value in event.summary.value
                )
                if event.step <= done and not is_of_the_end:
                    new.write(record)
        except DecodeError:  # neither this record nor later ones can be read
            return


def _records(file: BinaryIO, size: int) -> Iterator[bytes]:
    """Yield the complete records of a TFRecord file: length of the data, checksum, data, checksum."""
    while len(head := file.read(_HEAD)) == _HEAD:
        length = int.from_bytes(head[:8], "little")
        whole = masked_crc32c(head[:8]) == int.from_bytes(head[8:], "little")
        if not whole or length > min(size - file.tell() - _FOOT, _MOST_OF_RECORD):
            return
        yield head + file.read(length + _FOOT)


def flat(settings: dict[str, Any], prefix: str = "") -> dict[str, bool | int | float | str]:
    """Flatten nested settings to names ``group/name``; None becomes the text "default", lists become text."""
    level: dict[str, bool | int | float | str] = {}
    for name, value in settings.items():
        if isinstance(value, dict):
            level |= flat(value, f"{prefix}{name}/")
        else:
            whole = " ".join(map(str, value)) if isinstance(value, (list, tuple)) else value
            level[prefix + name] = "default" if whole is None else whole
    return level


_numbers = count()


class EventWriter(SummaryWriter):
    """PyTorch's SummaryWriter, except that it writes in the calling thread.

    PyTorch's own writer hands events to a thread. Errors there are only printed as a traceback, and ``flush``
    and ``close`` may return as if everything had been written. It also supports only UTF-8 paths.

    Args:
        folder: folder of the events; created if missing.
    """

    file_writer: Any  # torch annotates it as None
    all_writers: Any

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        super().__init__(os.fspath(folder))

    def _get_file_writer(self) -> Any:
        if self.file_writer is None:
            self.file_writer = _DirectWriter(self.log_dir)
            self.all_writers = {self.log_dir: self.file_writer}
        return self.file_writer

    def close(self) -> None:
        """Write the remaining events, and close the file even if that fails."""
        if self.file_writer is not None:
            self.file_writer.event_writer.close()
        self.file_writer = self.all_writers = None


class _DirectWriter(FileWriter):
    """PyTorch's FileWriter, writing to an :class:`_EventFile`."""

    def __init__(self, folder: str) -> None:
        self.event_writer = _EventFile(folder)


class _EventFile:
    """TensorBoard's ``EventFileWriter`` without its thread."""

    def __init__(self, folder: str) -> None:
        os.makedirs(folder, exist_ok=True)
        place = f"{time.time():010.0f}.{socket.gethostname()}.{os.getpid()}.{next(_numbers)}"
        self._folder = folder
        self._file = open(os.path.join(folder, f"events.out.tfevents.{place}"), "wb")  # noqa: SIM115
        self._records = RecordWriter(self._file)
        self.add_event(Event(wall_time=time.time(), file_version="brain.Event:2"))
        self.flush()

    def get_logdir(self) -> str:
        return self._folder

    def add_event(self, event: Any) -> None:
        self._records.write(event.SerializeToString())

    def flush(self) -> None:
        self._file.flush()

    def close(self) -> None:
        self._file.close()
