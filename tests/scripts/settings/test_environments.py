"""An environment's id is a task: its arguments, its folder, and the commands that are told with it."""

import json
from pathlib import Path
from typing import Any

import pytest

from plasticrl.scripts.commands import parse
from plasticrl.scripts.experiments.experiment import SearchTrial
from plasticrl.scripts.reports.search_report import train_command
from plasticrl.scripts.runs.run import run_from_dict
from plasticrl.scripts.settings.environments import arguments_from, words_of
from plasticrl.scripts.settings.tasks import TASKS, task_named


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("a=3", 3),
        ("a=-0.5", -0.5),
        ("a=true", True),
        ("a=null", None),
        ('a="3"', "3"),
        ("a=[1, [2]]", [1, [2]]),
        ('a={"b": 1}', {"b": 1}),
        ("a=8x8", "8x8"),
        ("a=", ""),
        ("a=b=c", "b=c"),
        ("a=True", "True"),
        ("a=NaN", "NaN"),  # numbers that JSON lacks, and config.json with it
        ("a=1e999", "1e999"),
        ("a=" + "[" * 100_000, "[" * 100_000),
    ],
)
def test_a_value_is_json_or_else_text(word: str, value: object) -> None:
    found = arguments_from([word, "b_2=1"])
    assert found == {"a": value, "b_2": 1}
    assert type(found["a"]) is type(value)
    assert json.loads(json.dumps(found, allow_nan=False)) == arguments_from(words_of(found))


@pytest.mark.parametrize("words", [["a"], ["=3"], ["a b=3"], ["2=3"], [""], ["a=1", "a=1"]], ids=str)
def test_an_argument_needs_a_name_of_its_own(words: list[str]) -> None:
    with pytest.raises(ValueError, match=r"write name=value|given twice"):
        arguments_from(words)


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("CartPole-v1", "CartPole-v1"),
        ("ALE/Pong-v5", "ALE_Pong-v5"),
        ("my_envs.mazes:own/Maze-v0", "my_envs.mazes_own_Maze-v0"),
        ("..", "_"),
        ("a:b:..", "a_b_.."),
    ],
)
def test_the_folder_is_one_below_the_root(name: str, folder: str) -> None:
    command: Any = parse(["train", name, "--import", "json"])
    run = command.make_run("plastic", 3)
    assert run.folder(Path("runs")) == Path("runs", folder, "plastic", "seed_3")
    command = parse(["train", name, "--import", "json", "--algo", "ppo"])
    assert command.make_run("gru", 0).folder(Path("runs")) == Path("runs", f"{folder}_ppo", "gru", "seed_0")
    assert run_from_dict(json.loads(json.dumps(run.as_dict()))) == run


@pytest.mark.parametrize("name", ["", " ", "a b", "a\nb-v0", "x/", "maze?"])
def test_what_can_be_no_id_is_no_task(name: str) -> None:
    with pytest.raises(TypeError, match="neither one of maze, patterns, images, omniglot nor the id of"):
        task_named(name)


def test_a_short_name_comes_before_an_id() -> None:
    assert {name: task_named(name) for name in TASKS} == TASKS
    assert task_named("CartPole-v1") is task_named("CartPole-v1")
    assert task_named("CartPole-v1").kind == "environment"


@pytest.mark.parametrize("algo", ["a2c", "ppo"])
@pytest.mark.parametrize("env_id", ["CartPole-v1", "PlasticMaze-v0"])
def test_a_search_starts_within_its_space_and_tells_a_command(env_id: str, algo: str) -> None:
    words = ["sweep", env_id, "--search", "--algo", algo, "--import", "json", "--import", "csv"]
    command: Any = parse([*words, "--env-kwargs", "a=1", "b=x y", "--cores", "plastic_lstm"])
    for preset, values in command.learner.presets.items():
        for core in command.learner.cores:
            groups = values.for_core(core)
            for name, allowed in command.learner.space(preset, core).items():
                (value,) = (getattr(one, name) for one in groups.values() if hasattr(one, name))
                assert value is None or value in allowed, name
    best = SearchTrial({"learning_rate": 0.002}, command.make_run("plastic_lstm", 0), 1.0, "finished", 1)
    told = train_command(command, "plastic_lstm", best)
    assert f"train {env_id} --core plastic_lstm" in told
    assert """--env-kwargs a=1 'b="x y"' --import json --import csv""" in told


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("env_kwargs", None),
        ("env_kwargs", ["length=3"]),
        ("imports", "json"),
        ("imports", [3]),
        ("wrapper", [None]),
        ("normalize", 1),
        ("frame_stack", 1.5),
        ("vec", "threads"),
    ],
)
def test_a_wrong_setting_in_a_file_is_refused_by_name(name: str, value: object) -> None:
    command: Any = parse(["train", "CartPole-v1"])
    data = json.loads(json.dumps(command.make_run("plastic", 0).as_dict()))
    data["env"][name] = value
    with pytest.raises(TypeError, match=f"{name} is "):
        run_from_dict(data)


def test_a_file_without_later_settings_has_the_environment_as_it_is() -> None:
    command: Any = parse(["train", "CartPole-v1"])
    run = command.make_run("plastic", 0)
    data = json.loads(json.dumps(run.as_dict()))
    for name in ("wrapper", "normalize", "frame_stack", "vec"):
        del data["env"][name]
    assert run_from_dict(data) == run
