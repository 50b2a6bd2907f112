"""The presets' search spaces fit what they are searched for."""

from dataclasses import fields
from itertools import product
from typing import Any

import pytest

from plasticrl.scripts.commands.commands import SweepImages, SweepMaze, SweepOmniglot, SweepPatterns
from plasticrl.scripts.commands.parse import parse
from plasticrl.scripts.experiments.experiment import SearchTrial
from plasticrl.scripts.reports.search_report import train_command
from plasticrl.scripts.settings.cores import COMPLETION_OPTIONS, MAZE_OPTIONS, ONE_SHOT_OPTIONS
from plasticrl.scripts.settings.maze import MAZE_PRESETS
from plasticrl.scripts.settings.search_space import Between, OneOf
from plasticrl.scripts.settings.supervised import IMAGES_PRESETS, OMNIGLOT_PRESETS, PATTERNS_PRESETS

COMMANDS: list[tuple[Any, Any, Any]] = [
    (SweepMaze, MAZE_PRESETS, MAZE_OPTIONS),
    (SweepPatterns, PATTERNS_PRESETS, COMPLETION_OPTIONS),
    (SweepImages, IMAGES_PRESETS, COMPLETION_OPTIONS),
    (SweepOmniglot, OMNIGLOT_PRESETS, ONE_SHOT_OPTIONS),
]
CASES = [
    pytest.param(command, preset, values, options, core, id=f"{command.__name__}-{preset}-{core}")
    for command, presets, options in COMMANDS
    for (preset, values), core in product(presets.items(), options)
]


def with_preset(command: Any, preset: str, values: Any) -> Any:
    groups = {field.name: getattr(values, field.name) for field in fields(values) if field.name != "space"}
    if "task" in groups:
        groups[command().make_run("plastic", 0).task] = groups.pop("task")
    return command(preset=preset, **groups)


@pytest.mark.parametrize(("command", "preset", "values", "options", "core"), CASES)
def test_a_core_is_searched_in_what_it_has(
    command: Any, preset: str, values: Any, options: Any, core: str
) -> None:
    sweep = with_preset(command, preset, values)
    space = sweep.space(core)
    assert "learning_rate" in space
    others = {name for names in options.values() for name in names} - set(options[core])
    assert not others & space.keys()
    for name, allowed in space.items():
        value = sweep.value(name)
        if value is not None:
            assert value in allowed, name
        ends = [allowed.low, allowed.high] if isinstance(allowed, Between) else allowed.choices
        for end in ends:
            changed = sweep.with_values({name: end})
            assert changed.value(name) == end
            assert changed.make_run(core, 0) != sweep.make_run(core, 0) or end == value


@pytest.mark.parametrize(("falls", "last"), [(False, 0.5), (True, 0.0)])
def test_a_constant_rate_stays_constant_and_a_falling_one_falls(falls: bool, last: float) -> None:
    sweep = SweepPatterns()
    if falls:
        sweep = sweep.with_values({"final_learning_rate": 0.0})
    changed = sweep.with_values({"learning_rate": 0.5})
    assert (changed.descent.learning_rate, changed.descent.final_learning_rate) == (0.5, last)


def test_membership() -> None:
    assert 0.5 in Between(0.5, 1.0)
    assert 1.5 not in Between(0.5, 1.0)
    assert None not in Between(0.5, 1.0)
    assert "oja" in OneOf(("oja",))
    assert "hebb" not in OneOf(("oja",))


@pytest.mark.parametrize("core", list(MAZE_OPTIONS))
def test_the_best_settings_are_told_as_a_command_that_the_core_takes(core: str) -> None:
    words = ["sweep", "maze", "--search", "--cores", "plastic", core, "--rule", "clipped", "--gamma", "0.8"]
    command: Any = parse(list(dict.fromkeys(words)))
    best = SearchTrial({"learning_rate": 0.002}, command.make_run(core, 0), 1.0, "finished", 1)
    told: Any = parse(train_command(command, core, best).split()[1:])
    agent = told.make_run(core, 0).agent
    assert (told.core, agent.gamma, agent.learning_rate) == (core, 0.8, 0.002)
    assert agent.rule == ("clipped" if "rule" in MAZE_OPTIONS[core] else MAZE_PRESETS["tuned"].agent.rule)
