import csv
import json
import os
from pathlib import Path

import pytest
import torch

from plasticrl.agents import RecurrentA2C
from plasticrl.envs import MazeConfig, oracle_share
from plasticrl.scripts.main import main
from plasticrl.scripts.runs.folder import read_run


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_run_folder_holds_what_a_run_is(trained: Path) -> None:
    names = {path.name.partition(".tfevents")[0] for path in trained.iterdir()}
    assert names == {".lock", "config.json", "progress.csv", "events.out", "checkpoints", "result.json"}
    checkpoints = sorted(path.name for path in (trained / "checkpoints").iterdir())
    # Updates of 80 steps.
    assert checkpoints == ["step_000000000240.safetensors", "step_000000000400.safetensors"]


@pytest.mark.parametrize("task", ["maze", "patterns"])
def test_memory_that_training_frees_is_kept_for_what_it_needs_next(
    task: str, tiny: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[str] = []
    options = tiny if task == "maze" else ["--n-bits", "12", "--total-episodes", "4", "--quiet"]
    monkeypatch.setattr("plasticrl.scripts.tasks.task.keep_freed_memory", lambda: kept.append(task))
    assert main(["train", task, "--root", str(tmp_path), *options]) == 0
    assert kept == [task]


def test_config_is_read_back_as_it_was_given(trained: Path) -> None:
    run = read_run(trained)
    assert (run.core, run.seed, run.maze.size, run.maze.episode_length) == ("plastic", 3, 5, 20)
    assert (run.agent.hidden_size, run.training.n_envs, run.training.total_timesteps) == (8, 4, 400)
    assert run.as_dict() == json.loads((trained / "config.json").read_text())


def test_progress_csv_has_a_row_per_update(trained: Path) -> None:
    with (trained / "progress.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["time/total_timesteps"]) for row in rows] == [80, 160, 240, 320, 400]
    always = {
        "rollout/ep_rew_mean",
        "rollout/ep_len_mean",
        "maze/oracle_share",
        "maze/rewards_found",
        "time/fps",
    }
    assert all(row[name] for row in rows for name in always)
    later = {
        "train/loss",
        "train/grad_norm",
        "plastic/eta",
        "plastic/alpha_abs_mean",
        "plastic/trace_abs_mean",
    }
    assert all(row[name] for row in rows[1:] for name in later)


def test_result_says_how_good_and_at_what_cost(trained: Path) -> None:
    result = json.loads((trained / "result.json").read_text())
    evaluation = result["evaluation"]
    config = MazeConfig(size=5, episode_length=20)
    assert evaluation["episodes"] == 6
    assert evaluation["oracle_share"] == pytest.approx(oracle_share(evaluation["mean_reward"], config))
    found, hits = evaluation["rewards_found"], evaluation["wall_hits"]
    assert evaluation["mean_reward"] == pytest.approx(10 * found - 0.1 * hits)
    assert result["steps"] == 400
    assert result["seconds"] > 0
    assert {"plasticrl", "torch", "python"} <= set(result["versions"])
    assert result["machine"]["processor"]
    assert result["machine"]["processors"] == os.cpu_count()


def test_run_is_not_replaced_unless_told(
    tmp_path: Path, tiny: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train", "maze", "--core", "rnn", "--root", str(tmp_path), *tiny]
    folder = tmp_path / "maze" / "rnn" / "seed_0"
    assert main(words) == 0
    before = contents(folder)
    assert main([*words, "--gamma", "0.5"]) == 2
    assert str(folder) in capsys.readouterr().err
    assert contents(folder) == before
    assert main([*words, "--gamma", "0.5", "--overwrite", "--size", "4"]) == 2
    assert contents(folder) == before, "wrong settings must be seen before anything is removed"
    assert main([*words, "--gamma", "0.5", "--overwrite"]) == 0
    assert read_run(folder).agent.gamma == 0.5
    assert len([path for path in folder.iterdir() if "tfevents" in path.name]) == 1


def test_other_files_are_never_removed(
    tmp_path: Path, tiny: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "maze" / "plastic" / "seed_0"
    folder.mkdir(parents=True)
    (folder / "thesis.txt").write_text("do not lose")
    assert main(["train", "maze", "--root", str(tmp_path), "--overwrite", *tiny]) == 2
    assert "not a run's folder" in capsys.readouterr().err
    assert contents(folder) == {"thesis.txt": b"do not lose"}


def test_what_is_watched_does_not_change_what_is_learned(tmp_path: Path, tiny: list[str]) -> None:
    weights = []
    for root, often in ((tmp_path / "a", "1"), (tmp_path / "b", "5")):
        assert main(["train", "maze", "--root", str(root), *tiny, "--checkpoints", often]) == 0
        last = max((root / "maze" / "plastic" / "seed_0" / "checkpoints").iterdir())
        weights.append(RecurrentA2C.load(last).policy.state_dict())
    assert weights[0].keys() == weights[1].keys()
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


@pytest.mark.parametrize("core", ["homogeneous", "rnn", "lstm", "gru", "feedforward"])
def test_every_core_trains(core: str, tmp_path: Path, tiny: list[str]) -> None:
    assert main(["train", "maze", "--core", core, "--root", str(tmp_path), *tiny]) == 0
    assert (tmp_path / "maze" / core / "seed_0" / "result.json").is_file()


def test_progress_is_told_on_stderr_and_the_score_on_stdout(
    tmp_path: Path, tiny: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    options = [word for word in tiny if word != "--quiet"]
    assert main(["train", "maze", "--root", str(tmp_path), *options]) == 0
    shown = capsys.readouterr()
    assert "100%" in shown.err
    assert "belief" in shown.err
    assert "steps/s" in shown.err
    assert "points per episode" in shown.out
    assert f"tensorboard --logdir {tmp_path}" in shown.out
