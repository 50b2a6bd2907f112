"""The Ray cluster that a sweep runs on: this machine alone, or many."""

from __future__ import annotations

import logging
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")  # a table that verbose=0 does not silence
os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")  # each run has its own logs
os.environ.setdefault("TUNE_DISABLE_SIGINT_HANDLER", "1")  # Ctrl-C ends the command, as everywhere

import ray

from plasticrl.scripts.commands.options import SweepOptions
from plasticrl.scripts.errors import UserError
from plasticrl.scripts.runs.setup import processors
from plasticrl.signals import interrupt_once

logging.getLogger("ray").setLevel(logging.ERROR)  # it warns of what is meant to be so

_SECONDS_TO_ANSWER = 10.0
_ATTEMPTS = 4  # behind ray:// a process is forked for each client, which dies now and then


@contextmanager
def connected(command: SweepOptions) -> Iterator[None]:
    """Inside, Ray is there: the cluster asked for, or one of this machine alone that ends with the block.

    Raises:
        UserError: there is no such cluster, it refuses the connection, or none of its machines has what a
            run is to get.
    """
    _connect(command)
    # Ray's own way to end is with a stack trace.
    terminated = signal.signal(signal.SIGTERM, interrupt_once)
    try:
        _check_resources(command)
        yield
    finally:
        signal.signal(signal.SIGTERM, terminated)
        ray.shutdown()


def _connect(command: SweepOptions) -> None:
    none_there = (
        f"no Ray cluster at {command.address}: give auto, HOST:PORT or ray://HOST:PORT of one that "
        "ray start --head has started, or leave --address out"
    )
    if command.address not in (None, "auto"):
        _check_reachable(str(command.address), none_there)
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            ray.init(
                address=command.address or "local",
                num_cpus=None if command.address else processors(),
                include_dashboard=None if command.address else False,
                log_to_driver=not command.output.quiet,
                logging_level=logging.ERROR,
            )
            return
        except ConnectionAbortedError as error:  # only behind ray://
            if attempt == _ATTEMPTS:
                reason = str(error).strip().rpartition("\n")[2]
                raise UserError(
                    f"the Ray cluster at {command.address} refuses the connection: {reason} "
                    "(GRPC_ENABLE_FORK_SUPPORT=0 before its ray start may help)"
                ) from error
        except (ConnectionError, ValueError) as error:
            raise UserError(none_there) from error


def _check_reachable(address: str, complaint: str) -> None:
    """Ray itself would try for many minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_SECONDS_TO_ANSWER).close()
    except (OSError, ValueError, OverflowError) as error:
        raise UserError(complaint) from error


def _check_resources(command: SweepOptions) -> None:
    """Refuse what no machine has: Ray would wait for one that has, for ever."""
    cpus, gpus = command.cpus_per_run, command.gpus_per_run
    machines = [
        (node["Resources"].get("CPU", 0.0), node["Resources"].get("GPU", 0.0))
        for node in ray.nodes()  # type: ignore[no-untyped-call, unused-ignore]
        if node["Alive"]
    ]
    if not any(has_cpus >= cpus and has_gpus >= gpus for has_cpus, has_gpus in machines):
        there = "; ".join(f"{has_cpus:g} CPUs and {has_gpus:g} GPUs" for has_cpus, has_gpus in set(machines))
        raise UserError(
            f"no machine has {cpus} CPUs and {gpus:g} GPUs for a run: give a smaller --cpus-per-run or "
            f"--gpus-per-run (there: {there or 'none'})"
        )
