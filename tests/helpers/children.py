"""Processes that can be killed, limited or watched, started quickly: the libraries are imported only once."""

import json
import multiprocessing
import runpy
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

PROGRAMS = Path(__file__).parents[1] / "reliability" / "programs"
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(
    [
        "torch._dynamo",  # which torch's optimisers import when they are made
        "plasticrl.agents.recurrent.native_rollout",
        "plasticrl.ops.numba.engine",
        "plasticrl.scripts.tasks.environments.training",
        "plasticrl.scripts.tasks.supervised.training",
        "plasticrl.scripts.main",
    ]
)


def start(program: str, **arguments: Any) -> BaseProcess:
    """Run a file of ``programs`` with these global variables."""
    process = _CONTEXT.Process(target=runpy.run_path, args=(str(PROGRAMS / f"{program}.py"), arguments))
    process.start()
    return process


def finished(program: str, said: Path, timeout: float, **arguments: Any) -> Any:
    """Run a file of ``programs`` to its end; what it wrote, as JSON, to the file ``said``."""
    process = start(program, said=str(said), **arguments)
    process.join(timeout)
    if process.is_alive():
        process.kill()
        raise AssertionError(f"{program} took more than {timeout} seconds")
    assert process.exitcode == 0, f"{program} ended with {process.exitcode}"
    return json.loads(said.read_text())
