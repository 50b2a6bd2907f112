"""Compilation of the kernels: their cache, a notice on stderr, and interrupts that wait until it ends."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from importlib import import_module
from types import FrameType
from typing import Any, TypeVar, cast

import numba

from plasticrl.signals import STOP_SIGNALS

event: Any = import_module("numba.core.event")  # as Any: numba's internals are not annotated


class _Announcement(event.Listener):  # type: ignore[misc]
    """Says on stderr, once, what the first call of an installation waits for."""

    said = False

    def on_start(self, started: Any) -> None:
        module = getattr(getattr(started.data["dispatcher"], "py_func", None), "__module__", None) or ""
        if not self.said and module.startswith("plasticrl.ops"):
            self.said = True
            print("plasticrl: compiling kernels for this processor (once, then cached) ...", file=sys.stderr)

    def on_end(self, ended: Any) -> None:
        pass


def announce_compilation() -> None:
    """Say so if this process compiles kernels, rather than loading those compiled before."""
    event.register("numba:compile", _Announcement())


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


caching: Any = import_module("numba.core.caching")  # as Any: numba's internals are not annotated

_Function = TypeVar("_Function", bound=Callable[..., Any])


def kernel(function: _Function) -> _Function:
    """Compile for the host's processor at the first call, and keep the result on disk where possible.

    The copy on disk is renewed when the function's own file changes, not when one that it imports does:
    after editing those, remove the ``*.nbi`` files from ``__pycache__``.
    """
    dispatcher: Any = numba.njit(nogil=True)(function)
    try:
        dispatcher._cache = _Cache(function)
    except RuntimeError:  # no folder can be written, not even the user's own
        dispatcher._cache = _NoCache()
    return cast(_Function, dispatcher)


class _Cache(caching.FunctionCache):  # type: ignore[misc]
    """numba's, except that its errors are told and the kernel is compiled anew."""

    def load_overload(self, signature: Any, context: Any) -> Any:
        try:
            return super().load_overload(signature, context)
        except OSError as error:
            _warn("unreadable", f"cannot be read from {self.cache_path} ({error.strerror})")
        except Exception as error:  # the unpickling of a damaged file may raise anything
            _warn("damaged", f"in {self.cache_path} are damaged ({type(error).__name__}) and are replaced")
            with suppress(OSError):
                self.flush()  # an index that cannot be read could not be added to
        return None

    def save_overload(self, signature: Any, result: Any) -> None:
        try:
            super().save_overload(signature, result)
        except OSError as error:
            _warn(
                "not kept",
                f"cannot be kept in {self.cache_path} ({error.strerror}): each process compiles them anew; "
                "make room there, or set NUMBA_CACHE_DIR to another folder",
            )


class _NoCache(caching.NullCache):  # type: ignore[misc]
    """Keeps nothing, and says so when there is something to keep."""

    def save_overload(self, signature: Any, result: Any) -> None:
        _warn(
            "not kept",
            "cannot be kept, for neither the package's folder nor the user's cache can be written: each "
            "process compiles them anew; set NUMBA_CACHE_DIR to a folder that can be written",
        )


_told = set[str]()


def _warn(trouble: str, text: str) -> None:
    """Say it on stderr, once for all kernels."""
    if trouble not in _told:
        _told.add(trouble)
        print(f"plasticrl: warning: compiled kernels {text}", file=sys.stderr)
