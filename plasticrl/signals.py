"""Handling of Ctrl-C, SIGTERM and SIGHUP that stops work only at consistent points."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

INTERRUPTED = 130
"""Exit status of a process stopped by any of these signals: the one that shells use for Ctrl-C."""

STOP_SIGNALS = tuple(
    signal.Signals[name] for name in ("SIGTERM", "SIGHUP") if name in signal.Signals.__members__
)
"""Signals that are treated like Ctrl-C; Windows has no SIGHUP."""

FROM_TERMINAL = frozenset({signal.SIGINT, *STOP_SIGNALS} - {signal.SIGTERM})
"""Signals that a terminal sends to all of its processes at once; those that others stop ignore them."""


def interrupt_once(number: int, frame: FrameType | None) -> None:
    """Signal handler that raises KeyboardInterrupt and ignores all later signals that it handles.

    A process may receive the signal several times, from its process group and from its parent.
    """
    for one in STOP_SIGNALS:
        if one == number or signal.getsignal(one) is interrupt_once:
            signal.signal(one, signal.SIG_IGN)
    raise KeyboardInterrupt


@contextmanager
def sigterm_interrupts() -> Iterator[None]:
    """Treat ``STOP_SIGNALS`` as Ctrl-C in the block, and ignore repeated ones; keep other handlers."""
    with _handled_by(interrupt_once, instead_of=signal.SIG_DFL):
        yield


@contextmanager
def sigterm_ends() -> Iterator[None]:
    """Let the signals end the process again, inside :func:`sigterm_interrupts`; for waits in C++ code.

    Such code does not return to Python, so a handler would not run.
    """
    with _handled_by(signal.SIG_DFL, instead_of=interrupt_once):
        yield


@contextmanager
def _handled_by(handler: Any, instead_of: Callable[..., Any] | int) -> Iterator[None]:
    in_main = threading.current_thread() is threading.main_thread()
    ours = [one for one in STOP_SIGNALS if in_main and signal.getsignal(one) is instead_of]
    try:
        for one in ours:
            signal.signal(one, handler)
        yield
    finally:
        for one in ours:
            signal.signal(one, instead_of)


class StoppedBetweenUpdates(KeyboardInterrupt):
    """A KeyboardInterrupt between two updates, when the state is consistent and can be saved without loss."""


class PostponedInterrupt:
    """Context manager in which Ctrl-C, SIGTERM or SIGHUP only sets ``pending``; a second Ctrl-C interrupts.

    A repeated SIGTERM or SIGHUP has no effect, as with :func:`plasticrl.signals.interrupt_once`.

    The block polls ``pending`` at points where stopping leaves a consistent state. If it is set at the end
    of the block, :class:`StoppedBetweenUpdates` is raised. There is no effect outside the main thread, or on
    a signal that has another handler.
    """

    def __init__(self) -> None:
        self.pending = False
        self._replaced: dict[int, Any] = {}

    def __enter__(self) -> PostponedInterrupt:
        if threading.current_thread() is threading.main_thread():
            for number, usual in (
                (signal.SIGINT, (signal.default_int_handler,)),
                *((number, (signal.SIG_DFL, interrupt_once)) for number in STOP_SIGNALS),
            ):
                if signal.getsignal(number) in usual:
                    self._replaced[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: Any) -> None:
        for number, usual in self._replaced.items():
            signal.signal(number, usual)
        if self.pending and kind is None:
            raise StoppedBetweenUpdates

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.pending and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.pending = True
        if self._replaced[number] is interrupt_once:  # it interrupts once only, and this was that time
            for one, usual in self._replaced.items():
                self._replaced[one] = signal.SIG_IGN if usual is interrupt_once else usual
