import ast
import inspect
import subprocess
import sys
from typing import get_args

import gymnasium as gym
import pytest

from plasticrl.agents import CORE_NAMES
from plasticrl.nn import Init
from plasticrl.rules import RULES
from plasticrl.scripts import commands, settings
from plasticrl.scripts.command_line import parse
from plasticrl.scripts.commands import CompareMaze, TrainMaze
from plasticrl.scripts.main import main
from plasticrl.scripts.presets import MAZE_PRESETS, PresetName


def test_choices_are_those_of_the_code() -> None:
    assert get_args(settings.CoreChoice) == CORE_NAMES
    assert set(get_args(settings.RuleChoice)) == set(RULES)
    assert get_args(settings.InitChoice) == get_args(Init)
    registered = {name for name, spec in gym.registry.items() if "PlasticMaze" in str(spec.entry_point)}
    assert set(get_args(settings.MazeId)) == registered
    assert get_args(PresetName) == tuple(MAZE_PRESETS)


@pytest.mark.parametrize("preset", get_args(PresetName))
def test_preset_gives_the_defaults_and_options_override_it(preset: PresetName) -> None:
    command = parse(["train", "maze", "--gamma", "0.5", "--preset", preset])
    assert isinstance(command, TrainMaze)
    values = MAZE_PRESETS[preset]
    assert (command.maze, command.training) == (values.maze, values.training)
    assert command.agent.gamma == 0.5
    assert command.agent.learning_rate == values.agent.learning_rate


def test_compare_makes_every_pair_of_core_and_seed() -> None:
    command = parse(["compare", "maze", "--cores", "gru", "rnn", "--seeds", "2"])
    assert isinstance(command, CompareMaze)
    assert {(run.core, run.seed) for run in command.runs()} == {
        ("gru", 0),
        ("gru", 1),
        ("rnn", 0),
        ("rnn", 1),
    }


@pytest.mark.parametrize("module", [commands, settings])
def test_every_option_is_explained(module: object) -> None:
    groups = {"maze", "agent", "training", "output"}  # their classes explain them
    own = {"MazeRun"}  # not options
    for node in ast.parse(inspect.getsource(module)).body:  # type: ignore[arg-type]
        if not isinstance(node, ast.ClassDef) or node.name in own:
            continue
        for statement, after in zip(node.body, [*node.body[1:], None], strict=True):
            if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
                explained = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
                assert explained or statement.target.id in groups, f"{node.name}.{statement.target.id}"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--help"], ["train", "evaluate", "compare", "watch", "demo"]),
        (["train", "--help"], ["maze"]),
        (["train", "maze", "--help"], ["--core", "--seed", "--hidden-size", "--rule", "--root", "(default:"]),
        (["train", "maze", "--preset", "paper", "--help"], ["50000000", "(default: paper)"]),
        (["evaluate", "--help"], ["--episodes", "--deterministic", "--json"]),
        (["compare", "maze", "--help"], ["--cores", "--seeds", "--jobs", "--overwrite"]),
        (["watch", "--help"], ["--gif", "--fps"]),
        (["demo", "--help"], ["--root", "--seeds"]),
    ],
)
def test_help(words: list[str], expected: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    assert [text for text in expected if text not in shown.out] == []


def test_help_loads_neither_torch_nor_matplotlib() -> None:
    code = (
        "import sys; from plasticrl.scripts.main import main; assert main(['train', 'maze', '--help']) == 0; "
        "assert not {'torch', 'stable_baselines3', 'matplotlib', 'scipy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)
