"""docs/results.md reports what is in results/reproduction."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from plasticrl.scripts.comparison import Summary
from plasticrl.scripts.episode_metrics_shown import SHOWN_METRICS
from plasticrl.scripts.reproduction import Experiment
from plasticrl.scripts.reproduction_presets import EXPERIMENTS
from plasticrl.scripts.steadiness import Steadiness, texts

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
STEADINESS = sorted((ROOT / "results" / "reproduction").glob("*/report/steadiness.json"))
REPORTS = sorted((ROOT / "results" / "reproduction").glob("*/report/summary.json"))


def experiment_of(report: Path) -> Experiment:
    return next(one for one in EXPERIMENTS.values() if one.name == report.parts[-3])


def row(one: Any, form: Callable[[float], str]) -> str:
    score = form(one["middle"])
    if one["low"] is not None:
        score += f" [{form(one['low'])}, {form(one['high'])}]"
    seeds = ", ".join(form(score) for score in one["scores"].values())
    return f"| {one['name']} | {len(one['scores'])} | {score} | {seeds} |"


@pytest.mark.parametrize("report", REPORTS, ids=lambda path: path.parts[-3])
def test_the_page_has_the_scores_of_every_condition(report: Path) -> None:
    told = json.loads(report.read_text())
    finished = [one for one in told["conditions"] if one["scores"]]
    assert finished
    for one in finished:
        assert row(one, experiment_of(report).conditions[0].run.main_metric.form) in PAGE


@pytest.mark.parametrize("report", REPORTS, ids=lambda path: path.parts[-3])
def test_the_scores_are_those_of_the_runs_and_the_settings_those_of_the_presets(report: Path) -> None:
    told = json.loads(report.read_text())
    folder = report.parents[1]
    presets = {one.name: one.run for one in experiment_of(report).conditions}
    for one in told["conditions"]:
        preset = presets[one["name"]]
        settings = {name: value for name, value in preset.as_dict().items() if name != "seed"}
        assert one["settings"] == settings
        for seed, score in one["scores"].items():
            run = folder / one["name"] / settings["task"] / settings["core"] / f"seed_{seed}"
            assert json.loads((run / "config.json").read_text()) == {**settings, "seed": int(seed)}
            evaluation = json.loads((run / "result.json").read_text())["evaluation"]
            assert preset.main_metric.sign * preset.score(evaluation) == score


@pytest.mark.parametrize("path", STEADINESS, ids=lambda path: path.parts[-3])
def test_the_page_says_how_steadily_each_condition_learned(path: Path) -> None:
    for name, told in json.loads(path.read_text()).items():
        assert "| " + " | ".join((name, *texts(Steadiness(**told)))) + " |" in PAGE


def test_there_is_something_to_check() -> None:
    assert REPORTS
    assert INTERVENTIONS
    assert TRANSFERS
    assert STEADINESS
    assert all(path.parts[-3] in PAGE for path in REPORTS)
    named = set(re.findall(r"results/reproduction/(\w+)", PAGE))
    assert all((ROOT / "results" / "reproduction" / name).is_dir() for name in named)


INTERVENTIONS = sorted((ROOT / "results" / "reproduction").glob("maze_*/interventions/*.json"))
TRANSFERS = sorted((ROOT / "results" / "reproduction").glob("*/transfer/*.json"))


@pytest.mark.parametrize("path", INTERVENTIONS, ids=lambda path: path.stem)
def test_the_page_has_what_became_of_an_agent_that_was_tampered_with(path: Path) -> None:
    told = json.loads(path.read_text())
    points, share = f"| {told['mean_reward']:.1f} |", f"| {100 * told['oracle_share']:.0f} % |"
    fifths = "  ".join(f"{part:.1f}" for part in told["points_by_fifth"])
    assert f"{points} {fifths} |" in PAGE or f"{points} {share.removeprefix('| ')}" in PAGE
    assert told["episodes"] == 200


@pytest.mark.parametrize("path", TRANSFERS, ids=lambda path: "-".join(path.parts[-3::2]))
def test_the_page_has_how_a_network_did_where_it_was_not_trained(path: Path) -> None:
    told = json.loads(path.read_text())
    metric = SHOWN_METRICS[told["task"]][0]
    scores = told["metrics"][metric.name]
    score = Summary(scores["mean"], scores["low"], scores["high"]).text(metric.form)
    line = next(line for line in PAGE.splitlines() if f" {score} |" in line)
    for name, reference in told["references"].items():
        if name != "nearest shown image":  # one of them is the answer
            assert f"| {metric.form(reference[metric.name])} |" in line
