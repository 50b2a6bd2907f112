import ast
import inspect
import io
import subprocess
import sys
from dataclasses import asdict
from importlib.metadata import version
from typing import get_args

import gymnasium as gym
import pytest

from plasticrl.agents import CORE_NAMES, NETWORK_NAMES
from plasticrl.agents.episode_loss import LossName
from plasticrl.envs import PatternsTask
from plasticrl.envs import patterns as patterns_task
from plasticrl.envs.image_sets import ImageSet
from plasticrl.envs.occlusion import OcclusionKind
from plasticrl.envs.omniglot_splits import SplitBy
from plasticrl.envs.tasks import TASK_NAMES
from plasticrl.nn import Init
from plasticrl.rules import RULES
from plasticrl.scripts import commands, episode_presets, episode_settings, settings, task_options
from plasticrl.scripts.command_line import parse
from plasticrl.scripts.commands import Command, CompareMaze, TrainMaze
from plasticrl.scripts.main import main
from plasticrl.scripts.presets import MAZE_PRESETS, PresetName
from plasticrl.scripts.user_error import UserError


def test_choices_are_those_of_the_code() -> None:
    assert get_args(settings.CoreChoice) == CORE_NAMES
    assert set(get_args(settings.RuleChoice)) == set(RULES)
    assert get_args(settings.InitChoice) == get_args(Init)
    registered = {name for name, spec in gym.registry.items() if "PlasticMaze" in str(spec.entry_point)}
    assert set(get_args(settings.MazeId)) == registered
    assert get_args(PresetName) == tuple(MAZE_PRESETS)


def test_choices_of_the_supervised_tasks_are_those_of_the_code() -> None:
    assert get_args(episode_settings.EpisodeTaskName) == TASK_NAMES
    assert get_args(episode_settings.CompletionCore) == NETWORK_NAMES
    assert get_args(episode_settings.OneShotCore) == tuple(name for name in NETWORK_NAMES if name != "lstm")
    assert get_args(episode_settings.OcclusionChoice) == get_args(OcclusionKind)
    assert get_args(episode_settings.DatasetChoice) == get_args(ImageSet)
    assert get_args(episode_settings.SplitChoice) == get_args(SplitBy)
    assert {"squared_error", *get_args(episode_settings.LossChoice)} == set(get_args(LossName))
    for names, presets in (
        (episode_presets.PatternsPresetName, episode_presets.PATTERNS_PRESETS),
        (episode_presets.ImagesPresetName, episode_presets.IMAGES_PRESETS),
        (episode_presets.OmniglotPresetName, episode_presets.OMNIGLOT_PRESETS),
    ):
        assert get_args(names) == tuple(presets)


@pytest.mark.parametrize("preset", get_args(episode_presets.PatternsPresetName))
def test_presets_of_patterns_are_those_of_the_task(preset: episode_presets.PatternsPresetName) -> None:
    ours = PatternsTask(**asdict(episode_presets.PATTERNS_PRESETS[preset].task))
    theirs = PatternsTask(**patterns_task.PATTERNS_PRESETS[preset])
    assert vars(ours) == vars(theirs)


@pytest.mark.parametrize(
    ("task", "preset", "rate"),
    [
        ("patterns", "program", 0.0003),
        ("patterns", "small", 0.001),
        ("images", "paper", 0.0001),
        ("omniglot", "paper", 3e-05),
        ("omniglot", "tuned", 0.001),
    ],
)
def test_every_task_takes_its_preset_and_options_override_it(task: str, preset: str, rate: float) -> None:
    command: Command = parse(["train", task, "--eta", "0.5", "--preset", preset])
    run = command.make_run("plastic", 0)  # type: ignore[union-attr]
    assert run.task == task
    assert run.descent.learning_rate == rate
    assert run.network.eta == 0.5


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


@pytest.mark.parametrize("module", [commands, settings, episode_settings, task_options])
def test_every_option_is_explained(module: object) -> None:
    groups = {"maze", "agent", "training", "output", "patterns", "images", "omniglot", "network", "descent"}
    for node in ast.parse(inspect.getsource(module)).body:  # type: ignore[arg-type]
        if not isinstance(node, ast.ClassDef):
            continue
        for statement, after in zip(node.body, [*node.body[1:], None], strict=True):
            if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
                explained = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
                assert explained or statement.target.id in groups, f"{node.name}.{statement.target.id}"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--help"], ["train", "evaluate", "compare", "sweep", "watch", "demo", "--version"]),
        (["train", "--help"], ["maze", "patterns", "images", "omniglot"]),
        (["train", "patterns", "--help"], ["--n-bits", "--extra-neurons", "--batch-size", "(default: 1000)"]),
        (["train", "images", "--help"], ["--occlusion", "--data-dir"]),
        (["train", "omniglot", "--preset", "paper", "--help"], ["--n-way", "--decay-every", "5000000"]),
        (["compare", "omniglot", "--help"], ["--cores", "--seeds", "--data-dir"]),
        (["train", "maze", "--help"], ["--core", "--seed", "--hidden-size", "--rule", "--root", "(default:"]),
        (["train", "maze", "--preset", "paper", "--help"], ["50000000", "(default: paper)"]),
        (["evaluate", "--help"], ["--episodes", "--deterministic", "--json"]),
        (["compare", "maze", "--help"], ["--cores", "--seeds", "--jobs", "--overwrite"]),
        (["sweep", "maze", "--help"], ["--cores", "--seeds", "--address", "--cpus-per-run", "--local"]),
        (["watch", "--help"], ["--gif", "--fps"]),
        (["demo", "--help"], ["--root", "--seeds"]),
    ],
)
def test_help(words: list[str], expected: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    assert [text for text in expected if text not in shown.out] == []


def test_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"plasticrl {version('plasticrl')}\n"


def test_version_takes_no_other_words(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version", "xyz", "--help"]) == 2
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == ("", "plasticrl: error: --version stands alone: leave out xyz --help\n")


def test_help_loads_neither_torch_nor_matplotlib() -> None:
    code = (
        "import sys; from plasticrl.scripts.main import main; assert main(['train', 'maze', '--help']) == 0; "
        "assert not {'torch', 'stable_baselines3', 'matplotlib', 'scipy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


@pytest.mark.parametrize(
    "words",
    [
        ["train", "maze", "--epis", "3"],
        ["train", "maze", "--core", "x"],
        ["evaluate"],
        ["--", "--seeds", "--"],
    ],
    ids=" ".join,
)
def test_complaints_are_the_same_where_the_terminal_knows_only_ascii(
    words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    said = []
    for encoding in ("utf-8", "ascii"):
        with monkeypatch.context() as patch:
            patch.setattr("sys.stdout", io.TextIOWrapper(io.BytesIO(), encoding=encoding))
            with pytest.raises(UserError) as raised:
                parse(words)
            said.append(str(raised.value))
    assert said[0] == said[1]
