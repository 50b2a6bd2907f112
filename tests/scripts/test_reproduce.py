"""``plasticrl reproduce``: what is trained, and what is said of it."""

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pytest
from PIL import Image

from plasticrl.scripts import reproduce
from plasticrl.scripts.experiments import executors
from plasticrl.scripts.experiments.executors import train_missing
from plasticrl.scripts.experiments.experiment import Condition, Experiment, Trial
from plasticrl.scripts.experiments.paper import EXPERIMENTS
from plasticrl.scripts.experiments.training import check_run, task_of
from plasticrl.scripts.main import main
from plasticrl.scripts.reports.curves import CurveAxes, common_curves, draw_curves, smoothed, write_curves
from plasticrl.scripts.reports.statistics import estimate, improvement
from plasticrl.scripts.reports.summary import summarize_experiment
from plasticrl.scripts.settings.supervised import PatternsSettings

NAMES = ("plastic", "rnn", "recurrent_ppo", "plastic_letter")
WORDS = ["reproduce", "maze", "--jobs", "1", "--quiet", "--threads", "1"]


def small(condition: Condition) -> Condition:
    run = condition.run
    assert run.task == "maze"
    run = run.with_groups(
        maze=replace(run.maze, size=5, episode_length=20),
        training=replace(run.training, total_timesteps=2000, n_envs=4, eval_episodes=8, checkpoints=2),
    )
    if run.learner == "a2c":
        return replace(condition, run=run.with_groups(agent=replace(run.agent, hidden_size=6)))
    assert run.learner == "sb3_contrib"
    ppo = replace(run.ppo, hidden_size=6, n_steps=20, batch_size=40, n_epochs=2)
    return replace(condition, run=run.with_groups(ppo=ppo))


@pytest.fixture(scope="module")
def experiment() -> Experiment:
    whole = EXPERIMENTS["maze", "quick"]
    chosen = [one for one in whole.conditions if one.name in NAMES]
    return replace(whole, conditions=tuple(small(one) for one in chosen), seeds=3)


@pytest.fixture(autouse=True)
def _small(experiment: Experiment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reproduce, "EXPERIMENTS", {("maze", "quick"): experiment})


@pytest.fixture(scope="module")
def reproduced(experiment: Experiment, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("reproduced")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reproduce, "EXPERIMENTS", {("maze", "quick"): experiment})
        assert main([*WORDS, "--root", str(root)]) == 0
    return root


def summary(root: Path) -> Any:
    return json.loads((root / "maze_quick" / "report" / "summary.json").read_text())


def folder(root: Path, condition: str, seed: int) -> Path:
    core = "plastic" if condition == "plastic_letter" else condition
    return root / "maze_quick" / condition / "maze" / core / f"seed_{seed}"


def scores(root: Path, condition: str, seeds: int = 3) -> list[float]:
    results = [json.loads((folder(root, condition, k) / "result.json").read_text()) for k in range(seeds)]
    return [result["evaluation"]["mean_reward"] for result in results]


def test_the_summary_is_what_the_runs_say(reproduced: Path) -> None:
    told = summary(reproduced)
    assert told["metric"] == "mean_reward"
    assert [one["name"] for one in told["conditions"]] == list(NAMES)
    first = scores(reproduced, "plastic")
    for one in told["conditions"]:
        found = scores(reproduced, one["name"])
        assert one["scores"] == {str(k): score for k, score in enumerate(found)}
        assert (one["middle"], one["low"], one["high"]) == estimate(found)
        assert one["quartiles"] == pytest.approx(np.quantile(found, [0.25, 0.5, 0.75]))
        assert one["trained"] == 1.0
        assert "seed" not in one["settings"]
        if one["name"] == "plastic":
            assert one["first"] is None
        else:
            assert one["first"] == improvement(first, found).as_dict()


