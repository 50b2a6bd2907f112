"""Trainings side by side, stopped in all ways: what they have trained is saved, and nobody is left behind."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from equal_runs import checkpoints, rows

CORES = ("plastic", "rnn")
# Far more steps than it gets to, and no checkpoint before it is stopped.
SMALL = "--size 5 --episode-length 20 --hidden-size 8 --n-envs 4 --total-timesteps 4000000 --threads 1"
LINE = "\nplasticrl: stopped; what was written so far is kept\n"


def folder(root: Path, core: str) -> Path:
    return root / "maze" / core / "seed_0"


def alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def wait(until: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not until():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("number", "to_all", "status"),
    [
        pytest.param(signal.SIGINT, True, 130, id="Ctrl-C"),
        pytest.param(signal.SIGTERM, False, 130, id="SIGTERM to the command"),
        pytest.param(signal.SIGTERM, True, 130, id="SIGTERM to all, as of a cluster"),
        pytest.param(signal.SIGKILL, False, -signal.SIGKILL, id="kill -9 of the command"),
    ],
)
def test_side_by_side_all_save_and_end(
    number: signal.Signals, to_all: bool, status: int, tmp_path: Path
) -> None:
    script = "import sys; from plasticrl.scripts.main import main; sys.exit(main(sys.argv[1:]))"
    words = ["compare", "maze", "--cores", *CORES, "--jobs", "2", "--root", str(tmp_path), *SMALL.split()]
    command = [sys.executable, "-c", script, *words, "--seeds", "1", "--quiet"]
    with (tmp_path / "said").open("w") as said:
        process = subprocess.Popen(command, stderr=said, start_new_session=True)
    logs = [folder(tmp_path, core) / "progress.csv" for core in CORES]
    wait(lambda: process.poll() is not None or all(log.is_file() and log.stat().st_size for log in logs))
    assert process.poll() is None
    (os.killpg if to_all else os.kill)(process.pid, number)
    assert process.wait(timeout=60) == status
    wait(lambda: not alive(process.pid))
    assert (tmp_path / "said").read_text() == (LINE if status == 130 else "")
    for core in CORES:
        (saved,) = checkpoints(folder(tmp_path, core))
        assert saved >= int(rows(folder(tmp_path, core))[-1]["time/total_timesteps"])


def test_ctrl_c_before_they_have_begun_is_as_quiet(tmp_path: Path) -> None:
    script = (
        "import os, signal, sys\n"
        "from multiprocessing import popen_spawn_posix as popen\n"
        "from plasticrl.scripts.main import main\n"
        "launch, started = popen.Popen._launch, []\n"
        "def launched(*args):\n"
        "    launch(*args)\n"
        "    started.append(None)\n"
        "    if len(started) == 2:\n"
        "        os.killpg(0, signal.SIGINT)\n"
        "popen.Popen._launch = launched\n"
        "sys.exit(main(sys.argv[1:]))"
    )
    words = ["compare", "maze", "--cores", *CORES, "--jobs", "2", "--root", str(tmp_path), *SMALL.split()]
    command = [sys.executable, "-c", script, *words, "--seeds", "1", "--quiet"]
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True, start_new_session=True, timeout=120)
    assert (done.returncode, done.stderr) == (130, LINE)
