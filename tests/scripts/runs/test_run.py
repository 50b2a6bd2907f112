"""Runs come back from ``config.json``, whichever version wrote it."""

import copy
import json
import pickle
import shutil
from dataclasses import MISSING, asdict, fields, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from plasticrl.agents import make_core
from plasticrl.scripts.experiments.paper import EXPERIMENTS
from plasticrl.scripts.main import main
from plasticrl.scripts.runs.folder import is_kept, read_run
from plasticrl.scripts.runs.run import VERSION, Run, in_this_version, run_from_dict
from plasticrl.scripts.settings.tasks import TASKS, task_named

RESULTS = Path(__file__).parents[3] / "results"
KEPT = sorted(RESULTS.rglob("config.json"))
ENTRIES = {**TASKS, "CartPole-v1": task_named("CartPole-v1")}
RUNS = [
    *(
        Run(name, algo, core, 3, preset.for_core(core))
        for name, task in ENTRIES.items()
        for algo, learner in task.learners.items()
        for preset in learner.presets.values()
        for core in learner.cores
    ),
    *(one.run for experiment in EXPERIMENTS.values() for one in experiment.conditions),
]
RECURRENT_PPO = EXPERIMENTS["maze", "quick"].condition("recurrent_ppo").run


def of_version_1(run: Run) -> dict[str, Any]:
    """The ``config.json`` of a run as version 1 wrote it."""
    plain = {name: value for name, value in run.as_dict().items() if name not in ("version", "learner")}
    return {**plain, "core": "recurrent_ppo"} if run.learner == "sb3_contrib" else plain


def test_all_kept_runs_are_here() -> None:
    tasks = {path.parents[2].name for path in KEPT if "reproduction" in path.parts}
    assert len(KEPT) >= 178
    assert tasks == set(TASKS)


# What the first version of all did not write, and what its trainings did instead.
LATER = [
    ("maze", "relocate_every", None),
    ("maze", "layout_seed", None),
    ("agent", "max_grad_ratio", None),
    ("agent", "modulation", "none"),
    ("agent", "modulate", "neurons"),
    ("agent", "alpha_scale", None),
    ("agent", "forget_bias", 0.0),
    ("agent", "n_steps", None),
    ("agent", "normalize_observations", False),
    ("agent", "normalize_returns", False),
    ("omniglot", "train_way", None),
    ("omniglot", "train_queries", "one"),
    ("network", "normalize_features", False),
    ("network", "batch_norm", False),
]


@pytest.mark.parametrize("path", KEPT, ids=lambda path: str(path.relative_to(RESULTS).parent))
def test_a_kept_run_is_read_with_just_its_settings(path: Path) -> None:
    plain, run = json.loads(path.read_text()), read_run(path.parent)
    read = run.as_dict() if "version" in plain else of_version_1(run)
    for group, name, then in LATER:
        if name in read.get(group, ()) and name not in plain[group]:
            assert read[group].pop(name) == then
    assert read == plain
    assert run_from_dict(json.loads(json.dumps(run.as_dict()))) == run
    if "reproduction" in path.parts:
        assert run.folder(path.parents[3]) == path.parent
        assert is_kept(run, path.parents[3])


@pytest.mark.parametrize("run", RUNS, ids=lambda run: f"{run.place}-{run.network_name}")
def test_a_run_comes_back_from_every_version_and_from_its_copies(run: Run) -> None:
    plain = json.loads(json.dumps(run.as_dict()))
    assert plain["version"] == VERSION == 4
    former = {**plain, "learner": "ppo" if run.learner == "sb3_contrib" else run.learner}
    older = [{**former, "version": 3}, {**former, "version": 2}, of_version_1(run)]
    for data in (plain, *(older if run.learner != "ppo" else [])):  # which is new in this version
        assert run_from_dict(data) == run
        assert in_this_version(data) == plain
    assert copy.deepcopy(run) == pickle.loads(pickle.dumps(run)) == run
    assert {name: getattr(run, name) for name in run.groups} == run.groups
    assert run.settings is run.groups[run.entry.own_group]


