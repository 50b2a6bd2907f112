"""Several trainings at the same time, each in a separate process."""

from __future__ import annotations

import math
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from multiprocessing import get_context, resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess

from plasticrl.scripts.errors import Failure, raise_failures, reason_of_failure
from plasticrl.scripts.experiments.training import train
from plasticrl.scripts.runs.folder import PlacedRun
from plasticrl.scripts.runs.run import Run
from plasticrl.scripts.runs.terminal import Report, lasting_streams
from plasticrl.scripts.settings.maze import OutputSettings
from plasticrl.signals import INTERRUPTED, STOP_SIGNALS, interrupt_once

# Signals that a terminal sends to all processes at once.
_NOT_FOR_WORKERS = {signal.SIGINT, *STOP_SIGNALS} - {signal.SIGTERM}


def work(run: Run, output: OutputSettings, sender: Connection) -> None:
    """Train in a worker process; send reports, and the reason of a failure, to the parent.

    SIGTERM, or the end of the parent, stops the training.

    Raises:
        SystemExit: the training was stopped, and its progress is saved; the status is
            :data:`~plasticrl.signals.INTERRUPTED`.
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
    """Connection to the process that started this one, and that may be killed."""

    def __init__(self, sender: Connection) -> None:
        self._sender = sender
        self._gone = False

    def tell(self, what: Report | str) -> None:
        """Send a message; if the parent is gone, stop between two updates, as on SIGTERM."""
        if self._gone:
            return
        try:
            self._sender.send(what)
        except BrokenPipeError:
            self._gone = True
            signal.raise_signal(signal.SIGTERM)


@contextmanager
def ctrl_c_blocked() -> Iterator[None]:
    """Block Ctrl-C and SIGHUP; processes started in the block never get them and are stopped by the parent.

    A handler in the child would be installed too late, after the seconds in which it imports libraries.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    resource_tracker.ensure_running()  # else starting a process starts it, which unblocks the signals
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _NOT_FOR_WORKERS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


_SECONDS_BEFORE_EXPLAINING = 10.0


def train_all(
    runs: Sequence[PlacedRun], output: OutputSettings, jobs: int, report: Callable[[Report], None]
) -> None:
    """Train all runs, ``jobs`` at a time; one job trains in this process.

    A run that fails does not stop the others.

    Args:
        runs: the runs to train; their settings must have been checked.
        output: output settings of all runs, except the root. If ``threads`` is None, parallel runs use one.
        jobs: number of processes.
        report: receives the progress of every run.

    Raises:
        UserError: runs failed; the message lists them with the reasons.
    """
    train_runs = _one_by_one if min(jobs, len(runs)) < 2 else _side_by_side
    raise_failures(train_runs(runs, output, jobs, report), len(runs))


def _one_by_one(
    runs: Sequence[PlacedRun], output: OutputSettings, _: int, report: Callable[[Report], None]
) -> list[Failure]:
    def renamed(one: PlacedRun, progress: Report) -> None:
        report(replace(progress, label=one.label))

    reasons = [
        (one.label, reason_of_failure(partial(train, one.run, _output(one, output), partial(renamed, one))))
        for one in runs
    ]
    return [(label, reason) for label, reason in reasons if reason]


def _side_by_side(
    runs: Sequence[PlacedRun], output: OutputSettings, jobs: int, report: Callable[[Report], None]
) -> list[Failure]:
    alone = replace(output, threads=1) if output.threads is None else output
    waiting, running = list(reversed(runs)), dict[Connection, tuple[PlacedRun, SpawnProcess]]()
    failed: dict[str, str] = {}
    context = get_context("spawn")  # a fork would copy torch's threads in an unknown state
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                one = waiting.pop()
                receiver, sender = context.Pipe(duplex=False)
                process = context.Process(
                    target=work, args=(one.run, _output(one, alone), sender), daemon=True
                )
                with ctrl_c_blocked():
                    process.start()
                    sender.close()  # with only the child's copy left, its end gives an EOFError here
                    running[receiver] = one, process
            for ready in wait(list(running)):
                assert isinstance(ready, Connection)
                one, process = running[ready]
                try:
                    message: Report | str = ready.recv()
                except EOFError:
                    del running[ready]
                    process.join()
                    if process.exitcode != 0:
                        failed.setdefault(one.label, _reason(process.exitcode))
                    continue
                if isinstance(message, str):
                    failed[one.label] = message
                else:
                    report(replace(message, label=one.label))
    finally:
        _stop(running)
    return list(failed.items())


def _output(one: PlacedRun, output: OutputSettings) -> OutputSettings:
    return replace(output, root=one.root)


def _stop(running: Mapping[Connection, tuple[PlacedRun, SpawnProcess]]) -> None:
    """Let all processes save and end; a Ctrl-C meanwhile kills them at once."""
    left, explain_at = dict(running), time.monotonic() + _SECONDS_BEFORE_EXPLAINING
    try:
        for _, process in running.values():
            process.terminate()
        while left:
            seconds = max(0.0, explain_at - time.monotonic())
            # Read the pipes, since a process may wait forever for space in a full one.
            for ready in wait(list(left), None if explain_at == math.inf else seconds):
                assert isinstance(ready, Connection)
                try:
                    ready.recv()
                except EOFError:
                    left.pop(ready)[1].join()
            if left and time.monotonic() >= explain_at:
                explain_at = math.inf
                print(_waits_for([one for one, _ in left.values()]), file=sys.stderr)
    except KeyboardInterrupt:
        for _, process in running.values():
            process.kill()
        for _, process in running.values():
            process.join()
        raise


def _waits_for(runs: Sequence[PlacedRun]) -> str:
    names = ", ".join(one.label for one in runs)
    return f"plasticrl: waiting for {names} to save and end; Ctrl-C again stops at once, without saving"


def _reason(status: int | None) -> str:
    if status in (INTERRUPTED, -signal.SIGTERM):  # the latter during the import of libraries
        return "its process was stopped: run the same command again to resume it"
    return f"its process ended with status {status}, see above"
