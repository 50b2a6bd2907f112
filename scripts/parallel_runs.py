"""Several trainings at the same time, each in a process of its own."""

from __future__ import annotations

import signal
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess

from plasticrl.scripts.failures import Failure, blame_failures, reason_of_failure
from plasticrl.scripts.placed_run import PlacedRun
from plasticrl.scripts.progress_display import Report
from plasticrl.scripts.run import Run
from plasticrl.scripts.settings import OutputSettings
from plasticrl.scripts.training import train


def train_all(
    runs: Sequence[PlacedRun], output: OutputSettings, jobs: int, report: Callable[[Report], None]
) -> None:
    """Train all runs, ``jobs`` at a time; one job trains in this process.

    A run that fails does not stop the others.

    Args:
        runs: what to train, and where; their settings must have been checked.
        output: as for each run, but for the root; where ``threads`` is open, side by side each takes one.
        jobs: processes.
        report: is told the progress of every run.

    Raises:
        UserError: runs failed; the text says which and why.
    """
    work = _one_by_one if min(jobs, len(runs)) < 2 else _side_by_side
    blame_failures(work(runs, output, jobs, report), len(runs))


def _one_by_one(
    runs: Sequence[PlacedRun], output: OutputSettings, _: int, report: Callable[[Report], None]
) -> list[Failure]:
    def renamed(one: PlacedRun, told: Report) -> None:
        report(replace(told, label=one.label))

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
                    target=_work, args=(one.run, _output(one, alone), sender), daemon=True
                )
                process.start()
                sender.close()  # the child's copy is then the last, and its end is seen as EOFError
                running[receiver] = one, process
            for ready in wait(list(running)):
                assert isinstance(ready, Connection)
                one, process = running[ready]
                try:
                    told: Report | str = ready.recv()
                except EOFError:
                    del running[ready]
                    process.join()
                    if process.exitcode != 0:
                        reason = f"its process ended with status {process.exitcode}, see above"
                        failed.setdefault(one.label, reason)
                    continue
                if isinstance(told, str):
                    failed[one.label] = told
                else:
                    report(replace(told, label=one.label))
    finally:
        for _, process in running.values():
            process.terminate()
            process.join()
    return list(failed.items())


def _output(one: PlacedRun, output: OutputSettings) -> OutputSettings:
    return replace(output, root=one.root)


def _work(run: Run, output: OutputSettings, sender: Connection) -> None:
    """Train in a process of its own; tells reports, and the reason if it fails."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to all: the parent stops its children
    if reason := reason_of_failure(partial(train, run, output, sender.send)):
        sender.send(reason)
