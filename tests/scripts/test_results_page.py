"""docs/results.md reports what is in results/reproduction."""

import json
import re
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from plasticrl.scripts.comparison import Summary
from plasticrl.scripts.episode_metrics_shown import SHOWN_METRICS
from plasticrl.scripts.reproduction import Experiment
from plasticrl.scripts.reproduction_presets import EXPERIMENTS
from plasticrl.scripts.reproduction_report import report as write_report
from plasticrl.scripts.steadiness import Steadiness, texts
from plasticrl.scripts.within_episode import WithinEpisode
from plasticrl.scripts.within_episode import texts as within_texts

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "results" / "reproduction"
PAGE = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
STEADINESS = sorted(RESULTS.glob("*/report/steadiness.json"))
REPORTS = sorted(RESULTS.glob("*/report/summary.json"))


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
def test_the_report_is_made_of_the_runs_beside_it(report: Path, tmp_path: Path) -> None:
    """The summary, the curves and how steadily agents learned, as ``reproduce --no-train`` makes them."""
    experiment = experiment_of(report)
    write_report(experiment, experiment.with_others([], RESULTS), tmp_path)
    made, kept = ({path.name: path for path in folder.iterdir()} for folder in (tmp_path, report.parent))
    assert made.keys() <= kept.keys()
    numbers = [name for name in kept if name.endswith((".csv", ".json"))]
    for name in numbers:
        assert made[name].read_text() == kept[name].read_text(), name


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


def test_the_page_says_what_is_learned_within_the_episode() -> None:
    told = json.loads((RESULTS / "maze_quick" / "report" / "within_episode.json").read_text())
    for name, one in told.items():
        cells = within_texts(WithinEpisode(one["first"], one["later"], tuple(one["fifths"])))
        assert f"| {' | '.join([name, *cells])} |" in PAGE


@pytest.mark.parametrize(
    ("experiment", "condition", "sentence"),
    [
        ("maze_quick", "lstm", "(269.6 against 232.0, p = {:.4f})"),
        ("maze_quick", "homogeneous_paper", "(p = {:.2g} against the homogeneous ones,"),
        ("maze_quick", "rnn_paper", " {:.2g} against those without plasticity)"),
        ("images_quick", "homogeneous", "(p = {:.2g}, the smallest that three runs each can give)"),
        ("omniglot_quick", "homogeneous", "each connection here (p = {:.2g})"),
    ],
)
def test_the_text_has_the_p_values_of_the_report(experiment: str, condition: str, sentence: str) -> None:
    told = json.loads((RESULTS / experiment / "report" / "summary.json").read_text())
    (p_value,) = (one["first"]["p_value"] for one in told["conditions"] if one["name"] == condition)
    assert sentence.format(p_value) in PAGE


def test_the_text_has_what_went_with_the_points_with_the_papers_settings() -> None:
    """As ``python results/reproduction/paper_settings.py`` prints it."""
    row = runpy.run_path(str(RESULTS / "paper_settings.py"))["row"]
    found = {
        core: [row(folder) for folder in (RESULTS / "maze_quick" / f"{core}_paper").glob("*/*/seed_*")]
        for core in ("plastic", "homogeneous", "rnn")
    }
    best = {core: sorted(int(one[0]) for one in rows) for core, rows in found.items()}
    spans = [f"{best[core][0]} to {best[core][-1]}" for core in found]
    assert f"{spans[0]} points in the plastic runs, {spans[1]} in the homogeneous ones, {spans[2]} in" in PAGE
    dips = sorted(int(one[1]) for one in found["plastic"])
    assert f"not clipped have {dips[0]} to {dips[-1]} in as many steps" in PAGE
    traces = sorted(float(one[3]) for one in (*found["plastic"], *found["homogeneous"]))
    assert f"{traces[-1]:.2f} to {traces[0]:.2f})" in PAGE


def test_there_is_something_to_check() -> None:
    assert len(REPORTS) == 4
    assert STEADINESS
    assert all(path.parts[-3] in PAGE for path in REPORTS)
    linked = re.findall(r"\(\.\./(results/[^)]+)\)", PAGE)
    assert [path for path in linked if not (ROOT / path).exists()] == []


