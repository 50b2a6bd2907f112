"""Ctrl-C while kernels are compiled or loaded waits until they are: LLVM cannot be interrupted half-way."""

from __future__ import annotations

import signal
import threading
from functools import cache
from importlib import import_module
from types import FrameType
from typing import Any

from plasticrl.sigterm import STOP_SIGNALS

event: Any = import_module("numba.core.event")  # as Any: numba's internals are not annotated


class _Postponement(event.Listener):  # type: ignore[misc]
    """Notes signals that would raise an exception, and sends them again when the outermost compilation ends.

    An exception within a callback of LLVM is lost there and leaves half a kernel.
    """

    def __init__(self) -> None:
        self._depth = 0
        self._usual: dict[int, Any] = {}
        self._noted: list[int] = []

    def on_start(self, started: Any) -> None:
        if threading.current_thread() is not threading.main_thread():
            return  # only the main thread is interrupted
        self._depth += 1
        if self._depth > 1:
            return
        for number in (signal.SIGINT, *STOP_SIGNALS):
            if callable(signal.getsignal(number)):
                self._usual[number] = signal.signal(number, self._note)

    def on_end(self, ended: Any) -> None:
        if threading.current_thread() is not threading.main_thread():
            return
        self._depth -= 1
        if self._depth > 0:
            return
        noted, self._noted = self._noted, []
        while self._usual:
            signal.signal(*self._usual.popitem())
        for number in noted:
            signal.raise_signal(number)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._noted.append(number)


@cache
def postpone_interrupts_of_compilations() -> None:
    """From now on, whatever numba compiles or loads in the main thread is not interrupted half-way."""
    event.register("numba:compiler_lock", _Postponement())
