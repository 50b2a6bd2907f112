"""Standard output and error that a command can write to, whatever has become of them."""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from io import FileIO, TextIOWrapper
from typing import Any, TextIO


class Stream(FileIO):
    """A file descriptor that takes all that is written; what the system refuses is lost.

    Attributes:
        error: why something was lost; None where nothing was.
    """

    error: OSError | None = None

    def write(self, content: Any) -> int:
        """Write all of it, or as much as can be written."""
        left = whole = memoryview(content).cast("B")
        while left:
            try:
                written = super().write(left)
            except OSError as error:
                self.error = error
                break
            if written is None:  # someone else who uses the terminal does not want to wait for it
                select.select([], [self], [])
            else:
                left = left[written:]
        return whole.nbytes


@contextmanager
def lasting_streams() -> Iterator[Stream | None]:
    """Inside, ``print`` never fails: not on a full disk, a broken pipe, a closed stream, or an odd character.

    So a training goes on where nobody can see it. Streams that were put in place of the process's own stay.

    Yields:
        standard output; None where it is not the process's own.
    """
    usual = sys.stdout, sys.stderr
    _fill_gaps()
    output = None
    if usual[0] is sys.__stdout__:
        output = Stream(1, "w", closefd=False)
        sys.stdout = _text(output, usual[0])
    if usual[1] is sys.__stderr__:
        sys.stderr = _text(Stream(2, "w", closefd=False), usual[1])
    held = sys.stdout, sys.stderr
    try:
        yield output
    finally:
        for stream in held:
            stream.flush()
        sys.stdout, sys.stderr = usual


def _fill_gaps() -> None:
    """Let closed standard streams lead nowhere, lest the next file that is opened takes the place of one."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)


def _text(stream: Stream, like: TextIO | None) -> TextIO:
    """The stream for text; ``like`` is what Python made of it, None where it was closed."""
    given = like if isinstance(like, TextIOWrapper) else None
    if given is not None:
        given.flush()
    return TextIOWrapper(
        stream,
        encoding=given.encoding if given else "utf-8",
        errors="backslashreplace",
        line_buffering=given.line_buffering if given else False,
        write_through=given.write_through if given else False,
    )
