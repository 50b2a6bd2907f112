"""Connection to the Ray cluster of a sweep: this machine alone, or several machines."""

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
os.environ.setdefault("TUNE_DISABLE_SIGINT_HANDLER", "1")  # Ctrl-C ends the command, as in all others

import ray

from plasticrl.scripts.commands.options import SweepOptions
from plasticrl.scripts.errors import UserError
from plasticrl.scripts.runs.setup import processors
from plasticrl.signals import interrupt_once

logging.getLogger("ray").setLevel(logging.ERROR)  # hides warnings about intended settings

_SECONDS_TO_ANSWER = 10.0
_ATTEMPTS = 4  # for ray://, the server forks a process per client, which sometimes dies


@contextmanager
def connected(command: SweepOptions) -> Iterator[None]:
    """Connect to the requested Ray cluster, or start one on this machine that ends with the block.

    Raises:
        UserError: the cluster cannot be reached, it refuses the connection, or none of its machines has the
            resources for a run.
    """
    _connect(command)
    # Ray's own handler prints a stack trace.
    terminated = signal.signal(signal.SIGTERM, interrupt_once)
    try:
        _check_resources(command)
        yield
    finally:
        signal.signal(signal.SIGTERM, terminated)
        ray.shutdown()


def _connect(command: SweepOptions) -> None:
    not_found = (
        f"no Ray cluster at {command.address}: give auto, HOST:PORT or ray://HOST:PORT of one that "
        "ray start --head has started, or leave --address out"
    )
    if command.address not in (None, "auto"):
        _check_reachable(str(command.address), not_found)
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
        except ConnectionAbortedError as error:  # only for ray://
            if attempt == _ATTEMPTS:
                reason = str(error).strip().rpartition("\n")[2]
                raise UserError(
                    f"the Ray cluster at {command.address} refuses the connection: {reason} "
                    "(GRPC_ENABLE_FORK_SUPPORT=0 before its ray start may help)"
                ) from error
        except (ConnectionError, ValueError) as error:
            raise UserError(not_found) from error


def _check_reachable(address: str, complaint: str) -> None:
    """Check that the address accepts connections; Ray itself would retry for many minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_SECONDS_TO_ANSWER).close()
    except (OSError, ValueError, OverflowError) as error:
        raise UserError(complaint) from error


def _check_resources(command: SweepOptions) -> None:
    """Check that a machine has the resources for a run; Ray would wait for one forever."""
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
