"""Compiled kernels kept on disk, where a damaged, full or missing cache costs time but stops nothing."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from typing import Any, TypeVar, cast

import numba

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
