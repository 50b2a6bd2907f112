"""What --track sends to Weights & Biases."""

import csv
import json
import sys
import time
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from refusals import check_refused

from plasticrl.scripts.main import main


class Failure(Exception):
    """An error of Weights & Biases."""


class Wandb(ModuleType):
    """Stands in for the package, and keeps what it is sent."""

    Error = Failure

    def __init__(self) -> None:
        super().__init__("wandb")
        self.__spec__ = ModuleSpec("wandb", None)
        self.runs: list[Any] = []
        self.fails = False

    @staticmethod
    def Settings(**given: Any) -> dict[str, Any]:
        return given

    def init(self, **given: Any) -> Any:
        if self.fails:
            raise Failure("No API key\nconfigured.")
        self.runs.append(TrackedRun(given, given.get("id") or f"id{len(self.runs)}"))
        return self.runs[-1]


class TrackedRun:
    offline = False
    url = "https://wandb.example/run"

    def __init__(self, given: dict[str, Any], number: str) -> None:
        self.given, self.id, self.finished = given, number, False
        self.logged: dict[int, dict[str, float]] = {}

    def log(self, values: dict[str, float], step: int) -> None:
        assert not self.finished
        assert step >= max(self.logged, default=0)
        self.logged.setdefault(step, {}).update(values)

    def finish(self) -> None:
        self.finished = True


@pytest.fixture
def wandb(monkeypatch: pytest.MonkeyPatch) -> Wandb:
    module = Wandb()
    monkeypatch.setitem(sys.modules, "wandb", module)
    monkeypatch.delenv("WANDB_PROJECT", raising=False)
    return module


def rows(run: Path) -> list[dict[str, str]]:
    with (run / "progress.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def check_tracked(tracked: TrackedRun, run: Path, counter: str, evaluation: dict[str, float]) -> None:
    """The numbers are those of progress.csv, and the scores those of result.json."""
    assert tracked.finished
    found = rows(run)
    assert list(tracked.logged) == [int(row[counter]) for row in found]
    for row, logged in zip(found, tracked.logged.values(), strict=True):
        numbers = {name: float(value) for name, value in row.items() if value}
        of_training = {name: value for name, value in logged.items() if not name.startswith("eval/")}
        assert of_training == pytest.approx(numbers)
    last = tracked.logged[max(tracked.logged)]
    assert {name: last[f"eval/{name}"] for name in evaluation} == evaluation
    config = json.loads((run / "config.json").read_text())
    assert json.loads(json.dumps(tracked.given["config"])) == config
    assert json.loads((run / "tracked.json").read_text()) == {"id": tracked.id}


def test_a_run_is_logged(wandb: Wandb, tiny: list[str], tmp_path: Path) -> None:
    assert main(["train", "maze", *tiny, "--root", str(tmp_path), "--track"]) == 0
    run = tmp_path / "maze" / "plastic" / "seed_0"
    scores = json.loads((run / "result.json").read_text())["evaluation"]
    (tracked,) = wandb.runs
    check_tracked(tracked, run, "time/total_timesteps", {"mean_reward": scores["mean_reward"]})
    names = {name: tracked.given[name] for name in ("project", "name", "group")}
    assert names == {"project": "plasticrl", "name": "plastic seed 0", "group": "maze"}


def test_a_supervised_run_is_logged(
    wandb: Wandb, supervised: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_PROJECT", "mine")
    assert main(["train", supervised.task, *supervised.options, "--root", str(tmp_path), "--track"]) == 0
    run = tmp_path / supervised.task / "plastic" / "seed_0"
    (tracked,) = wandb.runs
    check_tracked(tracked, run, "time/episodes", {})
    assert tracked.given["project"] is None  # that of the variable
    assert any(name.startswith("eval/") for name in tracked.logged[max(tracked.logged)])


def test_a_resumed_run_stays_the_same(wandb: Wandb, tiny: list[str], tmp_path: Path) -> None:
    words = ["train", "maze", *tiny, "--root", str(tmp_path), "--track"]
    assert main(words) == 0
    run = tmp_path / "maze" / "plastic" / "seed_0"
    (run / "result.json").unlink()
    assert main(["train", "--resume", str(run), "--track", "--threads", "1", "--quiet"]) == 0
    assert [one.id for one in wandb.runs] == ["id0", "id0"]
    assert wandb.runs[1].given["resume"] == "allow"
    assert main([*words, "--reward", "5", "--overwrite"]) == 0
    assert wandb.runs[2].given["id"] is None
    assert {path.name for path in run.iterdir()} >= {"tracked.json", "result.json"}


def test_each_run_of_a_comparison_is_logged(wandb: Wandb, tiny: list[str], tmp_path: Path) -> None:
    words = ["compare", "maze", "--cores", "rnn", "gru", "--seeds", "1", "--jobs", "1"]
    assert main([*words, *tiny, "--root", str(tmp_path), "--track"]) == 0
    assert [one.given["name"] for one in wandb.runs] == ["rnn seed 0", "gru seed 0"]
    assert all(one.finished for one in wandb.runs)


def test_the_address_is_shown(
    wandb: Wandb, tiny: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = [word for word in tiny if word != "--quiet"]
    assert main(["train", "maze", *options, "--root", str(tmp_path), "--track"]) == 0
    assert "Weights & Biases: https://wandb.example/run" in capsys.readouterr().err


def test_no_account_is_one_line(
    wandb: Wandb, tiny: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wandb.fails = True
    words = ["train", "maze", *tiny, "--root", str(tmp_path), "--track"]
    check_refused(words, "--track: No API key configured: log in with wandb login", capsys)


@pytest.mark.parametrize("command", ["train", "compare"])
def test_without_the_package(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("plasticrl.scripts.runs.logs.find_spec", lambda _: None)
    words = [command, "maze", "--root", str(tmp_path), "--track"]
    check_refused(words, "pip install 'plasticrl[track]'", capsys)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(find_spec("wandb") is None, reason="needs the extra 'track'")
@pytest.mark.filterwarnings("ignore")  # of the package
def test_the_package_writes_it_offline(
    tiny: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    assert main(["train", "maze", *tiny, "--root", str(tmp_path / "runs"), "--track"]) == 0
    assert "wandb" not in capsys.readouterr().err
    (file,) = tmp_path.glob("wandb/offline-run-*/*.wandb")
    number = json.loads((tmp_path / "runs/maze/plastic/seed_0/tracked.json").read_text())["id"]
    names = [name.encode() for name in (number, "rollout/ep_rew_mean", "eval/mean_reward")]
    deadline = time.monotonic() + 60
    while not all(name in file.read_bytes() for name in names):  # another process writes it
        assert time.monotonic() < deadline
        time.sleep(0.05)
