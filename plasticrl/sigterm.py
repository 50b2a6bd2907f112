"""Treating SIGTERM like Ctrl-C, for programs that save their state before they exit."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

INTERRUPTED = 130
"""Exit status of a process stopped by Ctrl-C or SIGTERM: the one that shells use for Ctrl-C, for both."""


def interrupt_once(number: int, frame: FrameType | None) -> None:
    """Signal handler: raise KeyboardInterrupt once, and ignore the signal from then on.

    A process may get the signal several times, from its process group and from its parent.
    """
    signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


@contextmanager
def sigterm_interrupts() -> Iterator[None]:
    """Make the first SIGTERM in the block act like Ctrl-C and ignore later ones, unless it has a handler."""
    with _handled_by(interrupt_once, instead_of=signal.SIG_DFL):
        yield


@contextmanager
def sigterm_ends() -> Iterator[None]:
    """Let SIGTERM kill again inside :func:`sigterm_interrupts`: C++ code that waits runs no handlers."""
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