LESIONS = {
    "whole": "nothing",
    "silenced_from_0": "silenced: zero all the time",
    "silenced_from_125": "silenced from step 125",
    "cleared_at_125": "cleared at step 125",
    "frozen_from_125": "frozen from step 125",
    "frozen_from_25": "frozen from step 25",
}
MAZES = {
    "whole": "9 × 9, 250 steps: its own",
    "size_7": "7 × 7",
    "size_11": "11 × 11",
    "size_13": "13 × 13",
    "steps_500": "500 steps",
    "steps_1000": "1,000 steps",
    "iclr_maze": "that of 2019: 11 × 11, 200 steps, no wall penalty",
    "moves_once": "the reward moves after 125 steps",
    "moves_4_times": "it moves every 50 steps",
    "layout_0": "pillars that do not stand in rows, first maze",
    "layout_1": "second",
    "layout_2": "third",
    "layout_3": "fourth",
}
AGENTS = {
    "": "plastic",
    "lstm_": "lstm",
    "recurrent_ppo_": "recurrent_ppo",
    "recurrent_ppo_fifth_": "recurrent_ppo_fifth",
}
IMAGES = {
    "own": "CIFAR-10, a half: its own",
    "quarter": "CIFAR-10, a quarter",
    "pixels_50": "CIFAR-10, half of the pixels, one by one",
    "pixels_80": "CIFAR-10, 80 % of the pixels",
    "square_25": "CIFAR-10, a square of a quarter of the picture",
    "square_50": "CIFAR-10, a square of half of it",
    "omniglot": "Omniglot's drawings, a half",
}
OMNIGLOT = {
    "own": "5 | 1",
    "n_way_2": "2 | 1",
    "n_way_3": "3 | 1",
    "k_shot_2": "5 | 2",
    "k_shot_5": "5 | 5",
    "n_way_3_k_shot_3": "3 | 3",
}


def evaluated(folder: str, name: str) -> Any:
    return json.loads((RESULTS / folder / f"{name}.json").read_text())


def test_every_evaluation_is_on_the_page() -> None:
    expected = {
        "maze_quick/interventions": {*LESIONS, *(agent + maze for agent in AGENTS for maze in MAZES)},
        "images_quick/transfer": set(IMAGES),
        "omniglot_quick/transfer": set(OMNIGLOT),
    }
    for folder, names in expected.items():
        assert {path.stem for path in (RESULTS / folder).glob("*.json")} == names


@pytest.mark.parametrize("name", LESIONS)
def test_the_page_has_what_became_of_an_agent_that_was_tampered_with(name: str) -> None:
    told = evaluated("maze_quick/interventions", name)
    fifths = "  ".join(f"{part:.1f}" for part in told["points_by_fifth"])
    assert f"| {LESIONS[name]} | {told['mean_reward']:.1f} | {fifths} |" in PAGE
    assert (told["episodes"], told["seed"]) == (200, 5)


@pytest.mark.parametrize("name", MAZES)
def test_the_page_has_how_agents_did_in_other_mazes(name: str) -> None:
    told = [evaluated("maze_quick/interventions", agent + name) for agent in AGENTS]
    cells = [f"{one['mean_reward']:.1f} | {100 * one['oracle_share']:.0f} %" for one in told]
    assert f"| {' | '.join([MAZES[name], *cells])} |" in PAGE
    assert {(one["episodes"], one["seed"]) for one in told} == {(200, 5)}
    conditions = [one["checkpoint"].split("/")[3] for one in told]
    assert conditions == list(AGENTS.values()), "each column is of the agent that is named above it"


@pytest.mark.parametrize(
    ("folder", "name", "label"),
    [
        *(("images_quick/transfer", *one) for one in IMAGES.items()),
        *(("omniglot_quick/transfer", *one) for one in OMNIGLOT.items()),
    ],
)
def test_the_page_has_how_a_network_did_where_it_was_not_trained(folder: str, name: str, label: str) -> None:
    told = evaluated(folder, name)
    metric = SHOWN_METRICS[told["task"]][0]
    scores = told["metrics"][metric.name]
    score = Summary(scores["mean"], scores["low"], scores["high"]).text(metric.form)
    references = [
        metric.form(reference[metric.name])
        for reference_name, reference in told["references"].items()
        if reference_name != "nearest shown image"  # one of them is the answer
    ]
    assert f"| {' | '.join([label, score, *references])} |" in PAGE