def test_each_learner_has_its_folder() -> None:
    ppo = TASKS["maze"].learners["ppo"].presets["tuned"].for_core("gru")
    assert Run("maze", "ppo", "gru", 1, ppo).folder(Path("runs")) == Path("runs/maze_ppo/gru/seed_1")
    assert (RECURRENT_PPO.learner, RECURRENT_PPO.core) == ("sb3_contrib", "lstm")
    assert RECURRENT_PPO.folder(Path("runs")) == Path("runs/maze/recurrent_ppo/seed_0")
    lstm = EXPERIMENTS["maze", "quick"].condition("lstm").run
    assert lstm.folder(Path("runs")) == Path("runs/maze/lstm/seed_0")


@pytest.mark.parametrize(("group", "name", "then"), LATER)
@pytest.mark.parametrize("version", [1, 2, 3])
def test_a_setting_that_a_file_is_older_than_has_the_value_of_then(
    group: str, name: str, then: object, version: int
) -> None:
    task: Any = "omniglot" if group in ("omniglot", "network") else "maze"
    run = EXPERIMENTS[task, "quick"].condition("plastic").run
    data = of_version_1(run) if version == 1 else {**run.as_dict(), "version": version}
    data = copy.deepcopy(data)
    data[group].pop(name)
    expected = run.with_groups(**{group: replace(getattr(run, group), **{name: then})})
    assert run_from_dict(data) == expected
    assert in_this_version(data) == expected.as_dict()


GATED = ["plastic_lstm", "plastic_gru"]


@pytest.mark.parametrize("core", GATED)
@pytest.mark.parametrize("version", [1, 2])
def test_a_plastic_lstm_or_gru_of_before_has_what_it_was_trained_with(core: str, version: int) -> None:
    """The settings of the trace were written for every core, but these had the defaults of the network."""
    run = replace(EXPERIMENTS["maze", "quick"].condition("plastic").run, core=core)
    data = of_version_1(run) if version == 1 else {**run.as_dict(), "version": version}
    read = run_from_dict(data)
    made = []
    for options in ({"forget_bias": 0.0}, {name: getattr(read.agent, name) for name in read.core_options}):
        torch.manual_seed(0)
        made.append(make_core(core, 3, 4, **options))  # type: ignore[arg-type]
    assert repr(made[0]) == repr(made[1])
    assert made[0].state_dict().keys() == made[1].state_dict().keys()
    assert all(torch.equal(one, made[1].state_dict()[name]) for name, one in made[0].state_dict().items())
    changed = {
        one.name for one in fields(run.agent) if getattr(run.agent, one.name) != getattr(read.agent, one.name)
    }
    assert changed == {"rule", "eta", "modulation", "alpha_scale", "init", "init_scale"}
    assert run_from_dict(run.as_dict()) == run


@pytest.mark.parametrize("core", GATED)
def test_an_unfinished_plastic_lstm_or_gru_of_version_2_is_resumed(
    core: str, tmp_path: Path, tiny: list[str]
) -> None:
    folder = tmp_path / "maze" / core / "seed_0"
    assert main(["train", "maze", "--core", core, "--root", str(tmp_path), *tiny]) == 0
    result = json.loads((folder / "result.json").read_text())
    (folder / "result.json").unlink()
    config = json.loads((folder / "config.json").read_text())
    config["agent"] |= {"rule": "oja", "eta": 0.03, "init": "uniform", "init_scale": 0.01}
    for name in ("modulation", "modulate", "alpha_scale", "forget_bias"):
        del config["agent"][name]
    (folder / "config.json").write_text(json.dumps({**config, "version": 2}))
    assert main(["train", "--resume", str(folder), "--threads", "1", "--quiet"]) == 0
    assert json.loads((folder / "result.json").read_text())["evaluation"] == result["evaluation"]


