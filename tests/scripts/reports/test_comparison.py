"""Comparisons in tables and files, without any training."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

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


def maze(reward: float) -> dict[str, float]:
    return {"mean_reward": reward, "rewards_found": 2.0, "random_reward": 10.0, "oracle_reward": 110.0}


def test_the_oracle_stands_above_and_random_below(tmp_path: Path) -> None:
    command = options_of(CompareOptions, TASKS["maze"])(output=OutputSettings(root=tmp_path))
    found = compared(command, {"rnn": [maze(5.0), maze(15.0)], "plastic": [maze(60.0), maze(80.0)]})
    assert [row[0] for row in found.table()] == ["agent", "oracle", "plastic", "rnn", "random"]
    assert found.table()[2] == ("plastic", "2", "70.0  [60.0, 80.0]", "60%  [50%, 70%]", "2.0")
    rows = {row[0]: row[1:] for row in found.csv_rows()}
    assert rows["plastic"] == (2, 70.0, 60.0, 80.0, 0.6, 0.5, 0.7, 2.0)
    assert rows["oracle"] == ("", 110.0, "", "", 1.0, "", "", "")
    assert found.axes().share == (10.0, 110.0, "share of the oracle (%)")


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
