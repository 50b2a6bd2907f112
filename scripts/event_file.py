"""A TensorBoard writer whose errors are raised where it is called."""

from __future__ import annotations

import os
import socket
import time
from itertools import count
from typing import Any

from tensorboard.compat.proto.event_pb2 import Event  # type: ignore[import-untyped]
from tensorboard.summary.writer.record_writer import RecordWriter  # type: ignore[import-untyped]
from torch.utils.tensorboard.writer import FileWriter, SummaryWriter

_numbers = count()


class EventWriter(SummaryWriter):
    """PyTorch's, except that it writes in the calling thread.

    The usual one hands events to a thread. What goes wrong there is printed as a traceback, and
    ``flush`` and ``close`` may return as if all was written. Besides, it knows only UTF-8 paths.

    Args:
        folder: is made where there is none.
    """

    file_writer: Any  # torch's annotations know only None
    all_writers: Any

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        super().__init__(os.fspath(folder))

    def _get_file_writer(self) -> Any:
        if self.file_writer is None:
            self.file_writer = _DirectWriter(self.log_dir)
            self.all_writers = {self.log_dir: self.file_writer}
        return self.file_writer

    def close(self) -> None:
        """Write what is left, and close the file even where that fails."""
        if self.file_writer is not None:
            self.file_writer.event_writer.close()
        self.file_writer = self.all_writers = None


class _DirectWriter(FileWriter):
    """PyTorch's, on an :class:`_EventFile`."""

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
