"""Ctrl-C between two updates instead of within one."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any


class PostponedInterrupt:
    """Inside the block, a first Ctrl-C only sets ``pending``; a second one interrupts at once.

    The block looks at ``pending`` where stopping leaves everything whole; when it ends, the
    KeyboardInterrupt that was put off is raised. Does nothing outside the main thread, or where someone
    else handles the signal.
    """

    def __init__(self) -> None:
        self.pending = False
        self._active = False

    def __enter__(self) -> PostponedInterrupt:
        in_main = threading.current_thread() is threading.main_thread()
        self._active = in_main and signal.getsignal(signal.SIGINT) is signal.default_int_handler
        if self._active:
            signal.signal(signal.SIGINT, self._note)
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: Any) -> None:
        if self._active:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        if self.pending and kind is None:
            raise KeyboardInterrupt

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.pending:
            raise KeyboardInterrupt
        self.pending = True
