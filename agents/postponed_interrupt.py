"""Postponing Ctrl-C and SIGTERM until the current update is complete."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any

from plasticrl.sigterm import STOP_SIGNALS, interrupt_once


class StoppedBetweenUpdates(KeyboardInterrupt):
    """A KeyboardInterrupt between two updates, when the state is consistent and can be saved without loss."""


class PostponedInterrupt:
    """Inside the block, Ctrl-C, SIGTERM or SIGHUP only sets ``pending``; a second Ctrl-C interrupts at once.

    A SIGTERM or SIGHUP after that changes nothing, as with :func:`plasticrl.sigterm.interrupt_once`.

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
