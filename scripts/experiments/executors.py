"""Training of an experiment's trials: checks before it, and executors in this process and in several.

The executor on Ray is in :mod:`plasticrl.scripts.experiments.ray_executor`.
"""

from __future__ import annotations

import math
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import get_context, resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Protocol

from plasticrl.scripts.errors import UserError, raise_failures, reason_of_failure
from plasticrl.scripts.experiments.experiment import Trial
from plasticrl.scripts.experiments.training import check_run, train
from plasticrl.scripts.runs.folder import check_claim
from plasticrl.scripts.runs.logs import check_tracking
from plasticrl.scripts.runs.run import Run
from plasticrl.scripts.runs.terminal import ProgressDisplay, Report, lasting_streams, one_line_warnings
from plasticrl.scripts.settings.maze import OutputSettings
from plasticrl.scripts.tasks.task import processors, set_up_torch
from plasticrl.signals import FROM_TERMINAL, INTERRUPTED, interrupt_once

_MOST_RUNS = 10_000


def check_named_once(**names: Sequence[str]) -> None:
    """Check that no option contains a name twice.

    Raises:
        UserError: an option does; the message names it.
    """
    for option, values in names.items():
        if len(set(values)) < len(values):
            raise UserError(f"{option} must be named once each, not {' '.join(values)}")


def check_counts(**counts: int | None) -> None:
    """Check that each number is from 1 to a sensible maximum; None is allowed.

    Raises:
        UserError: a number is out of range; the message names it.
    """
    for name, value in counts.items():
        if value is not None and not 1 <= value <= _MOST_RUNS:
            raise UserError(f"{name} must be from 1 to {_MOST_RUNS}, not {value}")


def check_cores(cores: Sequence[str]) -> None:
    """Check that there are cores, and that each is named once.

    Raises:
        UserError: there are none, or one is named twice.
    """
    if not cores:
        raise UserError("cores must name one or more, not none")
    check_named_once(cores=cores)


def check_folders(trials: Sequence[Trial], *, overwrite: bool) -> None:
    """Check that each trial is finished, can be resumed, or can claim its folder.

    Raises:
        UserError: a folder is taken.
    """
    for trial in trials:
        resumes = not overwrite and trial.can_go_on
        if not trial.is_finished and not resumes:
            check_claim(trial.folder, trial.run, overwrite=overwrite)


def check_settings(runs: Sequence[Run], output: OutputSettings) -> None:
    """Build everything that each of these runs needs, and print remarks on stderr; write no files.

    Raises:
        UserError: a setting is not allowed, or data are missing.
    """
    set_up_torch(output.device, output.threads)
    check_tracking(output.track)
    remarks = {check_run(run): None for run in runs}  # without duplicates, in order
    for remark in remarks:
        if remark is not None and not output.quiet:
            print(remark, file=sys.stderr)


class Executor(Protocol):
    """A place where trials are trained."""

    def run(self, trials: Sequence[Trial], report: Callable[[Report], None]) -> dict[str, str]:
        """Train the trials, whose settings must have been checked; one that fails does not stop the others.

        Args:
            trials: the trials to train.
            report: receives the progress of every trial.

        Returns:
            The reasons why trials failed, by label.
        """


def train_missing(trials: Sequence[Trial], executor: Executor, output: OutputSettings) -> None:
    """Train the trials that are not finished, and print a note on those that exist.

    Raises:
        UserError: trials failed; the message lists them with the reasons.
    """
    missing = [trial for trial in trials if not trial.is_finished]
    with ProgressDisplay(output.quiet) as display:
        if len(missing) < len(trials):
            display.note(f"{len(trials) - len(missing)} of {len(trials)} runs are finished already and kept")
        for trial in missing:
            if trial.folder.exists():
                resumes = not output.overwrite and trial.can_go_on
                what = "resumes where it stopped" if resumes else "is trained again: it had other settings"
                display.note(f"{trial.label} {what}")
        failed = executor.run(missing, display.show) if missing else {}
    raise_failures(list(failed.items()), len(missing))


def train_and_report(
    trials: Sequence[Trial], executor: Executor, output: OutputSettings, report: Callable[[], object]
) -> None:
    """Train the trials that are not finished, and report on the finished ones, however far it comes.

    Raises:
        UserError: trials failed, after the report.
        KeyboardInterrupt: Ctrl-C was pressed; likewise.
    """
    try:
        train_missing(trials, executor, output)
    except (KeyboardInterrupt, UserError):
        report()
        raise
    report()


