"""``torchrun -m plasticrl.scripts.train``: one run on several processes."""

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from children import start
from equal_runs import checkpoints, rows, scalars

from plasticrl.agents.checkpoint.tensor_file import read_tensors
from plasticrl.scripts.main import main

pytestmark = pytest.mark.cluster

TASKS = {
    "maze": [
        *["--size", "5", "--episode-length", "10", "--hidden-size", "6", "--n-envs", "4"],
        *["--total-timesteps", "4000", "--checkpoints", "25"],
    ],
    "patterns": [
        *["--n-bits", "8", "--n-cycles", "1", "--batch-size", "4"],
        *["--total-episodes", "1000", "--checkpoints", "25"],
    ],
}
ALIKE = ["--eval-episodes", "4", "--quiet"]
CLOSE = 1e-4  # a rounding error may grow from update to update
MODULE = ["-m", "plasticrl.scripts.train"]


def words(task: str, root: Path) -> list[str]:
    return [task, "--root", str(root), *TASKS[task], *ALIKE]


def folder(task: str, root: Path) -> Path:
    return root / task / "plastic" / "seed_0"


def torchrun(*command: str) -> list[str]:
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    return [sys.executable, *launcher, *MODULE, *command]


def train_with_torchrun(*command: str) -> None:
    done = subprocess.run(torchrun(*command), capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("TensorBoard:") == 1  # only the first process prints


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where one process trained each task."""
    root = tmp_path_factory.mktemp("whole")
    for task in TASKS:
        assert main(["train", *words(task, root), "--threads", "1"]) == 0
    return root


def check_alike(run: Path, other: Path) -> None:
    """The same folders, but for rounding."""
    assert (run / "config.json").read_bytes() == (other / "config.json").read_bytes()
    assert max(checkpoints(run)) == max(checkpoints(other))
    (tensors, _), (others, _) = (read_tensors(max(checkpoints(one).items())[1]) for one in (run, other))
    assert {name: t.shape for name, t in tensors.items()} == {name: t.shape for name, t in others.items()}
    logged, its = rows(run), rows(other)
    assert len(logged) == len(its)
    for row, its_row in zip(logged, its, strict=True):
        assert {k: number(v) for k, v in row.items()} == pytest.approx(
            {k: number(v) for k, v in its_row.items()}, rel=CLOSE, abs=CLOSE
        )
    tags, its_tags = scalars(run), scalars(other)
    assert {tag: len(points) for tag, points in tags.items()} == {t: len(p) for t, p in its_tags.items()}
    results = [json.loads((one / "result.json").read_text()) for one in (run, other)]
    assert results[0]["steps"] == results[1]["steps"]


def number(text: str) -> float:
    return float(text) if text else 0.0


def test_a_run_of_two_processes_is_that_of_one(whole: Path, tmp_path: Path) -> None:
    train_with_torchrun(*words("maze", tmp_path))
    check_alike(folder("maze", tmp_path), folder("maze", whole))


def wait_for_checkpoints(run: Path, go_on: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while len(checkpoints(run)) < 2:
        assert go_on()
        assert time.monotonic() < deadline
        time.sleep(0.005)


class Member:
    """One process of a training."""

    def __init__(self, command: list[str], env: dict[str, str], said: Path) -> None:
        words = [*command, "--threads", "1"]
        self.said = said
        self.process = start("member", words=words, said=str(said), env=env)

    def ended(self) -> tuple[int | None, str]:
        """Its status, and what it said on stderr, once it has ended."""
        self.process.join(120)
        self.process.kill()
        return self.process.exitcode, self.said.read_text()


def by_hand(scratch: Path, *commands: list[str]) -> list[Member]:
    """One process for each command, without torchrun's agent, which would end all where one has ended."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    meeting = {"WORLD_SIZE": str(len(commands)), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    return [
        Member(command, meeting | {"RANK": str(rank)}, scratch / f"said_{rank}")
        for rank, command in enumerate(commands)
    ]


@pytest.mark.parametrize("killed", [0, 1])
def test_a_killed_process_stops_the_others_and_any_number_goes_on(
    killed: int, whole: Path, tmp_path: Path
) -> None:
    root, run = tmp_path / "killed", folder("maze", tmp_path / "killed")
    members = by_hand(tmp_path, words("maze", root), words("maze", root))
    wait_for_checkpoints(run, lambda: all(member.process.is_alive() for member in members))
    members[killed].process.kill()
    status, said = members[1 - killed].ended()
    assert status == 2, said
    assert said.count("\n") == 1
    assert "another process of this training has ended" in said
    assert not (run / "result.json").exists()
    if killed:
        train_with_torchrun("--resume", str(run), "--quiet")
    else:
        assert main(["train", "--resume", str(run), "--threads", "1", "--quiet"]) == 0
    check_alike(run, folder("maze", whole))


def test_one_that_waits_for_the_others_can_be_stopped(tmp_path: Path) -> None:
    waiting, absent = by_hand(tmp_path, words("maze", tmp_path), ["--help"])
    while not (folder("maze", tmp_path) / "config.json").exists():
        assert waiting.process.is_alive()
        time.sleep(0.02)
    time.sleep(2)  # until it waits, where it would for ten minutes
    waiting.process.terminate()
    status, said = waiting.ended()
    absent.ended()
    assert status in {130, -signal.SIGTERM}
    assert "Traceback" not in said


def test_processes_with_other_settings_refuse_each_other(tmp_path: Path) -> None:
    """Where each machine is given its own command, they may differ in what no parameter shows."""
    mine = words("maze", tmp_path)
    for member in by_hand(tmp_path, mine, [*mine, "--total-timesteps", "100000"]):
        status, said = member.ended()
        assert status == 2
        assert "do not start with the same" in said


def test_a_signal_to_torchrun_saves_a_checkpoint_to_go_on_from(whole: Path, tmp_path: Path) -> None:
    run = folder("patterns", tmp_path)
    process = subprocess.Popen(torchrun(*words("patterns", tmp_path)), stderr=subprocess.PIPE, text=True)
    wait_for_checkpoints(run, lambda: process.poll() is None)
    process.send_signal(signal.SIGTERM)
    said = process.communicate(timeout=60)[1]
    assert process.returncode != 0
    assert said.count("plasticrl: stopped") == 1
    done = rows(run)[-1]["time/episodes"]
    assert max(checkpoints(run)) == int(done)  # nothing was lost
    assert main(["train", "--resume", str(run), "--threads", "1", "--quiet"]) == 0
    check_alike(run, folder("patterns", whole))


@pytest.mark.parametrize(
    ("task", "option"), [("maze", ["--n-envs", "3"]), ("patterns", ["--batch-size", "3"])]
)
def test_what_cannot_be_shared_evenly_is_refused(
    task: str,
    option: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for rank in ("0", "1"):
        monkeypatch.setenv("RANK", rank)
        monkeypatch.setenv("WORLD_SIZE", "2")
        assert main(["train", *words(task, tmp_path), *option, "--threads", "1"]) == 2
        said = capsys.readouterr().err
        assert said.count("\n") == 1
        assert "multiple of 2" in said
    assert not folder(task, tmp_path).exists()


def test_processes_divide_the_cores(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import torch

    from plasticrl.scripts.tasks.task import set_up_torch

    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "4")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    monkeypatch.setattr("plasticrl.scripts.tasks.task.processors", lambda: 6)
    set_up_torch("cpu", None)
    assert torch.get_num_threads() == 3
    set_up_torch("cpu", 1)
    assert torch.get_num_threads() == 1
