"""Trainings side by side, stopped in all ways: what they have trained is saved, and nobody is left behind."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from equal_runs import checkpoints, rows

from plasticrl.scripts.experiments.executors import _reason

pytestmark = pytest.mark.cluster

CORES = ("plastic", "rnn")
# Far more steps than it gets to.
SMALL = "--size 5 --episode-length 20 --hidden-size 8 --n-envs 4 --total-timesteps 4000000 --threads 1"
MAIN = (
    "import sys\n"
    "from plasticrl.scripts.experiments import executors\n"
    "from plasticrl.scripts.main import main\n"
    "executors._SECONDS_BEFORE_EXPLAINING = float('{patience}')\n"
    "sys.exit(main(sys.argv[1:]))"
)
LINE = "\nplasticrl: stopped; everything written so far is kept; the same command resumes\n"


@contextmanager
def started(root: Path, script: str = MAIN.format(patience="inf")) -> Iterator[subprocess.Popen[str]]:
    """The command in a session of its own, as in a terminal of its own; nothing of it is left in the end."""
    words = ["compare", "maze", "--cores", *CORES, "--jobs", "2", "--root", str(root), *SMALL.split()]
    command = [sys.executable, "-c", script, *words, "--seeds", "1", "--quiet"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):  # as it should be
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def told_by_all(process: subprocess.Popen[str]) -> str:
    """What it and its children say on stderr; comes only when all of them have ended, and closed it."""
    return process.communicate(timeout=180)[1]


def folder(root: Path, core: str) -> Path:
    return root / "maze" / core / "seed_0"


def to_command(number: signal.Signals) -> Callable[[int], None]:
    return lambda pid: os.kill(pid, number)


def to_all(number: signal.Signals) -> Callable[[int], None]:
    return lambda pid: os.killpg(pid, number)


def several(send: Callable[[int], None]) -> Callable[[int], None]:
    """As ``timeout`` and others do: to the command and to all, or again and again."""

    def send_several(pid: int) -> None:
        for pause in (0.0, 0.02, 0.1, 0.3):
            time.sleep(pause)
            try:
                send(pid)
            except ProcessLookupError:  # so soon
                return

    return send_several


@pytest.mark.parametrize(
    ("stop", "status"),
    [
        pytest.param(to_all(signal.SIGINT), 130, id="Ctrl-C"),
        pytest.param(to_command(signal.SIGTERM), 130, id="SIGTERM to the command"),
        pytest.param(several(to_command(signal.SIGTERM)), 130, id="SIGTERM to the command, several times"),
        pytest.param(several(to_all(signal.SIGTERM)), 130, id="SIGTERM to all, several times"),
        pytest.param(to_command(signal.SIGKILL), -signal.SIGKILL, id="kill -9 of the command"),
    ],
)
def test_side_by_side_all_save_and_end(stop: Callable[[int], None], status: int, tmp_path: Path) -> None:
    with started(tmp_path) as process:
        logs = [folder(tmp_path, core) / "progress.csv" for core in CORES]
        deadline = time.monotonic() + 180
        while not all(log.is_file() and log.stat().st_size for log in logs):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        stop(process.pid)
        said = told_by_all(process)
        # Several signals may come when all is done, and the command ends by one as any program does.
        assert process.returncode in {status, -signal.SIGTERM}
        assert said == (LINE if status == 130 else "")
    for core in CORES:
        saved = max(checkpoints(folder(tmp_path, core)))
        assert saved >= int(rows(folder(tmp_path, core))[-1]["time/total_timesteps"])


def test_who_is_waited_for_is_said_and_a_second_ctrl_c_ends_all(tmp_path: Path) -> None:
    with started(tmp_path, MAIN.format(patience="0.2")) as process:
        logs = [folder(tmp_path, core) / "progress.csv" for core in CORES]
        while not all(log.is_file() and log.stat().st_size for log in logs):
            assert process.poll() is None
            time.sleep(0.02)
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        workers = [pid for pid in children if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]
        assert len(workers) == len(CORES)
        os.kill(int(workers[0]), signal.SIGSTOP)  # it will not answer
        os.killpg(process.pid, signal.SIGINT)
        assert process.stderr is not None
        assert "seed 0" in (line := process.stderr.readline())
        assert line.startswith("plasticrl: waiting for ")
        os.killpg(process.pid, signal.SIGINT)
        assert told_by_all(process) == LINE
        assert process.returncode == 130


def test_ctrl_c_before_they_have_begun_is_as_quiet(tmp_path: Path) -> None:
    script = (
        "import os, signal, sys\n"
        "from multiprocessing import active_children, popen_spawn_posix as popen\n"
        "from plasticrl.scripts.main import main\n"
        "launch, started = popen.Popen._launch, []\n"
        "def launched(*args):\n"
        "    launch(*args)\n"
        "    started.append(None)\n"
        "    if len(started) == 2:\n"
        "        os.killpg(0, signal.SIGINT)\n"
        "popen.Popen._launch = launched\n"
        "status = main(sys.argv[1:])\n"
        "sys.exit(1 if active_children() else status)"
    )
    with started(tmp_path, script) as process:
        assert told_by_all(process) == LINE
        assert process.returncode == 130


@pytest.mark.parametrize(
    ("status", "stopped"), [(130, True), (-signal.SIGTERM, True), (-signal.SIGKILL, False), (1, False)]
)
def test_a_process_that_was_told_to_stop_is_told_from_one_that_failed(status: int, stopped: bool) -> None:
    reason = _reason(status)
    assert reason.startswith("its process was stopped: run the same command again") is stopped
    assert (f"ended with status {status}" in reason) is not stopped
