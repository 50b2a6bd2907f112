"""Ctrl-C and SIGTERM, handled so that nothing is stopped half-way."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

INTERRUPTED = 130
"""The exit status of a process that a signal stopped: for all of them that which shells give for Ctrl-C."""

STOP_SIGNALS = tuple(
    signal.Signals[name] for name in ("SIGTERM", "SIGHUP") if name in signal.Signals.__members__
)
"""Those that are taken as a Ctrl-C; Windows has no SIGHUP."""


def interrupt_once(number: int, frame: FrameType | None) -> None:
    """A handler: raises KeyboardInterrupt, and ignores the signals that it handles from then on.

    A process may get the signal several times, from its process group and from its parent.
    """
    for one in STOP_SIGNALS:
        if one == number or signal.getsignal(one) is interrupt_once:
            signal.signal(one, signal.SIG_IGN)
    raise KeyboardInterrupt


@contextmanager
def sigterm_interrupts() -> Iterator[None]:
    """Inside, these signals are a Ctrl-C, and further ones are ignored, unless someone else handles them."""
    with _handled_by(interrupt_once, instead_of=signal.SIG_DFL):
        yield


@contextmanager
def sigterm_ends() -> Iterator[None]:
    """Inside :func:`sigterm_interrupts`, let them end the process again: C++ that waits calls no handler."""
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
    """Inside the block, Ctrl-C, SIGTERM or SIGHUP only sets ``pending``; a second Ctrl-C interrupts at once.

    A SIGTERM or SIGHUP after that changes nothing, as with :func:`plasticrl.signals.interrupt_once`.

    The block polls ``pending`` at points where stopping leaves a consistent state. At its end,
    :class:`StoppedBetweenUpdates` is raised. Has no effect outside the main thread, or on a signal that has
    another handler.
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
        if self._replaced[number] is interrupt_once:  # this was the one
            for one, usual in self._replaced.items():
                self._replaced[one] = signal.SIG_IGN if usual is interrupt_once else usual
