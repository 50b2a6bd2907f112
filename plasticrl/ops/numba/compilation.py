"""Compilation of the kernels: cache, notice on stderr, and postponement of interrupts until it ends."""

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
    """Listener that prints one notice on stderr when kernels are compiled."""

    said = False

    def on_start(self, started: Any) -> None:
        module = getattr(getattr(started.data["dispatcher"], "py_func", None), "__module__", None) or ""
        if not self.said and module.startswith("plasticrl.ops"):
            self.said = True
            print("plasticrl: compiling kernels for this processor (once, then cached) ...", file=sys.stderr)

    def on_end(self, ended: Any) -> None:
        pass


def announce_compilation() -> None:
    """Print a notice if this process compiles kernels rather than loading cached ones."""
    event.register("numba:compile", _Announcement())


class _Postponement(event.Listener):  # type: ignore[misc]
    """Listener that postpones signals during compilation and raises them again when the outermost one ends.

    An exception within a callback of LLVM would be lost and leave an incomplete kernel.
    """

    def __init__(self) -> None:
        self._depth = 0
        self._usual: dict[int, Any] = {}
        self._noted: list[int] = []

    def on_start(self, started: Any) -> None:
        if threading.current_thread() is not threading.main_thread():
            return  # only the main thread receives signals
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
    """Postpone interrupts in the main thread while numba compiles or loads code, from now on."""
    event.register("numba:compiler_lock", _Postponement())


caching: Any = import_module("numba.core.caching")  # as Any: numba's internals are not annotated

_Function = TypeVar("_Function", bound=Callable[..., Any])


def inlined(function: _Function) -> _Function:
    """Compile a part of kernels as :func:`kernel` does, and inline it wherever it is called.

    Small parts with many arguments are several times as fast this way.
    """
    return kernel(function, inline=True)


def kernel(function: _Function, *, inline: bool = False) -> _Function:
    """Compile a function for the host's processor at its first call, and cache it on disk if possible.

    The cache is renewed when the function's own file changes, but not when an imported file does: after
    editing such a file, remove the ``*.nbi`` files from ``__pycache__``.
    """
    dispatcher: Any = numba.njit(nogil=True, forceinline=inline)(function)
    try:
        dispatcher._cache = _Cache(function)
    except RuntimeError:  # no cache folder is writable, not even the user's
        dispatcher._cache = _NoCache()
    return cast(_Function, dispatcher)


class _Cache(caching.FunctionCache):  # type: ignore[misc]
    """numba's cache, except that errors only print a warning, and the kernel is compiled again."""

    def load_overload(self, signature: Any, context: Any) -> Any:
        try:
            return super().load_overload(signature, context)
        except OSError as error:
            _warn("unreadable", f"cannot be read from {self.cache_path} ({error.strerror})")
        except Exception as error:  # unpickling a damaged file may raise any error
            _warn("damaged", f"in {self.cache_path} are damaged ({type(error).__name__}) and are replaced")
            with suppress(OSError):
                self.flush()  # an unreadable index could not be extended
        return None

    def save_overload(self, signature: Any, result: Any) -> None:
        try:
            super().save_overload(signature, result)
        except OSError as error:
            _warn(
                "not kept",
                f"cannot be cached in {self.cache_path} ({error.strerror}): each process compiles them "
                "again; free space there, or set NUMBA_CACHE_DIR to another folder",
            )


class _NoCache(caching.NullCache):  # type: ignore[misc]
    """A cache that stores nothing and prints a warning at the first attempt."""

    def save_overload(self, signature: Any, result: Any) -> None:
        _warn(
            "not kept",
            "cannot be cached, since neither the package's folder nor the user's cache is writable: each "
            "process compiles them again; set NUMBA_CACHE_DIR to a writable folder",
        )


_warned = set[str]()


def _warn(trouble: str, text: str) -> None:
    """Print a warning on stderr, once per kind of trouble for all kernels."""
    if trouble not in _warned:
        _warned.add(trouble)
        print(f"plasticrl: warning: compiled kernels {text}", file=sys.stderr)
