"""One line on stderr where kernels have to be compiled."""

import sys
from importlib import import_module
from typing import Any

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