@dataclass(frozen=True)
class InProcess:
    """Executor that trains one trial after another in this process.

    Attributes:
        output: output settings of all trials, except the root.
    """

    output: OutputSettings

    def run(self, trials: Sequence[Trial], report: Callable[[Report], None]) -> dict[str, str]:
        """Train the trials; see :class:`Executor`."""

        def train_one(trial: Trial) -> None:
            train(
                trial.run,
                replace(self.output, root=trial.root),
                lambda progress: report(replace(progress, label=trial.label)),
            )

        reasons = {trial.label: reason_of_failure(partial(train_one, trial)) for trial in trials}
        return {label: reason for label, reason in reasons.items() if reason}


def work(run: Run, output: OutputSettings, sender: Connection) -> None:
    """Train in a worker process; send reports, and the reason of a failure, to the parent.

    SIGTERM, or the end of the parent, stops the training.

    Raises:
        SystemExit: the training was stopped, and its progress is saved; the status is
            :data:`~plasticrl.signals.INTERRUPTED`.
    """
    for number in FROM_TERMINAL:
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, interrupt_once)
    parent_is_alive = True

    def send(message: Report | str) -> None:
        nonlocal parent_is_alive
        if parent_is_alive:
            try:
                sender.send(message)
            except BrokenPipeError:
                parent_is_alive = False
                signal.raise_signal(signal.SIGTERM)  # stops between two updates

    with lasting_streams(), one_line_warnings():
        try:
            if reason := reason_of_failure(partial(train, run, output, send)):
                send(reason)
        except KeyboardInterrupt:
            sys.exit(INTERRUPTED)


@contextmanager
def ctrl_c_blocked() -> Iterator[None]:
    """Block Ctrl-C and SIGHUP; processes started in the block never get them and are stopped by the parent.

    A handler in the child would be installed too late, after the seconds in which it imports libraries.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    resource_tracker.ensure_running()  # else starting a process starts it, which unblocks the signals
    before = signal.pthread_sigmask(signal.SIG_BLOCK, FROM_TERMINAL)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@dataclass(frozen=True)
class InProcesses:
    """Executor that trains several trials at a time, each in a separate process.

    Attributes:
        output: output settings of all trials, except the root. If ``threads`` is None, parallel trials use
            one thread each.
        jobs: number of processes; None for one per processor. One job, or one trial, needs no other process.
    """

    output: OutputSettings
    jobs: int | None = None

    def run(self, trials: Sequence[Trial], report: Callable[[Report], None]) -> dict[str, str]:
        """Train the trials; see :class:`Executor`."""
        jobs = processors() if self.jobs is None else self.jobs
        if min(jobs, len(trials)) < 2:
            return InProcess(self.output).run(trials, report)
        output = replace(self.output, threads=1) if self.output.threads is None else self.output
        waiting, running = list(reversed(trials)), dict[Connection, tuple[Trial, SpawnProcess]]()
        failed: dict[str, str] = {}
        try:
            while waiting or running:
                while waiting and len(running) < jobs:
                    trial = waiting.pop()
                    with ctrl_c_blocked():
                        process, receiver = _started(trial, output)
                        running[receiver] = trial, process
                for ready in wait(list(running)):
                    assert isinstance(ready, Connection)
                    trial, process = running[ready]
                    try:
                        message: Report | str = ready.recv()
                    except EOFError:
                        del running[ready]
                        process.join()
                        if process.exitcode != 0:
                            failed.setdefault(trial.label, _reason(process.exitcode))
                        continue
                    if isinstance(message, str):
                        failed[trial.label] = message
                    else:
                        report(replace(message, label=trial.label))
        finally:
            _stop(running)
        return failed


def _started(trial: Trial, output: OutputSettings) -> tuple[SpawnProcess, Connection]:
    """Start a worker; return its process and the connection that its messages come from."""
    context = get_context("spawn")  # a fork would copy torch's threads in an unknown state
    receiver, sender = context.Pipe(duplex=False)
    arguments = (trial.run, replace(output, root=trial.root), sender)
    process = context.Process(target=work, args=arguments)  # no daemon: its envs may be processes
    process.start()
    sender.close()  # with only the child's copy left, its end gives an EOFError here
    return process, receiver


_SECONDS_BEFORE_EXPLAINING = 10.0


def _stop(running: Mapping[Connection, tuple[Trial, SpawnProcess]]) -> None:
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
                names = ", ".join(trial.label for trial, _ in left.values())
                text = f"waiting for {names} to save and end; Ctrl-C again stops at once, without saving"
                print(f"plasticrl: {text}", file=sys.stderr)
    except KeyboardInterrupt:
        for _, process in running.values():
            process.kill()
        for _, process in running.values():
            process.join()
        raise


def _reason(status: int | None) -> str:
    if status in (INTERRUPTED, -signal.SIGTERM):  # the latter during the import of libraries
        return "its process was stopped: run the same command again to resume it"
    return f"its process ended with status {status}, see above"
