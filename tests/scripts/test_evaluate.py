import json
import shutil
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from plasticrl.scripts.main import main
from plasticrl.scripts.settings.maze import MazeSettings
from plasticrl.scripts.settings.supervised import ImagesSettings, OmniglotSettings, PatternsSettings
from plasticrl.scripts.settings.tasks import TASKS
from plasticrl.scripts.tasks.task import changed_settings


def scores(words: list[str], capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    assert main(["evaluate", *words, "--json"]) == 0
    shown: dict[str, Any] = json.loads(capsys.readouterr().out)
    return shown


def test_run_is_scored_as_at_its_end(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    expected = json.loads((trained / "result.json").read_text())["evaluation"]
    shown = scores([str(trained)], capsys)
    assert {name: shown[name] for name in expected} == expected


def test_options_reach_the_evaluation(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shown = scores([str(trained), "--episodes", "4", "--seed", "9", "--deterministic"], capsys)
    assert (shown["episodes"], shown["seed"], shown["deterministic"]) == (4, 9, True)
    longer = scores([str(trained), "--episode-length", "40", "--size", "7"], capsys)
    assert longer["oracle_reward"] != shown["oracle_reward"]


def test_one_checkpoint(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = min((trained / "checkpoints").iterdir())
    assert scores([str(first)], capsys)["checkpoint"] == str(first)


def test_table(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    expected = json.loads((trained / "result.json").read_text())["evaluation"]
    assert main(["evaluate", str(trained)]) == 0
    shown = capsys.readouterr().out
    assert f"{expected['mean_reward']:.1f} ± {expected['std_reward']:.1f}" in shown
    assert f"{expected['oracle_share']:.1%}" in shown


def test_nothing_is_written(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path: path.stat().st_mtime_ns for path in trained.rglob("*")}
    scores([str(trained)], capsys)
    assert {path: path.stat().st_mtime_ns for path in trained.rglob("*")} == before


def test_an_agent_is_tried_in_the_other_maze(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It pays otherwise and has no wall penalty, but shows as many numbers."""
    assert main(["evaluate", str(trained), "--env", "PlasticMazeICLR-v0", "--episodes", "3", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["episodes"] == 3


def test_an_agent_is_tried_among_other_pillars_in_every_episode(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No belief agent knows these, and nothing is compared with one."""
    here = scores([str(trained)], capsys)
    random = scores([str(trained), "--env", "PlasticMazeRandom-v0"], capsys)
    assert random["oracle_reward"] != here["oracle_reward"]
    assert (random["belief_reward"], random["belief_share"]) == (None, None)
    options = [str(trained), "--env", "PlasticMazeRandom-v0", "--layout-seed", "3"]
    assert main(["evaluate", *options]) != 0
    assert "leave out layout_seed=3" in capsys.readouterr().err


@pytest.mark.parametrize("elsewhere", [["--layout-seed", "3"], ["--relocate-every", "5"]], ids=str)
def test_a_maze_that_it_was_not_trained_in(
    elsewhere: list[str], trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = scores([str(trained), "--size", "9"], capsys)
    other = scores([str(trained), "--size", "9", *elsewhere], capsys)
    assert other["oracle_reward"] != own["oracle_reward"]
    assert other["mean_reward"] != own["mean_reward"]
    name = elsewhere[0].strip("-")
    assert other[name.replace("-", "_")] == int(elsewhere[1])
    assert main(["evaluate", str(trained), *elsewhere]) == 0
    assert f"{name.replace('-', ' ')} {elsewhere[1]}" in capsys.readouterr().out


def test_settings_of_the_training_can_be_switched_off(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The scores are then those of a run that never had them."""
    changed = shutil.copytree(trained, tmp_path / "run")
    config = json.loads((trained / "config.json").read_text())
    config["maze"] |= {"layout_seed": 3, "relocate_every": 5, "size": 9}
    (changed / "config.json").write_text(json.dumps(config))
    plain = scores([str(trained), "--size", "9"], capsys)
    off = ["--layout-seed", "off", "--relocate-every", "off"]
    assert scores([str(changed)], capsys)["mean_reward"] != plain["mean_reward"]
    without = scores([str(changed), *off], capsys)
    assert (without["layout_seed"], without["relocate_every"]) == (None, None)
    same = ("mean_reward", "std_reward", "oracle_reward", "points_by_fifth")
    assert {name: without[name] for name in same} == {name: plain[name] for name in same}
    assert main(["evaluate", str(changed), *off]) == 0
    assert "layout seed off" in capsys.readouterr().out


@pytest.mark.parametrize("task", TASKS)
def test_options_of_a_task_are_its_settings(task: str) -> None:
    """What may differ from the training is a setting of the task, or one of the evaluation itself."""
    settings = {"maze": MazeSettings, "patterns": PatternsSettings, "images": ImagesSettings}
    known = {field.name for field in fields(settings.get(task, OmniglotSettings))}
    own = ("deterministic", "lesion", "lesion_step")
    assert {field.name for field in fields(TASKS[task].evaluation)} <= known | {*own}
    assert changed_settings(TASKS[task].evaluation(), *own) == {}
