"""A run's ``progress.csv`` and TensorBoard events, also where a run goes on: nothing twice, nothing lost."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plasticrl.scripts.run_folder import written_whole

if TYPE_CHECKING:
    from stable_baselines3.common.logger import Logger

CSV = "progress.csv"
_HEAD, _FOOT = 12, 4  # bytes of a record before and after its data


def open_logs(folder: Path, *, done: int, counter: str) -> Logger:
    """A logger that goes on after what was logged up to ``done``; what is later is forgotten first.

    Args:
        folder: of the run.
        done: steps or episodes that the run has behind it.
        counter: the column of ``progress.csv`` that counts them.
    """
    from stable_baselines3.common.logger import CSVOutputFormat, Logger, TensorBoardOutputFormat

    from plasticrl.scripts.event_file import EventWriter

    class Rows(CSVOutputFormat):
        """SB3's, which goes on after the rows that are there; new columns are in alphabetical order."""

        def __init__(self, path: Path, columns: list[str]) -> None:
            self.file = path.open("r+" if columns else "w+", newline="")
            self.file.seek(0, os.SEEK_END)
            self.keys, self.separator, self.quotechar = _Columns(columns), ",", '"'

    class Events(TensorBoardOutputFormat):
        """SB3's, on a writer that raises its errors here."""

        def __init__(self) -> None:
            self.writer, self._is_closed = EventWriter(folder), False

    class Log(Logger):
        """SB3's, which closes every output even where closing another fails."""

        def close(self) -> None:
            with ExitStack() as outputs:
                for output in self.output_formats:
                    outputs.callback(output.close)

    for path in folder.glob("events.out.tfevents.*"):
        _cut_events(path, done)
    rows = Rows(folder / CSV, _cut_csv(folder / CSV, counter, done))
    return Log(str(folder), [rows, Events()])


def flush(logger: Any) -> None:
    """Write to the disk what TensorBoard holds back."""
    from plasticrl.agents.matrix_pictures import tensorboard_writer

    writer = tensorboard_writer(logger)
    if writer is not None:
        writer.flush()


def length_logged(folder: Path, counter: str) -> int:
    """How far a run's ``progress.csv`` goes; 0 where it says nothing."""
    return most_logged(folder, counter) or 0


def most_logged(folder: Path, column: str) -> int | None:
    """The largest of the whole numbers in a column of a run's ``progress.csv``; None where there is none."""
    path = folder / CSV
    if not path.is_file():
        return None
    with path.open(newline="") as file:
        return max((int(row[column]) for row in csv.DictReader(file) if row.get(column)), default=None)


class _Columns(list[str]):
    """SB3 adds new columns as a set, whose order is another in each process."""

    def extend(self, more: Iterable[str]) -> None:
        super().extend(sorted(more))


def _cut_csv(path: Path, counter: str, done: int) -> list[str]:
    """Keep the rows up to ``done``; returns the columns, none where no row is left."""
    if not path.is_file():
        return []
    with path.open(newline="") as file:
        header, *rows = list(csv.reader(file)) or [[]]
    if counter not in header:
        return []
    place = header.index(counter)
    kept = [row for row in rows if len(row) == len(header) and row[place] and int(row[place]) <= done]
    if not kept:
        return []
    with written_whole(path) as temporary, temporary.open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([header, *kept])
    return header


def _cut_events(path: Path, done: int) -> None:
    """Keep the events up to ``done``; a last record that a killed process left unfinished goes too."""
    from tensorboard.compat.proto.event_pb2 import Event  # type: ignore[import-untyped]

    content = path.read_bytes()
    with written_whole(path) as temporary, temporary.open("wb") as file:
        for record in _records(content):
            if Event.FromString(record[_HEAD:-_FOOT]).step <= done:
                file.write(record)


def _records(content: bytes) -> Iterator[bytes]:
    """The whole records of a TFRecord file: the data's length and its checksum, the data, its checksum."""
    at = 0
    while (end := at + _HEAD + int.from_bytes(content[at : at + 8], "little") + _FOOT) <= len(content):
        yield content[at:end]
        at = end
