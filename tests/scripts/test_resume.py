"""A training that is killed goes on to the same bits, and leaves the same logs, as one that is not."""

import json
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from children import start
from equal_runs import check_same, checkpoints, last_event, rows

from plasticrl.scripts.main import main
from plasticrl.scripts.runs.folder import locked
from plasticrl.scripts.tasks.task import Trainer
from plasticrl.whole_files import temporary_name, this_writer

TASKS = {
    "maze": [
        *["--size", "5", "--episode-length", "20", "--hidden-size", "8", "--n-envs", "4"],
        *["--total-timesteps", "16000", "--checkpoints", "20"],
    ],
    "patterns": ["--n-bits", "12", "--n-cycles", "1", "--total-episodes", "400", "--checkpoints", "20"],
}
END = {"maze": 16_000, "patterns": 400}
ALIKE = ["--eval-episodes", "4", "--threads", "1", "--quiet"]


def command(task: str, root: Path) -> list[str]:
    return ["train", task, "--root", str(root), *TASKS[task], *ALIKE]


def folder(task: str, root: Path) -> Path:
    return root / task / "plastic" / "seed_0"


@pytest.fixture(scope="module", params=TASKS)
def whole(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """A task, and a run of it that nothing stopped."""
    task: str = request.param
    root = tmp_path_factory.mktemp("whole")
    assert main(command(task, root)) == 0
    return task, folder(task, root)


def stop(task: str, root: Path, number: signal.Signals) -> tuple[int | None, str]:
    """Train in a process of its own, signal it after its third checkpoint; status, and what it said."""
    said = root / "said"
    process = start("train", words=command(task, root), said=str(said), when=None, file_size=None)
    run = folder(task, root)
    deadline = time.monotonic() + 120
    while max(checkpoints(run), default=0) < 3 * END[task] // 20 or len(checkpoints(run)) < 2:
        assert process.is_alive()
        assert time.monotonic() < deadline
        time.sleep(0.005)
    assert process.pid is not None
    os.kill(process.pid, number)
    process.join(60)
    text = said.read_text()
    said.unlink()
    return process.exitcode, text


@pytest.fixture(scope="module")
def killed_roots(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The root of a killed training of each task, not to be changed; trained when it is first wanted."""

    @cache
    def root_of(task: str) -> Path:
        root = tmp_path_factory.mktemp("killed")
        stop(task, root, signal.SIGKILL)
        return root

    return root_of


@pytest.fixture
def killed(killed_roots: Callable[[str], Path], tmp_path: Path) -> Callable[[str], Path]:
    """Copies the run of a killed training to where the command finds it."""
    return lambda task: folder(task, shutil.copytree(killed_roots(task), tmp_path, dirs_exist_ok=True))


def test_killed_and_the_same_command_again(
    whole: tuple[str, Path], killed: Callable[[str], Path], tmp_path: Path
) -> None:
    task, reference = whole
    run = killed(task)
    assert not (run / "result.json").exists()
    (events,), saved = run.glob("events.*"), max(checkpoints(run))
    assert main(command(task, tmp_path)) == 0
    check_same(run, reference)
    # The same bits would come out of a training from the start: what is behind it was not done again.
    assert 0 < last_event(events) <= saved
    result = json.loads((run / "result.json").read_text())
    assert result["steps_per_second"] * result["seconds"] == pytest.approx(END[task], rel=0.01)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopped_by_a_signal_it_saves_and_goes_on(
    whole: tuple[str, Path], number: signal.Signals, tmp_path: Path
) -> None:
    task, reference = whole
    status, said = stop(task, tmp_path, number)
    assert (status, said.count("\n")) == (130, 2)
    assert "stopped; everything written so far is kept" in said
    run = folder(task, tmp_path)
    last = max((run / "checkpoints").glob("step_*"))
    assert int(last.stem.removeprefix("step_")) == last_counted(run, task)  # nothing was lost
    assert main(["train", "--resume", str(run), "--threads", "1", "--quiet"]) == 0
    check_same(run, reference)


def test_stopped_in_the_evaluation_it_only_evaluates(
    whole: tuple[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task, reference = whole

    def stopped(_: Trainer) -> None:
        signal.raise_signal(signal.SIGTERM)

    with monkeypatch.context() as patched:
        patched.setattr(Trainer, "evaluate", stopped)
        assert main(command(task, tmp_path)) == 130
    monkeypatch.setattr(Trainer, "learn", None)
    assert main(command(task, tmp_path)) == 0
    check_same(folder(task, tmp_path), reference)


def last_counted(run: Path, task: str) -> int:
    return int(rows(run)[-1]["time/total_timesteps" if task == "maze" else "time/episodes"])


def test_a_damaged_newest_checkpoint_is_told_and_the_one_before_is_used(
    whole: tuple[str, Path],
    killed: Callable[[str], Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    task, reference = whole
    run = killed(task)
    newest = max((run / "checkpoints").glob("step_*"))
    newest.write_bytes(newest.read_bytes()[:-9])
    assert main(command(task, tmp_path)) == 0
    assert f"warning: {newest}" in capsys.readouterr().err
    assert newest.with_name(newest.name + ".damaged").is_file()  # set aside, not deleted
    check_same(run, reference)


def test_killed_before_the_first_checkpoint_it_begins_again(
    whole: tuple[str, Path], killed: Callable[[str], Path], tmp_path: Path
) -> None:
    task, reference = whole
    run = killed(task)
    for path in (run / "checkpoints").iterdir():
        path.unlink()
    assert main(command(task, tmp_path)) == 0
    check_same(run, reference)


@pytest.fixture
def unfinished(killed: Callable[[str], Path]) -> Path:
    return killed("patterns")


def refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert main(words) == 2
    return capsys.readouterr().err


def test_what_cannot_go_on_is_refused_in_one_line(
    unfinished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "holds no run" in refused(["train", "--resume", str(tmp_path / "none")], capsys)
    words = command("patterns", tmp_path)
    told = refused([*words, "--learning-rate", "0.5"], capsys)
    assert "an unfinished run with other settings (learning_rate was 0.001, now 0.5)" in told
    assert f"plasticrl train --resume {unfinished} resumes it" in told
    data: Any = ["train", "--resume", str(unfinished), "--data-dir", "."]
    assert "--data-dir" in refused(data, capsys)


@pytest.mark.parametrize("place", ["one", "one/two/three/four/five"])
def test_a_run_is_resumed_wherever_its_folder_was_moved(
    whole: tuple[str, Path],
    killed: Callable[[str], Path],
    place: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also by a relative path, and less than three folders deep."""
    task, reference = whole
    moved = tmp_path / place
    moved.parent.mkdir(parents=True, exist_ok=True)
    killed(task).rename(moved)
    shutil.rmtree(tmp_path / task)
    monkeypatch.chdir(moved)
    assert main(["train", "--resume", ".", "--threads", "1", "--quiet"]) == 0
    check_same(moved, reference)
    assert {path.name for path in tmp_path.iterdir()} == {Path(place).parts[0]}


def test_a_finished_run_has_nothing_to_go_on_with(
    whole: tuple[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert "is finished" in refused(["train", "--resume", str(whole[1])], capsys)


def test_two_processes_do_not_train_in_one_folder(
    unfinished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path: path.read_bytes() for path in unfinished.rglob("*") if path.is_file()}
    with locked(unfinished):
        assert "another process" in refused(command("patterns", tmp_path), capsys)
    assert {path: path.read_bytes() for path in before} == before


def test_overwriting_waits_for_nobody_and_removes_nothing_that_is_being_trained(
    unfinished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path: path.read_bytes() for path in unfinished.rglob("*") if path.is_file()}
    with locked(unfinished):
        assert "another process" in refused([*command("patterns", tmp_path), "--overwrite"], capsys)
    assert {path: path.read_bytes() for path in before} == before
    assert main([*command("patterns", tmp_path), "--overwrite"]) == 0
    result = json.loads((unfinished / "result.json").read_text())
    assert result["steps_per_second"] * result["seconds"] == pytest.approx(END["patterns"], rel=0.01)


HALF_WRITTEN = [".config.123.json", ".config.json.123", temporary_name("config.json", this_writer())]


@pytest.mark.parametrize(
    "left", [[], ["checkpoints/"], *([".lock", "checkpoints/", name] for name in HALF_WRITTEN)]
)
def test_a_folder_that_was_only_just_begun_is_no_obstacle(left: list[str], tmp_path: Path) -> None:
    run = folder("patterns", tmp_path)
    run.mkdir(parents=True)
    for name in left:
        (run / name).mkdir() if name.endswith("/") else (run / name).write_text("")
    assert main(command("patterns", tmp_path)) == 0
    assert {path.name for path in run.iterdir()} >= {"config.json", "result.json"}
    assert not list(run.glob(".config*"))


def test_a_folder_with_files_of_others_is_left_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = folder("patterns", tmp_path)
    run.mkdir(parents=True)
    (run / "notes.txt").write_text("mine")
    refused([*command("patterns", tmp_path), "--overwrite"], capsys)
    assert [path.name for path in run.iterdir()] == ["notes.txt"]


def test_a_run_that_ended_meanwhile_is_not_evaluated_again(
    whole: tuple[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Between the decision to go on and the lock, another process came to the end."""
    task, reference = whole
    run = folder(task, tmp_path)
    shutil.copytree(reference, run)
    (run / "result.json").rename(run / "aside")

    @contextmanager
    def locked_later(place: Path) -> Iterator[None]:
        (run / "aside").rename(run / "result.json")
        with locked(place):
            yield

    monkeypatch.setattr("plasticrl.scripts.experiments.training.locked", locked_later)
    assert "taken by another process meanwhile" in refused(command(task, tmp_path), capsys)
    assert (run / "result.json").read_bytes() == (reference / "result.json").read_bytes()