def test_every_setting_that_may_be_missing_is_listed_here_or_means_the_default_of_the_environment() -> None:
    listed = {(group, name): then for group, name, then in LATER}
    for task in TASKS.values():
        for learner in task.learners:
            for group, kind in task.groups(learner).items():
                for field in fields(kind):
                    if field.default is not MISSING:
                        assert field.default == listed.get((group, field.name))
                        assert group == "maze" or (group, field.name) in listed


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"version": 0}, "version is 0"),
    ({"version": "2"}, "version is '2'"),
    ({"version": True}, "version is True"),
    ({"version": None}, "version is None"),
    ({"task": "chess"}, "task is 'chess', not one of maze, patterns, images, omniglot"),
    ({"task": []}, r"task is \[\]"),
    ({"task": "images"}, "learner is 'a2c', not one of supervised"),
    ({"learner": "dqn"}, "learner is 'dqn', not one of a2c, ppo"),
    ({"learner": "sb3_contrib"}, "core is 'plastic', not one of lstm"),
    ({"core": "transformer"}, "core is 'transformer', not one of plastic, "),
    ({"core": {}}, r"core is \{\}"),
    ({"seed": 0.5}, "seed is 0.5"),
    ({"ppo": {}}, "ppo is unknown"),
    ({"notes": "mine"}, "notes is unknown"),
    ({"maze": None}, "expected an object, got None"),
    ({"agent": {}}, "hidden_size is missing"),
]


@pytest.mark.parametrize(("change", "says"), WRONG, ids=str)
def test_wrong_settings_are_refused_by_name(change: dict[str, Any], says: str) -> None:
    data = {**EXPERIMENTS["maze", "quick"].condition("plastic").run.as_dict(), **change}
    with pytest.raises(TypeError, match=says):
        run_from_dict(data)
    assert in_this_version(data) is data


@pytest.mark.parametrize("run", [RUNS[0], RECURRENT_PPO], ids=["a2c", "ppo"])
def test_an_unknown_setting_of_a_group_is_refused_by_name(run: Run) -> None:
    for group in run.groups:
        data = copy.deepcopy(run.as_dict())
        data[group]["momentum"] = 0.5
        with pytest.raises(TypeError, match="momentum is unknown"):
            run_from_dict(data)


@pytest.mark.parametrize("unfinished", [False, True])
@pytest.mark.parametrize("command", ["evaluate", "train --resume", "train", "train --overwrite"])
def test_a_run_of_a_later_version_is_refused_with_the_way_out_and_kept(
    command: str,
    unfinished: bool,
    trained: Path,
    tmp_path: Path,
    tiny: list[str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = tmp_path / "maze" / "plastic" / "seed_3"
    shutil.copytree(trained, folder)
    if unfinished:
        (folder / "result.json").unlink()
    config = {**json.loads((trained / "config.json").read_text()), "version": VERSION + 1, "later": {}}
    (folder / "config.json").write_text(json.dumps(config))
    words = {
        "evaluate": ["evaluate", str(folder)],
        "train --resume": ["train", "--resume", str(folder)],
        "train": ["train", "maze", "--seed", "3", "--root", str(tmp_path), *tiny],
    }
    words["train --overwrite"] = [*words["train"], "--overwrite"]
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert main(words[command]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "pip install --upgrade plasticrl" in said
    assert {path: path.read_bytes() for path in before} == before


@pytest.mark.parametrize("command", ["train --resume", "train", "compare"])
def test_an_unfinished_run_of_version_1_is_resumed(
    command: str, tmp_path: Path, tiny: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "maze" / "plastic" / "seed_0"
    assert main(["train", "maze", "--root", str(tmp_path), *tiny]) == 0
    result = json.loads((folder / "result.json").read_text())
    (folder / "result.json").unlink()
    (folder / "config.json").write_text(json.dumps(of_version_1(read_run(folder))))
    capsys.readouterr()
    words = {
        "train --resume": ["train", "--resume", str(folder), "--threads", "1", "--quiet"],
        "train": ["train", "maze", "--root", str(tmp_path), *tiny],
        "compare": ["compare", "maze", "--cores", "plastic", "--seeds", "1", "--jobs", "1"],
    }
    words["compare"] += ["--root", str(tmp_path), *tiny]
    assert main(words[command]) == 0
    assert json.loads((folder / "result.json").read_text())["evaluation"] == result["evaluation"]


def test_a_group_that_a_run_lacks_is_refused() -> None:
    with pytest.raises(TypeError, match="a run of maze with a2c has no network"):
        RUNS[0].with_groups(network=None)
    changed = RUNS[0].with_groups(maze=replace(RUNS[0].maze, size=5))
    assert asdict(changed.maze)["size"] == 5
    assert RUNS[0].maze.size is None
