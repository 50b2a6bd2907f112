"""RecurrentPPO as a run among others: stopped, resumed, evaluated, watched; settings that are wrong."""

import csv
import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from plasticrl.scripts.errors import UserError
from plasticrl.scripts.experiments.paper import EXPERIMENTS
from plasticrl.scripts.experiments.training import check_run, train
from plasticrl.scripts.main import main
from plasticrl.scripts.runs.run import Run, run_from_dict
from plasticrl.scripts.runs.terminal import Report
from plasticrl.scripts.settings.maze import OutputSettings

TOTAL = 800


def small() -> Run:
    run = EXPERIMENTS["maze", "quick"].condition("recurrent_ppo").run
    assert run.learner == "sb3_contrib"
    return run.with_groups(
        maze=replace(run.maze, size=5, episode_length=20),
        training=replace(run.training, total_timesteps=TOTAL, n_envs=4, eval_episodes=6, checkpoints=4),
        ppo=replace(run.ppo, hidden_size=6, n_steps=20, batch_size=40, n_epochs=2),
    )


def trained_in(root: Path, report: Callable[[Report], None] = lambda _: None) -> Path:
    train(small(), OutputSettings(root=root, threads=1, device="cpu", quiet=True), report)
    return small().folder(root)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained_in(tmp_path_factory.mktemp("ppo"))


def test_its_settings_come_back() -> None:
    assert run_from_dict(json.loads(json.dumps(small().as_dict()))) == small()


def test_a_stopped_run_goes_on_to_its_end(tmp_path: Path) -> None:
    def stop(told: Report) -> None:
        if told.done >= TOTAL // 2:
            raise RuntimeError("stopped here")

    with pytest.raises(RuntimeError, match="stopped here"):
        trained_in(tmp_path, stop)
    first: list[int] = []
    folder = trained_in(tmp_path, lambda told: first.append(told.done))
    assert 0 < first[0] - 80 < TOTAL // 2  # from a checkpoint, a rollout further
    with (folder / "progress.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    steps = [int(row["time/total_timesteps"]) for row in rows]
    assert steps == list(range(80, TOTAL + 1, 80))
    rates = {step: row["train/learning_rate"] for step, row in zip(steps, rows, strict=True)}
    assert (
        sum(rate != "" for rate in rates.values()) >= len(steps) - 2
    )  # the first row of each process has none
    for step, rate in rates.items():  # SB3 logs what an update says with the next rollout
        assert rate == "" or float(rate) == pytest.approx(
            small().ppo.learning_rate * (1 - (step - 80) / TOTAL)
        )
    assert json.loads((folder / "result.json").read_text())["steps"] == TOTAL


def test_its_result_is_evaluated_again(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", str(finished), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    expected = json.loads((finished / "result.json").read_text())["evaluation"]
    assert told["mean_reward"] == pytest.approx(expected["mean_reward"])
    assert main(["evaluate", str(finished), "--size", "7", "--episodes", "3"]) == 0


def test_it_has_no_trace_to_tamper_with(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", str(finished), "--lesion", "cleared"]) == 2
    assert "only a plastic agent has a trace" in capsys.readouterr().err


def test_its_files_call_it_as_they_always_did(finished: Path) -> None:
    assert finished.parts[-3:] == ("maze", "recurrent_ppo", "seed_0")
    assert json.loads((finished / "result.json").read_text())["core"] == "recurrent_ppo"
    config = json.loads((finished / "config.json").read_text())
    assert (config["version"], config["learner"], config["core"]) == (4, "sb3_contrib", "lstm")


def test_it_can_be_watched(finished: Path, tmp_path: Path) -> None:
    assert main(["watch", str(finished), "--before", "--gif", str(tmp_path / "seen.gif")]) == 0
    assert (tmp_path / "seen.gif").read_bytes().startswith(b"GIF")


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        ({"n_steps": 0}, "n_steps must be at least 1"),
        ({"batch_size": 1}, "batch_size must be at least 2"),
        ({"batch_size": 79}, "with 80 steps leaves a batch of one"),
        ({"n_epochs": 0}, "n_epochs must be at least 1"),
        ({"hidden_size": 0}, "hidden_size must be at least 1"),
        ({"gamma": 1.5}, "gamma must be between 0 and 1"),
        ({"gae_lambda": -0.1}, "gae_lambda must be between 0 and 1"),
        ({"ent_coef": math.nan}, "ent_coef must be finite"),
        ({"vf_coef": math.inf}, "vf_coef must be finite"),
        ({"learning_rate": 0.0}, "learning_rate must be finite and above 0"),
        ({"max_grad_norm": 0.0}, "max_grad_norm must be finite and above 0"),
    ],
)
def test_wrong_settings(wrong: dict[str, Any], complaint: str) -> None:
    with pytest.raises(UserError, match=complaint):
        check_run(small().with_groups(ppo=replace(small().ppo, **wrong)))


def test_it_is_not_trained_by_several_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "0")
    with pytest.raises(UserError, match="without torchrun"):
        check_run(small())
