"""A training in a process of its own, for :mod:`plasticrl.scripts.parallel_runs`."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection

from plasticrl.scripts.failures import reason_of_failure
from plasticrl.scripts.progress_display import Report
from plasticrl.scripts.run import Run
from plasticrl.scripts.settings import OutputSettings
from plasticrl.scripts.standard_streams import lasting_streams
from plasticrl.scripts.training import train
from plasticrl.sigterm import INTERRUPTED, STOP_SIGNALS, interrupt_once

# What a terminal sends to all processes at once.
_NOT_FOR_WORKERS = {signal.SIGINT, *STOP_SIGNALS} - {signal.SIGTERM}


def work(run: Run, output: OutputSettings, sender: Connection) -> None:
    """Train; tells reports, and the reason if it fails. SIGTERM, or a parent that is gone, stops it.

    Raises:
        SystemExit: it was stopped, with :data:`~plasticrl.sigterm.INTERRUPTED`: what it
            has trained is saved.
    """
    for number in _NOT_FOR_WORKERS:
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, interrupt_once)
    parent = _Parent(sender)
    with lasting_streams():
        try:
            if reason := reason_of_failure(partial(train, run, output, parent.tell)):
                parent.tell(reason)
        except KeyboardInterrupt:
            sys.exit(INTERRUPTED)


class _Parent:
    """The process that started this one, and may be killed."""

    def __init__(self, sender: Connection) -> None:
        self._sender = sender
        self._gone = False

    def tell(self, what: Report | str) -> None:
        """Send it; where nobody is there to receive it, stop as by SIGTERM: between two updates."""
        if self._gone:
            return
        try:
            self._sender.send(what)
        except BrokenPipeError:
            self._gone = True
            signal.raise_signal(signal.SIGTERM)


@contextmanager
def ctrl_c_blocked() -> Iterator[None]:
    """Here a Ctrl-C or SIGHUP waits; it never reaches processes started inside: their parent stops them.

    A handler in the child would come too late for the seconds in which it imports libraries.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    resource_tracker.ensure_running()  # else starting a process does it, and in the end unblocks the signal
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _NOT_FOR_WORKERS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
