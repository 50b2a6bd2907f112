"""docs/results.md reports what is in results/reproduction."""

import json
import re
import runpy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from plasticrl.scripts.experiments.experiment import Experiment
from plasticrl.scripts.experiments.paper import EXPERIMENTS
from plasticrl.scripts.reports.experiment_report import report_experiment
from plasticrl.scripts.reports.maze_details import Steadiness, WithinEpisode
from plasticrl.scripts.reports.maze_details import steadiness_texts as texts
from plasticrl.scripts.reports.maze_details import within_episode_texts as within_texts
from plasticrl.scripts.runs.folder import read_run

ROOT = Path(__file__).parents[3]
RESULTS = ROOT / "results" / "reproduction"
PAGE = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
TEXT = " ".join(PAGE.split())  # sentences may be wrapped anywhere
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
    experiment = replace(experiment_of(report), root=RESULTS)
    report_experiment(experiment, experiment.with_started([]), tmp_path)
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
        plain = preset.as_dict()
        settings = {name: value for name, value in plain.items() if name not in ("version", "seed")}
        assert one["settings"] == settings
        for seed, score in one["scores"].items():
            run = replace(preset, seed=int(seed)).folder(folder / one["name"])
            assert read_run(run).as_dict() == {**plain, "seed": int(seed)}
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


