"""SIGTERM as a Ctrl-C, for programs that save what they have before they end."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

INTERRUPTED = 130
"""The exit status of a process that Ctrl-C or SIGTERM stopped: for both that which shells give for Ctrl-C."""


def interrupt_once(number: int, frame: FrameType | None) -> None:
    """A handler: raises KeyboardInterrupt, and ignores the signal from then on.

    Whoever stops a group of processes, and each of them that stops its children, may send several.
    """
    signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


@contextmanager
def sigterm_interrupts() -> Iterator[None]:
    """Inside, a SIGTERM is a Ctrl-C, and further ones are ignored, unless someone else handles it."""
    with _handled_by(interrupt_once, instead_of=signal.SIG_DFL):
        yield


@contextmanager
def sigterm_ends() -> Iterator[None]:
    """Inside :func:`sigterm_interrupts`, let it end the process again: C++ that waits calls no handler."""
    with _handled_by(signal.SIG_DFL, instead_of=interrupt_once):
        yield


@contextmanager
def _handled_by(handler: Any, instead_of: Callable[..., Any] | int) -> Iterator[None]:
    in_main = threading.current_thread() is threading.main_thread()
    if not in_main or signal.getsignal(signal.SIGTERM) is not instead_of:
        yield
        return
    signal.signal(signal.SIGTERM, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, instead_of)
