"""Comparisons in tables and files, without any training."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from plasticrl.envs import MazeConfig, belief_score
from plasticrl.scripts.commands import CompareOptions, options_of
from plasticrl.scripts.errors import UserError
from plasticrl.scripts.experiments.experiment import Trial, comparison_of
from plasticrl.scripts.reports.comparison import Comparison, compare_trials
from plasticrl.scripts.settings.maze import OutputSettings
from plasticrl.scripts.settings.tasks import TASKS


def compared(command: Any, evaluations: dict[str, list[Any]]) -> Comparison:
    """The comparison of runs that nobody trained, with these evaluations."""
    seeds = len(next(iter(evaluations.values())))
    command = replace(command, cores=tuple(evaluations), seeds=seeds)
    trials: list[Trial] = comparison_of(command.runs(), command.output.root).trials()
    for trial in trials:
        trial.folder.mkdir(parents=True)
        evaluation = evaluations[trial.condition][trial.run.seed]
        (trial.folder / "result.json").write_text(json.dumps({"evaluation": evaluation}))
    return compare_trials(trials)


BELIEF = belief_score(MazeConfig()).mean


def maze(share: float) -> dict[str, float]:
    """An evaluation with this share of the belief agent's points, and half of it of the oracle's."""
    points = BELIEF - 10
    return {
        "mean_reward": 10 + share * points,
        "rewards_found": 2.0,
        "random_reward": 10.0,
        "oracle_reward": 10 + 2 * points,
    }


def test_oracle_and_belief_agent_stand_above_and_random_below(tmp_path: Path) -> None:
    command = options_of(CompareOptions, TASKS["maze"])(output=OutputSettings(root=tmp_path))
    found = compared(command, {"rnn": [maze(0.0), maze(0.2)], "plastic": [maze(0.6), maze(0.8)]})
    assert [row[0] for row in found.table()] == [
        "agent",
        "oracle",
        "belief agent",
        "plastic",
        "rnn",
        "random",
    ]
    assert found.table()[3][3:] == ("70%  [60%, 80%]", "35%  [30%, 40%]", "2.0")
    rows = {row[0]: row[1:] for row in found.csv_rows()}
    assert rows["plastic"][4:] == pytest.approx((0.7, 0.6, 0.8, 0.35, 0.3, 0.4, 2.0))
    assert rows["belief agent"] == pytest.approx(("", BELIEF, "", "", 1.0, "", "", 0.5, "", "", ""))
    axes = found.axes()
    assert axes.share == (10.0, BELIEF, "share of the belief agent (%)")
    assert [name for name, *_ in axes.references] == ["belief agent", "random"]
    assert axes.above == [("oracle", 10 + 2 * (BELIEF - 10))]


def test_where_memory_is_of_no_use_there_is_no_belief_agent(tmp_path: Path) -> None:
    command = options_of(CompareOptions, TASKS["maze"])(output=OutputSettings(root=tmp_path))
    command = replace(command, maze=replace(command.maze, episode_length=1))
    found = compared(command, {"rnn": [maze(0.0)], "plastic": [maze(0.6)]})
    assert [row[0] for row in found.table()] == ["agent", "oracle", "plastic", "rnn", "random"]
    assert found.table()[0][2:] == ("points per episode", "share of the oracle", "rewards found")
    assert found.axes().share == (10.0, 10 + 2 * (BELIEF - 10), "share of the oracle (%)")
    assert json.dumps(found.as_dict(), allow_nan=False)


def images(mse: float, psnr: float | None) -> dict[str, Any]:
    values = {"hidden_mse": mse, "hidden_psnr": psnr, "hidden_correlation": 0.5}
    perfect = {"hidden_mse": 0.0, "hidden_psnr": None, "hidden_correlation": 1.0}
    guess = {"hidden_mse": 0.3, "hidden_psnr": 5.0, "hidden_correlation": 0.0}
    metrics = {name: {"mean": value} for name, value in values.items()}
    return {"metrics": metrics, "references": {"guess": guess, "copy": perfect}}


def test_an_infinite_reference_is_shown_and_left_out_of_numbers(tmp_path: Path) -> None:
    command = options_of(CompareOptions, TASKS["images"])(output=OutputSettings(root=tmp_path))
    found = compared(command, {"plastic": [images(0.1, 10.0)], "rnn": [images(0.05, 13.0)]})
    assert [row[0] for row in found.table()] == ["network", "rnn", "plastic", "copy", "guess"]
    assert found.table()[3] == ("copy", "", "0.0000", "∞", "1.000")
    assert found.csv_rows()[3] == ("copy", "", 0.0, "", "", "", "", "", 1.0, "", "")
    assert json.dumps(found.as_dict(), allow_nan=False)


def test_an_infinite_score_is_refused(tmp_path: Path) -> None:
    command = options_of(CompareOptions, TASKS["images"])(output=OutputSettings(root=tmp_path))
    with pytest.raises(UserError, match="hidden_psnr is infinite"):
        compared(command, {"plastic": [images(0.0, None)]})