def test_the_curves_are_the_quartiles_of_the_runs(reproduced: Path) -> None:
    with (reproduced / "maze_quick" / "report" / "curves.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(dict.fromkeys(row["condition"] for row in rows)) == list(NAMES)
    ends: dict[str, list[float]] = {name: [] for name in NAMES}
    for name in NAMES:
        for seed in range(3):
            with (folder(reproduced, name, seed) / "progress.csv").open(newline="") as file:
                ends[name].append(float(list(csv.DictReader(file))[-1]["rollout/ep_rew_mean"]))
        last = [row for row in rows if row["condition"] == name][-1]
        assert int(last["step"]) == 2000
        assert float(last["median"]) == pytest.approx(median(ends[name]), rel=1e-3, abs=1e-3)
        assert (last["p_value"] == "") == (name == "plastic")


def test_each_series_is_compared_with_its_first_and_drawn_by_itself(
    reproduced: Path,
    experiment: Experiment,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    root = shutil.copytree(reproduced, tmp_path / "copy")
    apart = [
        replace(one, series="" if one.name in NAMES[:2] else "two_more") for one in experiment.conditions
    ]
    split = replace(experiment, conditions=tuple(apart), more={"two_more": "Two more"})
    monkeypatch.setattr(reproduce, "EXPERIMENTS", {("maze", "quick"): split})
    assert main([*WORDS, "--no-train", "--root", str(root)]) == 0
    told = {one["name"]: one["first"] for one in summary(root)["conditions"]}
    assert [name for name, first in told.items() if first is None] == [NAMES[0], NAMES[2]]
    assert told[NAMES[3]] == improvement(scores(root, NAMES[2]), scores(root, NAMES[3])).as_dict()
    for file, names in (("curves", NAMES[:2]), ("curves_two_more", NAMES[2:])):
        report = root / "maze_quick" / "report"
        with (report / f"{file}.csv").open(newline="") as opened:
            rows = list(csv.DictReader(opened))
        assert tuple(dict.fromkeys(row["condition"] for row in rows)) == names
        assert [bool(row["p_value"]) for row in rows] == [row["condition"] != names[0] for row in rows]
        assert (report / f"{file}.png").is_file()
    said = capsys.readouterr().out
    assert "Two more: interquartile mean" in said
    assert f"{NAMES[2]} is better" in said
    shutil.rmtree(root / "maze_quick" / NAMES[3])
    assert main([*WORDS, "--no-train", "--root", str(root)]) == 0
    assert [one["name"] for one in summary(root)["conditions"]] == list(NAMES[:3]), "only what is there"


def test_how_steadily_it_learned_is_told(reproduced: Path) -> None:
    told = json.loads((reproduced / "maze_quick" / "report" / "steadiness.json").read_text())
    assert list(told) == list(NAMES)
    for name, one in told.items():
        assert [len(one[what]) for what in ("dips", "ended_in_dip")] == [3, 3]
        assert (one["left_out"] is None) == (name == "recurrent_ppo")


def test_what_is_learned_within_the_episode_is_told(reproduced: Path) -> None:
    told = json.loads((reproduced / "maze_quick" / "report" / "within_episode.json").read_text())
    assert list(told) == list(NAMES)
    for name, one in told.items():
        results = [json.loads((folder(reproduced, name, k) / "result.json").read_text()) for k in range(3)]
        evaluations = [result["evaluation"] for result in results]
        fifths = np.mean([evaluation["points_by_fifth"] for evaluation in evaluations], axis=0)
        assert one["fifths"] == pytest.approx(fifths)
        for ours, theirs in (("first", "first_reward_step"), ("later", "mean_steps_later")):
            known = [evaluation[theirs] for evaluation in evaluations if evaluation[theirs] is not None]
            assert one[ours] == (pytest.approx(np.mean(known)) if known else None)


def test_pictures_are_drawn(reproduced: Path) -> None:
    report = reproduced / "maze_quick" / "report"
    for name in ("curves", "within_episode"):
        with Image.open(report / f"{name}.png") as picture:
            assert picture.size[0] > 900
        assert (report / f"{name}.svg").read_text().count("<svg") == 1


def small_patterns() -> Experiment:
    whole = EXPERIMENTS["patterns", "quick"]
    conditions = []
    for one in whole.conditions[:2]:
        run = one.run
        assert run.learner == "supervised"
        assert isinstance(run.settings, PatternsSettings)
        task = replace(run.settings, n_bits=12, n_cycles=1)
        training = replace(run.training, total_episodes=8, eval_episodes=4, checkpoints=1)
        conditions.append(replace(one, run=run.with_groups(patterns=task, training=training)))
    return replace(whole, conditions=tuple(conditions))


def test_networks_of_a_supervised_task_are_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    experiment = small_patterns()
    monkeypatch.setattr(reproduce, "EXPERIMENTS", {("patterns", "quick"): experiment})
    words = ["reproduce", "patterns", "--seeds", "2", *WORDS[2:], "--root", str(tmp_path)]
    assert main(words) == 0
    report = tmp_path / "patterns_quick" / "report"
    pictures = [
        report / f"{kind}_{one.name}.png"
        for kind in ("episodes", "matrices")
        for one in experiment.conditions
    ]
    for path in pictures:
        with Image.open(path) as picture:
            assert picture.size[0] > 200
            assert len(set(np.asarray(picture.convert("L")).ravel())) > 2, "there is something to see"
        path.unlink()
    capsys.readouterr()
    bare, damaged = (one.name for one in experiment.conditions)
    for seed, drawn in ((0, True), (1, False)):  # what is left of a run need not hold its checkpoints
        for folder in tmp_path.glob(f"patterns_quick/{bare}/patterns/*/seed_{seed}/checkpoints"):
            shutil.rmtree(folder)
        assert main([*words, "--no-train"]) == 0
        assert capsys.readouterr().err == ""
        assert [path.exists() for path in pictures] == [drawn, True, drawn, True]
        for path in pictures:
            path.unlink(missing_ok=True)
    for path in tmp_path.glob(f"patterns_quick/{damaged}/patterns/*/seed_0/checkpoints/step_*"):
        path.write_bytes(path.read_bytes()[:-1])
    assert main([*words, "--no-train"]) == 0
    said = capsys.readouterr().err
    assert said.startswith(f"no pictures of {damaged} seed 0")
    assert said.count("\n") == 1


def test_finished_runs_are_kept_and_partial_ones_summed_up(
    reproduced: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    times = {path: path.stat().st_mtime_ns for path in reproduced.rglob("result.json")}
    assert main([*WORDS, "--root", str(reproduced), "--seeds", "4", "--no-train"]) == 0
    assert "3 of 4" in capsys.readouterr().out
    assert [one["trained"] for one in summary(reproduced)["conditions"]] == [0.75] * len(NAMES)
    assert main([*WORDS, "--root", str(reproduced)]) == 0
    assert {path: path.stat().st_mtime_ns for path in reproduced.rglob("result.json")} == times
    assert [one["trained"] for one in summary(reproduced)["conditions"]] == [1.0] * len(NAMES)


@pytest.mark.parametrize(("conditions", "compared"), [(["rnn"], False), (["plastic", "rnn"], True)])
def test_only_several_conditions_are_compared(
    conditions: list[str],
    compared: bool,
    reproduced: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name in conditions:
        shutil.copytree(reproduced / "maze_quick" / name, tmp_path / "maze_quick" / name)
    assert main([*WORDS, "--no-train", "--root", str(tmp_path), "--conditions", *conditions]) == 0
    told = capsys.readouterr().out
    assert f"{conditions[-1]} " in told
    assert ("is better" in told) == compared


def numbers(root: Path) -> dict[str, bytes]:
    report = root / "maze_quick" / "report"
    return {name: (report / name).read_bytes() for name in ("summary.json", "curves.csv", "steadiness.json")}


@pytest.mark.parametrize("seeds", ["1", "3"])
@pytest.mark.parametrize("conditions", [["rnn"], ["plastic_letter", "plastic"]])
def test_the_report_is_of_all_runs_that_are_there_whichever_are_asked_for(
    conditions: list[str], seeds: str, reproduced: Path, tmp_path: Path
) -> None:
    words = [*WORDS, "--root", str(tmp_path)]
    shutil.copytree(reproduced, tmp_path, dirs_exist_ok=True)
    assert main([*words, "--no-train"]) == 0
    whole = numbers(tmp_path)
    for name in ("seed_0_copied", "seed_00", "seed_", "notes"):  # none is a run's
        shutil.copytree(folder(tmp_path, "rnn", 0), folder(tmp_path, "rnn", 0).with_name(name))
    assert main([*words, "--conditions", *conditions, "--seeds", seeds]) == 0
    assert numbers(tmp_path) == whole


def test_of_those_that_are_not_asked_for_a_part_counts_too_and_other_settings_do_not(
    reproduced: Path, experiment: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(reproduced, tmp_path, dirs_exist_ok=True)
    (folder(tmp_path, "plastic", 1) / "result.json").unlink()
    shutil.rmtree(folder(tmp_path, "plastic_letter", 2))
    first, rnn, ppo, letter = experiment.conditions
    assert ppo.run.learner == "sb3_contrib"
    other = replace(ppo, run=ppo.run.with_groups(ppo=replace(ppo.run.ppo, gamma=0.5)))
    changed = replace(experiment, conditions=(first, rnn, other, letter))
    monkeypatch.setattr(reproduce, "EXPERIMENTS", {("maze", "quick"): changed})
    assert main([*WORDS, "--root", str(tmp_path), "--no-train", "--conditions", "rnn", "--seeds", "4"]) == 0
    told = {one["name"]: (list(one["scores"]), one["asked"]) for one in summary(tmp_path)["conditions"]}
    assert told == {
        "plastic": (["0", "2"], 4),
        "rnn": (["0", "1", "2"], 4),
        "plastic_letter": (["0", "1"], 4),
    }


def test_stopped_midway_it_says_how_far_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stopped(trials: Any, *rest: Any) -> None:
        train_missing(trials[: len(NAMES) + 1], *rest)
        raise KeyboardInterrupt

    monkeypatch.setattr(executors, "train_missing", stopped)
    assert main([*WORDS, "--root", str(tmp_path)]) == 130
    assert [line.split()[1:4] for line in capsys.readouterr().out.splitlines() if " of 3 " in line] == [
        ["2", "of", "3"],
        *[["1", "of", "3"]] * (len(NAMES) - 1),
    ]  # seed by seed
    told = summary(tmp_path)
    assert [one["trained"] for one in told["conditions"]] == pytest.approx(
        [2 / 3, *[1 / 3] * (len(NAMES) - 1)]
    )
    assert all(one["first"] is None for one in told["conditions"])  # a single run says nothing
    monkeypatch.setattr(executors, "train_missing", train_missing)
    assert main([*WORDS, "--root", str(tmp_path)]) == 0
    assert [len(one["scores"]) for one in summary(tmp_path)["conditions"]] == [3] * len(NAMES)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--conditions", "lstm"], "choose from plastic, rnn, recurrent_ppo, plastic_letter"),
        (["--conditions", "rnn", "plastic", "rnn"], "be named once each, not rnn plastic rnn"),
        (["--seeds", "0"], "seeds must be from 1"),
        (["--jobs", "0"], "jobs must be from 1"),
        (["--data-dir", "."], "maze uses no data files"),
        (["--no-train"], "has no runs of maze_quick"),
        (["--no-train", "--conditions", "rnn"], "has no runs of condition rnn"),
    ],
)
def test_bad_input(
    options: list[str], complaint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*WORDS, "--root", str(tmp_path), *options]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert complaint in said
    assert list(tmp_path.iterdir()) == []


def test_runs_with_other_settings_in_the_way_are_refused(
    reproduced: Path,
    experiment: Experiment,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    first = experiment.conditions[0]
    assert first.run.learner == "a2c"
    other = replace(first, run=first.run.with_groups(agent=replace(first.run.agent, gamma=0.5)))
    changed = replace(experiment, conditions=(other, *experiment.conditions[1:]))
    monkeypatch.setattr(reproduce, "EXPERIMENTS", {("maze", "quick"): changed})
    assert main([*WORDS, "--root", str(reproduced)]) == 2
    assert "gamma was 0.9, now 0.5" in capsys.readouterr().err


@pytest.mark.parametrize("key", EXPERIMENTS, ids="_".join)
def test_every_preset_can_be_trained(key: Any, tiny_data: Path) -> None:
    experiment = EXPERIMENTS[key]
    assert len({one.name for one in experiment.conditions}) == len(experiment.conditions)
    for condition in experiment.conditions:
        run = condition.run
        assert run.task == key[0]
        assert run.eval_episodes >= 50
        if run.learner == "supervised" and run.task != "patterns":
            run = replace(run, data_dir=tiny_data)
        check_run(run)


@pytest.mark.parametrize("budget", ["quick", "paper"])
def test_the_small_lstm_has_as_many_parameters_as_the_plastic_network(budget: Any) -> None:
    experiment = EXPERIMENTS["maze", budget]

    def size(name: str) -> int:
        run = experiment.condition(name).run
        trainer = task_of(run).trainer(run, "cpu")
        try:
            return sum(parameter.numel() for parameter in trainer.learner.policy.parameters())
        finally:
            trainer.close()

    assert size("lstm_small") == pytest.approx(size("plastic"), rel=0.01)


def test_the_papers_budget_is_the_papers() -> None:
    maze = EXPERIMENTS["maze", "paper"]
    run = maze.conditions[0].run
    assert run.learner == "a2c"
    assert (maze.seeds, run.agent.hidden_size, run.total) == (15, 200, 200_000 * 250)
    assert EXPERIMENTS["patterns", "paper"].conditions[0].run.total == 2000
    assert EXPERIMENTS["images", "paper"].conditions[0].run.total == 100_000
    for key in ("maze", "patterns", "images", "omniglot"):
        assert EXPERIMENTS[key, "paper"].seeds >= 10  # type: ignore[index]


def patterns_run(root: Path, name: str, seed: int, error: float) -> Trial:
    """A finished run of patterns that nobody trained."""
    condition = EXPERIMENTS["patterns", "quick"].condition(name)
    placed = Trial(replace(condition.run, seed=seed), root, name)
    placed.folder.mkdir(parents=True)
    (placed.folder / "config.json").write_text(json.dumps(placed.run.as_dict()))
    evaluation = {"metrics": {"bit_error": {"mean": error}}}
    (placed.folder / "result.json").write_text(json.dumps({"evaluation": evaluation, "seconds": 2.0}))
    return placed


def test_where_less_is_better_the_summary_is_in_the_metrics_own_unit(tmp_path: Path) -> None:
    errors = {"plastic": [0.01, 0.02, 0.03, 0.04, 0.0], "plastic_oja": [0.2, 0.3, 0.1, 0.15, 0.25]}
    runs = [
        patterns_run(tmp_path / name, name, seed, error)
        for name, found in errors.items()
        for seed, error in enumerate(found)
    ]
    told = summarize_experiment(EXPERIMENTS["patterns", "quick"], runs)
    for one in told.conditions:
        found = errors[one.name]
        assert list(one.scores.values()) == found
        assert one.estimate == estimate(found)
        assert one.as_dict()["middle"] == one.estimate.mean
        assert one.quartiles == pytest.approx(np.quantile(found, [0.25, 0.5, 0.75]))
        assert one.seconds == 10.0
    assert told.conditions[0].first is None
    assert told.conditions[1].first is not None
    assert told.conditions[1].first.probability.mean == 1.0  # a smaller error is better


def test_a_point_of_a_curve_is_the_mean_since_the_point_before() -> None:
    steps, scores = np.arange(1.0, 13.0), np.arange(12.0) ** 2
    found = smoothed(np.array([1.0, 4.0, 8.0, 12.0]), steps, scores)
    expected = [scores[:1].mean(), scores[1:4].mean(), scores[4:8].mean(), scores[8:].mean()]
    np.testing.assert_allclose(found, expected)


def test_where_a_curve_has_no_rows_it_is_a_line_and_beyond_its_end_nothing() -> None:
    found = smoothed(
        np.array([1.0, 2.0, 3.0, 4.0, 5.0]), np.array([1.0, 3.0, 4.0]), np.array([2.0, 6.0, 7.0])
    )
    np.testing.assert_array_equal(found, [2.0, 4.0, 6.0, 7.0, np.nan])


def test_the_reference_is_the_experiments_first_condition_whichever_finished_first(
    reproduced: Path, experiment: Experiment, tmp_path: Path
) -> None:
    shutil.copytree(reproduced, tmp_path / "copy")
    shutil.rmtree(folder(tmp_path / "copy", "plastic", 0))
    assert main([*WORDS, "--root", str(tmp_path / "copy"), "--no-train"]) == 0
    with (tmp_path / "copy" / "maze_quick" / "report" / "curves.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(dict.fromkeys(row["condition"] for row in rows)) == list(NAMES)
    assert {row["p_value"] for row in rows if row["condition"] == "plastic"} == {""}
    assert "" not in {row["p_value"] for row in rows if row["condition"] == "rnn"}


def test_the_curve_of_a_shorter_training_ends_where_it_ends(experiment: Experiment, tmp_path: Path) -> None:
    def placed(condition: Condition, total: int, seed: int) -> Trial:
        run = condition.run
        assert run.task == "maze"
        run = replace(run, seed=seed).with_groups(training=replace(run.training, total_timesteps=total))
        one = Trial(run, tmp_path / condition.name, condition.name)
        one.folder.mkdir(parents=True)
        rows = [f"{step},{step + seed}" for step in range(100, total + 1, 100)]
        (one.folder / "progress.csv").write_text(
            "time/total_timesteps,rollout/ep_rew_mean\n" + "\n".join(rows) + "\n"
        )
        return one

    long, short = experiment.conditions[:2]
    runs = [placed(*one, seed) for seed in range(2) for one in ((long, 2000), (short, 1000))]
    axes = CurveAxes("", "time/total_timesteps", "rollout/ep_rew_mean", "steps", 1.0, "points")
    curves = common_curves(runs, axes)
    points = curves[short.name].shape[1]
    between = curves[long.name][0, 1] - curves[long.name][0, 0]
    assert abs(curves[short.name][0, -1] - 1000) < between
    np.testing.assert_array_equal(curves[short.name][0], curves[long.name][0, :points])
    assert all(np.isfinite(curve).all() for curve in curves.values())
    for reference, other in ((long.name, short.name), (short.name, long.name)):
        write_curves(curves, reference, tmp_path / "curves.csv")
        with (tmp_path / "curves.csv").open(newline="") as file:
            told = [row["p_value"] != "" for row in csv.DictReader(file) if row["condition"] == other]
        assert told == [True] * points + [False] * (curves[other].shape[1] - points)
        draw_curves(curves, axes, {long.name: "C0", short.name: "C1"}, [tmp_path / "curves.png"], reference)
