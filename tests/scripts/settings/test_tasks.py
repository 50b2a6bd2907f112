"""A task is one entry: its commands, options, runs and tables follow from it."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import pytest

from plasticrl.agents.common import tags
from plasticrl.scripts.commands import COMMANDS, TaskOptions, parse
from plasticrl.scripts.errors import UserError
from plasticrl.scripts.experiments.training import task_of
from plasticrl.scripts.main import main
from plasticrl.scripts.runs.run import run_from_dict
from plasticrl.scripts.settings.groups import Between, Preset
from plasticrl.scripts.settings.supervised import DescentSettings, EpisodeTrainingSettings
from plasticrl.scripts.settings.tasks import TASKS, Learner, ShownMetric, Task, check_core_options


@dataclass(frozen=True)
class EchoSettings:
    """The echo to learn."""

    delay: int
    """Steps between a sound and its echo."""


@dataclass(frozen=True)
class EchoNetwork:
    """The network that echoes."""

    cells: int
    """Number of cells (lstm)."""
    rule: Literal["hebb", "oja"]
    """Update rule of the trace (plastic)."""


@dataclass(frozen=True)
class EchoEvaluation:
    """An evaluation on echoes, which has no options of its own."""


DESCENT = DescentSettings(
    batch_size=2,
    learning_rate=0.01,
    final_learning_rate=0.01,
    decay_every=None,
    decay_factor=1.0,
    max_grad_norm=None,
)
NEAR = {
    "echo": EchoSettings(delay=2),
    "network": EchoNetwork(cells=5, rule="oja"),
    "descent": DESCENT,
    "training": EpisodeTrainingSettings(total_episodes=40, eval_episodes=4, checkpoints=2),
}
SPACE = {"learning_rate": Between(1e-3, 0.1), "cells": Between(1, 9)}
ECHO = Task(
    name="echo",
    kind="supervised",
    about={
        "train": "Train one network to echo.",
        "compare": "Train several networks to echo.",
        "sweep": "Train many networks to echo.",
    },
    settings=EchoSettings,
    training=EpisodeTrainingSettings,
    learners={
        "supervised": Learner(
            {"network": EchoNetwork, "descent": DescentSettings},
            {"plastic": ("rule",), "lstm": ("cells",)},
            {"near": Preset(NEAR, SPACE), "far": Preset({**NEAR, "echo": EchoSettings(delay=9)}, SPACE)},
            "Defaults of the options below: a near echo, or a far one.",
            {"lstm": "long_lstm"},
        )
    },
    core_help="Network: plastic, or lstm.",
    metrics=(ShownMetric("error", "error", "{:.2f}".format, -1),),
    mean=lambda evaluation, name: float(evaluation[name]),
    total="total_episodes",
    counter="time/episodes",
    evaluation=EchoEvaluation,
    reads_data=True,
)


@pytest.fixture(autouse=True)
def echo(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TASKS, "echo", ECHO)


def test_an_entry_makes_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    for name in (name for name, kind in COMMANDS.items() if issubclass(kind, TaskOptions)):
        assert main([name, "--help"]) == 0
        assert ECHO.about[name] in capsys.readouterr().out
        assert main([name, "echo", "--preset", "far", "--help"]) == 0
        shown = capsys.readouterr().out
        assert ECHO.about[name] in shown
        assert all(
            option in shown
            for option in ("--delay", "--cells", "--batch-size", "--total-episodes", "--data-dir", "--root")
        )
        assert "(default: 9)" in shown
        assert isinstance(parse([name, "echo"]), COMMANDS[name])


def test_options_override_the_preset_and_make_the_run() -> None:
    words = ["train", "echo", "--preset", "far", "--rule", "hebb", "--learning-rate", "0.5", "--seed", "7"]
    command = parse([*words, "--data-dir", "data"])
    run = command.make_run(command.core, command.seed)
    assert run.echo is run.settings
    assert run.echo == EchoSettings(delay=9)
    assert run.network == EchoNetwork(cells=5, rule="hebb")
    assert run.descent == replace(DESCENT, learning_rate=0.5)
    assert run.folder(Path("runs")) == Path("runs/echo/plastic/seed_7")
    assert (run.learner, run.total, run.eval_episodes, run.data_dir) == ("supervised", 40, 4, Path("data"))
    assert (run.label, run.counter, run.main_metric.label) == ("plastic seed 7", "time/episodes", "error")
    assert run.score({"error": 0.25}) == -0.25
    assert run_from_dict(run.as_dict()) == replace(run, data_dir=None)


def test_an_entry_says_what_its_cores_have() -> None:
    with pytest.raises(UserError, match="--rule is for the core plastic, not for lstm: leave it out"):
        parse(["compare", "echo", "--cores", "lstm", "--rule", "oja"])
    with pytest.raises(UserError, match=r"Expected one of 'lstm', 'plastic'"):
        parse(["sweep", "echo", "--cores", "gru"])
    command = parse(["sweep", "echo"])
    assert {core: set(command.searched(core)) for core in command.cores} == {
        "plastic": {"learning_rate"},
        "lstm": {"learning_rate", "cells"},
    }
    labels = [run.label for run in replace(command, seeds=2).runs()]
    assert labels == ["plastic seed 0", "long_lstm seed 0", "plastic seed 1", "long_lstm seed 1"]


def test_an_entry_names_the_code_that_trains_it() -> None:
    code = {name: task_of(parse(["train", name]).make_run("plastic", 0)) for name in TASKS}
    assert code["echo"] == code["patterns"] == code["images"] == code["omniglot"] != code["maze"]


@pytest.mark.parametrize("name", list(TASKS))
def test_an_entry_is_complete_and_its_presets_fit_it(name: str) -> None:
    task: Any = TASKS[name]
    assert {command for command, kind in COMMANDS.items() if issubclass(kind, TaskOptions)} == set(task.about)
    for name, learner in task.learners.items():
        for preset in learner.presets.values():
            assert {group: type(one) for group, one in preset.groups.items()} == task.groups(name)
    for learner in task.learners.values():
        settings = {field for kind in learner.groups.values() for field in kind.__dataclass_fields__}
        assert {option for options in learner.cores.values() for option in options} <= settings
        assert set(learner.names) <= set(learner.cores)
    assert task.total in task.training.__dataclass_fields__


def test_options_of_no_core_in_particular_suit_all() -> None:
    check_core_options(ECHO.learners["supervised"].cores, ["lstm"], {"delay", "cells", "batch_size"})
    check_core_options(ECHO.learners["supervised"].cores, [], {"rule"})


@pytest.mark.parametrize("task", TASKS.values(), ids=list(TASKS))
def test_the_counter_is_a_tag_that_is_logged(task: Task) -> None:
    assert task.counter == {"maze": tags.TIMESTEPS, "supervised": tags.EPISODES}[task.kind]