@pytest.mark.parametrize("condition", ["plastic", "lstm"])
def test_the_readme_has_the_main_result(condition: str) -> None:
    told = json.loads((RESULTS / "maze_quick" / "report" / "summary.json").read_text())
    (one,) = (one for one in told["conditions"] if one["name"] == condition)
    score = f"{one['middle']:.0f} [{one['low']:.0f}, {one['high']:.0f}]"
    assert score in (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(("condition", "seeds"), [("plastic", 5), ("homogeneous", 3), ("rnn", 5)])
def test_the_page_has_the_runs_of_an_earlier_version(condition: str, seeds: int) -> None:
    preset = EXPERIMENTS["maze", "quick"].condition(condition).run
    folder = RESULTS / "maze_earlier" / condition / "maze" / condition
    assert len(list(folder.iterdir())) == seeds
    scores = []
    for seed in range(seeds):
        run = folder / f"seed_{seed}"
        assert read_run(run) == replace(preset, seed=seed)
        told = json.loads((run / "result.json").read_text())
        scores.append(f"{preset.score(told['evaluation']):.1f}")
    assert f"{condition} {', '.join(scores)}" in TEXT


@pytest.mark.parametrize(
    ("experiment", "condition", "sentence"),
    [
        ("maze_quick", "lstm", "(269.6 against 228.4, p = {:.4f})"),
        ("maze_quick", "lstm_small", "earns 265.9 (p = {:.4f})"),
        ("maze_quick", "homogeneous_paper", "(p = {:.2g} against the homogeneous ones,"),
        ("maze_quick", "rnn_paper", " {:.2g} against those without plasticity)"),
        ("images_quick", "homogeneous", "(p = {:.2g}, the smallest that three runs each can give)"),
        ("omniglot_quick", "homogeneous", "each connection here (p = {:.2g})"),
    ],
)
def test_the_text_has_the_p_values_of_the_report(experiment: str, condition: str, sentence: str) -> None:
    told = json.loads((RESULTS / experiment / "report" / "summary.json").read_text())
    (p_value,) = (one["first"]["p_value"] for one in told["conditions"] if one["name"] == condition)
    assert sentence.format(p_value) in TEXT


def test_the_text_has_what_went_with_the_points_with_the_papers_settings() -> None:
    """As ``python results/reproduction/paper_settings.py`` prints it."""
    row = runpy.run_path(str(RESULTS / "paper_settings.py"))["row"]
    found = {
        core: [row(folder) for folder in (RESULTS / "maze_quick" / f"{core}_paper").glob("*/*/seed_*")]
        for core in ("plastic", "homogeneous", "rnn")
    }
    best = {core: sorted(int(one[0]) for one in rows) for core, rows in found.items()}
    spans = [f"{best[core][0]} to {best[core][-1]}" for core in found]
    assert f"{spans[0]} points in the plastic runs, {spans[1]} in the homogeneous ones, {spans[2]} in" in TEXT
    dips = sorted(int(one[1]) for one in found["plastic"])
    assert f"not clipped have {dips[0]} to {dips[-1]} in as many steps" in TEXT
    traces = sorted(float(one[3]) for one in (*found["plastic"], *found["homogeneous"]))
    assert f"{traces[-1]:.2f} to {traces[0]:.2f})" in TEXT


def test_there_is_something_to_check() -> None:
    assert len(REPORTS) == 4
    assert STEADINESS
    assert all(path.parts[-3] in PAGE for path in REPORTS)
    linked = re.findall(r"\(\.\./(results/[^)]+)\)", PAGE)
    assert [path for path in linked if not (ROOT / path).exists()] == []


TRANSFER = runpy.run_path(str(RESULTS / "transfer.py"))
TRIED: dict[str, tuple[int, int]] = {  # networks, test episodes of each
    **{
        f"maze_quick/transfer/{condition}/{maze}": (5, 200)
        for condition in TRANSFER["CONDITIONS"]
        for maze in TRANSFER["MAZES"]
    },
    **{f"maze_quick/{lesion}": (5, 200) for lesion in TRANSFER["LESIONS"]},
    **{f"images_quick/transfer/{name}": (3, 200) for name in TRANSFER["IMAGES"]},
    **{f"omniglot_quick/transfer/{name}": (3, 5000) for name in TRANSFER["OMNIGLOT"]},
}


def evaluations(folder: str) -> list[Any]:
    told: list[Any] = TRANSFER["evaluated"](folder)
    assert len(list((RESULTS / folder).iterdir())) == len(told) == TRIED[folder][0]
    return told


def test_what_was_tried_is_what_is_reported() -> None:
    kept = {
        path.parent.relative_to(RESULTS).as_posix()
        for kind in ("transfer", "lesions")
        for path in RESULTS.glob(f"*/{kind}/**/*.json")
    }
    assert kept == TRIED.keys()


@pytest.mark.parametrize("folder", TRIED)
def test_each_evaluation_is_of_the_trained_network_that_its_name_says(folder: str) -> None:
    experiment, kind, *names = folder.split("/")
    condition = names[0] if len(names) == 2 else "plastic"
    run = next(one for one in EXPERIMENTS.values() if one.name == experiment).condition(condition).run
    for seed, told in enumerate(evaluations(folder)):
        place = replace(run, seed=seed).folder(Path("runs/reproduction") / experiment / condition)
        placed = f"{place}/checkpoints/"
        assert told["checkpoint"].startswith(placed)
        done = int(re.findall(r"\d+", told["checkpoint"].removeprefix(placed))[0])
        assert run.total <= done < 1.01 * run.total
        assert (told["episodes"], told["seed"]) == (TRIED[folder][1], 5)
        if run.task == "maze":
            lesion, _, step = names[-1].rpartition("_") if kind == "lesions" else (None, None, None)
            assert told["lesion"] == (lesion and lesion.split("_")[0])
            assert told["lesion_step"] == (step and int(step))
            assert told["deterministic"] is False


@pytest.mark.parametrize("maze", TRANSFER["MAZES"])
def test_all_agents_were_tried_in_the_same_maze(maze: str) -> None:
    """What those earn there that do not learn is the same, but for rounding, and in each maze another."""
    told = [
        one
        for condition in TRANSFER["CONDITIONS"]
        for one in evaluations(f"maze_quick/transfer/{condition}/{maze}")
    ]
    for name in ("oracle_reward", "random_reward"):
        assert [one[name] for one in told] == pytest.approx([told[0][name]] * len(told), rel=1e-9)
    own = evaluations("maze_quick/transfer/plastic/own")[0]
    assert (told[0]["oracle_reward"] == pytest.approx(own["oracle_reward"], rel=1e-9)) == (maze == "own")


@pytest.mark.parametrize("folder", [one for one in TRIED if "maze" not in one])
def test_all_networks_were_tried_in_the_same_episodes(folder: str) -> None:
    first, *others = evaluations(folder)
    for one in others:
        assert one["references"] == first["references"]


@pytest.mark.parametrize("name", TRANSFER["LESIONS"])
def test_the_page_has_what_became_of_agents_that_were_tampered_with(name: str) -> None:
    assert TRANSFER["lesion_row"](name) in PAGE


@pytest.mark.parametrize("name", TRANSFER["MAZES"])
def test_the_page_has_how_agents_did_in_other_mazes(name: str) -> None:
    assert TRANSFER["maze_row"](name) in PAGE


@pytest.mark.parametrize(
    ("folder", "name", "label"),
    [
        *(("images_quick", *one) for one in TRANSFER["IMAGES"].items()),
        *(("omniglot_quick", *one) for one in TRANSFER["OMNIGLOT"].items()),
    ],
)
def test_the_page_has_how_networks_did_where_they_were_not_trained(
    folder: str, name: str, label: str
) -> None:
    assert TRANSFER["supervised_row"](folder, name, label) in PAGE
