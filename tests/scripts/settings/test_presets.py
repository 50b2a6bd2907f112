"""The presets' search spaces fit what they are searched for."""

import copy
import pickle
from itertools import product
from typing import Any

import pytest

from plasticrl.scripts.commands import SweepOptions, options_of, parse
from plasticrl.scripts.experiments.experiment import SearchTrial
from plasticrl.scripts.reports.search_report import train_command
from plasticrl.scripts.settings.groups import Between, OneOf
from plasticrl.scripts.settings.tasks import TASKS

CASES = [
    pytest.param(task, algo, preset, core, id=f"{task.name}-{algo}-{preset}-{core}")
    for task in TASKS.values()
    for algo, learner in task.learners.items()
    for preset, core in product(learner.presets, learner.cores)
]
PRESETS = [
    preset
    for task in TASKS.values()
    for learner in task.learners.values()
    for preset in learner.presets.values()
]


@pytest.mark.parametrize("preset", PRESETS)
def test_a_group_of_a_preset_is_an_attribute_also_of_its_copies(preset: Any) -> None:
    for one in (preset, copy.deepcopy(preset), pickle.loads(pickle.dumps(preset))):
        assert {name: getattr(one, name) for name in preset.groups} == preset.groups
        with pytest.raises(AttributeError, match="Preset has no mazes"):
            _ = one.mazes


@pytest.mark.parametrize(("task", "algo", "preset", "core"), CASES)
def test_a_core_is_searched_in_what_it_has(task: Any, algo: str, preset: str, core: str) -> None:
    sweep = options_of(SweepOptions, task, algo).with_preset(preset)
    space, options = sweep.learner.space(preset, core), sweep.learner.cores
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
    sweep = options_of(SweepOptions, TASKS["patterns"])()
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


@pytest.mark.parametrize("algo", TASKS["maze"].algorithms)
@pytest.mark.parametrize("core", list(TASKS["maze"].learners["ppo"].cores))
def test_the_best_settings_are_told_as_a_command_that_the_core_takes(algo: str, core: str) -> None:
    words = ["sweep", "maze", "--search", "--cores", "plastic", core, "--rule", "clipped", "--gamma", "0.8"]
    words += ["--algo", algo]
    command: Any = parse(list(dict.fromkeys(words)))
    best = SearchTrial({"learning_rate": 0.002}, command.make_run(core, 0), 1.0, "finished", 1)
    told: Any = parse(train_command(command, core, best).split()[1:])
    agent = told.make_run(core, 0).agent
    assert (told.algo, told.core, agent.gamma, agent.learning_rate) == (algo, core, 0.8, 0.002)
    learner = TASKS["maze"].learners[algo]
    assert agent.rule == ("clipped" if "rule" in learner.cores[core] else learner.presets["tuned"].agent.rule)
