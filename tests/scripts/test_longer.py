"""A finished run is trained longer by the same command with a larger length."""

import json
import shutil
from pathlib import Path

import pytest
from equal_runs import check_same, checkpoints, rows, scalars, weights
from refusals import check_refused

from plasticrl.scripts.main import main
from plasticrl.scripts.runs.folder import read_run

OPTIONS = {
    "maze": [
        *["--size", "5", "--episode-length", "20", "--hidden-size", "8", "--n-envs", "4"],
        *["--checkpoints", "2", "--learning-rate", "1e-3"],
    ],
    "patterns": ["--n-bits", "12", "--n-cycles", "1", "--batch-size", "2", "--learning-rate", "1e-3"],
}
LENGTH = {"maze": "--total-timesteps", "patterns": "--total-episodes"}
SHORT, LONG = {"maze": 400, "patterns": 12}, {"maze": 800, "patterns": 30}
METRIC = {"maze": "mean_reward", "patterns": "bit_error"}
CONSTANT = ["--final-learning-rate", "1e-3"]
ALIKE = ["--eval-episodes", "4", "--threads", "1", "--quiet"]


def command(task: str, root: Path, length: int, *more: str) -> list[str]:
    return ["train", task, "--root", str(root), *OPTIONS[task], LENGTH[task], str(length), *ALIKE, *more]


def folder(task: str, root: Path) -> Path:
    return root / task / "plastic" / "seed_0"


def without_first_evaluation(run: Path, end: int) -> dict[str, list[tuple[int, float]]]:
    return {
        tag: [point for point in points if point[0] == end or not tag.startswith("eval/")]
        for tag, points in scalars(run).items()
    }


@pytest.fixture(params=list(OPTIONS))
def task(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


def test_with_a_constant_rate_it_is_the_longer_training(task: str, tmp_path: Path) -> None:
    short, long = tmp_path / "short", tmp_path / "long"
    assert main(command(task, long, LONG[task], *CONSTANT)) == 0
    assert main(command(task, short, SHORT[task], *CONSTANT)) == 0
    assert main(command(task, short, LONG[task], *CONSTANT)) == 0
    run, whole = folder(task, short), folder(task, long)
    last = [max(checkpoints(one).items()) for one in (run, whole)]
    assert last[0][0] == last[1][0] == LONG[task]
    assert weights(last[0][1].read_bytes()) == weights(last[1][1].read_bytes())
    assert rows(run) == rows(whole)
    assert without_first_evaluation(run, LONG[task]) == without_first_evaluation(whole, LONG[task])
    assert [step for step, _ in scalars(run)["eval/" + METRIC[task]]] == [SHORT[task], LONG[task]]
    results = [json.loads((one / "result.json").read_text()) for one in (run, whole)]
    assert results[0]["evaluation"] == results[1]["evaluation"]
    assert results[0]["steps"] == LONG[task]
    assert read_run(run) == read_run(whole)


def test_a_rate_that_falls_is_that_of_the_new_length(task: str, tmp_path: Path) -> None:
    falling = ["--final-learning-rate", "0"]
    assert main(command(task, tmp_path, SHORT[task], *falling)) == 0
    run = folder(task, tmp_path)
    counter = read_run(run).counter
    assert main(command(task, tmp_path, LONG[task], *falling)) == 0
    rates = {int(row[counter]): row["train/learning_rate"] for row in rows(run) if row["train/learning_rate"]}
    later = {done: float(rate) for done, rate in rates.items() if done > SHORT[task]}
    assert later
    before = [done for done in rates if done <= SHORT[task]]
    step = min(later) - max(before)
    for done, rate in later.items():
        nearest = [1e-3 * (1 - at / LONG[task]) for at in (done - step, done)]
        assert any(rate == pytest.approx(one, rel=1e-3, abs=1e-9) for one in nearest)


def test_killed_while_it_is_lengthened(task: str, tmp_path: Path) -> None:
    """The result is removed before the settings change, and neither kill leaves a wrong one."""
    short, whole = tmp_path / "short", tmp_path / "whole"
    assert main(command(task, short, SHORT[task])) == 0
    shutil.copytree(short, whole)
    assert main(command(task, whole, LONG[task])) == 0
    run = folder(task, short)
    (run / "result.json").unlink()
    killed = tmp_path / "killed"
    shutil.copytree(short, killed)
    assert main(command(task, short, LONG[task])) == 0
    check_same(run, folder(task, whole))
    longer = json.loads((folder(task, whole) / "config.json").read_text())
    (folder(task, killed) / "config.json").write_text(json.dumps(longer))
    words = ["train", "--resume", str(folder(task, killed)), "--threads", "1", "--quiet"]
    assert main(words) == 0
    check_same(folder(task, killed), folder(task, whole))


def test_a_comparison_is_trained_longer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["compare", "maze", "--cores", "plastic", "rnn", "--seeds", "1", "--jobs", "1"]
    words += ["--root", str(tmp_path), *OPTIONS["maze"], *ALIKE, "--total-timesteps"]
    assert main([*words, "160"]) == 0
    assert main([*words, "240"]) == 0
    for core in ("plastic", "rnn"):
        result = json.loads((tmp_path / "maze" / core / "seed_0" / "result.json").read_text())
        assert result["steps"] == 240


def test_what_is_not_just_longer_is_refused(
    task: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(command(task, tmp_path, SHORT[task])) == 0
    run = folder(task, tmp_path)
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    capsys.readouterr()
    name = LENGTH[task].strip("-").replace("-", "_")
    less = f"{name} was {SHORT[task]}, now 4): give --overwrite"
    check_refused(command(task, tmp_path, 4), less, capsys)
    check_refused(command(task, tmp_path, LONG[task], "--eta", "0.5"), "eta was", capsys)
    check_refused(["train", "--resume", str(run)], f"with a larger {LENGTH[task]}, trains it longer", capsys)
    assert {path: path.read_bytes() for path in before} == before
    for path in checkpoints(run).values():
        path.unlink()
    check_refused(command(task, tmp_path, LONG[task]), "already holds a finished run", capsys)
    assert (run / "result.json").exists()


def test_an_unfinished_run_is_not_lengthened(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(command("maze", tmp_path, SHORT["maze"])) == 0
    run = folder("maze", tmp_path)
    (run / "result.json").unlink()
    max(checkpoints(run).items())[1].unlink()
    capsys.readouterr()
    check_refused(command("maze", tmp_path, LONG["maze"]), "an unfinished run with other settings", capsys)
