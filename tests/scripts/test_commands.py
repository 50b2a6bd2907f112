import copy
import io
import pickle
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, fields, is_dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, get_args, get_type_hints

import gymnasium as gym
import pytest

from plasticrl.agents import CORE_NAMES, NETWORK_NAMES
from plasticrl.agents.supervised.update import LossName
from plasticrl.envs import PatternsTask
from plasticrl.envs.data.omniglot import SplitBy
from plasticrl.envs.supervised import patterns as patterns_task
from plasticrl.envs.supervised.images import OcclusionKind
from plasticrl.envs.supervised.make_task import ImageSet, TaskName
from plasticrl.nn import Init, PlasticRNN
from plasticrl.ops.cells import Modulation
from plasticrl.rules import RULES
from plasticrl.scripts.commands import COMMANDS, Resume, TaskOptions, options_of, parse
from plasticrl.scripts.errors import UserError
from plasticrl.scripts.main import main
from plasticrl.scripts.settings import maze as settings
from plasticrl.scripts.settings import supervised as episode_settings
from plasticrl.scripts.settings.groups import flag_of
from plasticrl.scripts.settings.maze import A2C_PRESETS, OutputSettings
from plasticrl.scripts.settings.supervised import PATTERNS_PRESETS
from plasticrl.scripts.settings.tasks import TASKS, task_named


def test_choices_are_those_of_the_code() -> None:
    assert tuple(TASKS["maze"].learners["ppo"].cores) == CORE_NAMES
    assert set(get_args(settings.RuleChoice)) == set(RULES)
    assert get_args(settings.InitChoice) == get_args(Init)
    assert get_args(settings.ModulationChoice) == get_args(Modulation)
    assert get_args(settings.ModulateChoice) == get_args(get_type_hints(PlasticRNN.__init__)["modulate"])
    registered = {name for name, spec in gym.registry.items() if "PlasticMaze" in str(spec.entry_point)}
    assert set(get_args(settings.MazeId)) == registered


def test_choices_of_the_supervised_tasks_are_those_of_the_code() -> None:
    supervised = tuple(name for name, task in TASKS.items() if task.kind == "supervised")
    assert supervised == get_args(TaskName)
    assert tuple(CORE_OPTIONS["patterns"]) == tuple(CORE_OPTIONS["images"]) == NETWORK_NAMES
    assert tuple(CORE_OPTIONS["omniglot"]) == tuple(name for name in NETWORK_NAMES if name != "lstm")
    assert get_args(episode_settings.OcclusionChoice) == get_args(OcclusionKind)
    assert get_args(episode_settings.DatasetChoice) == get_args(ImageSet)
    assert get_args(episode_settings.SplitChoice) == get_args(SplitBy)
    assert {"squared_error", *get_args(episode_settings.LossChoice)} == set(get_args(LossName))


@pytest.mark.parametrize("preset", list(PATTERNS_PRESETS))
def test_presets_of_patterns_are_those_of_the_task(preset: str) -> None:
    ours = PatternsTask(**asdict(PATTERNS_PRESETS[preset].patterns))
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
        ("omniglot", "batch_norm", 0.004),
    ],
)
def test_every_task_takes_its_preset_and_options_override_it(task: str, preset: str, rate: float) -> None:
    command = parse(["train", task, "--eta", "0.5", "--preset", preset])
    run = command.make_run("plastic", 0)
    assert run.task == task
    assert run.descent.learning_rate == rate
    assert run.network.eta == 0.5


@pytest.mark.parametrize("preset", list(A2C_PRESETS))
def test_preset_gives_the_defaults_and_options_override_it(preset: str) -> None:
    command = parse(["train", "maze", "--gamma", "0.5", "--preset", preset])
    values = A2C_PRESETS[preset]
    assert (command.maze, command.training) == (values.maze, values.training)
    assert command.agent.gamma == 0.5
    assert command.agent.learning_rate == values.agent.learning_rate


OF_TASKS = [name for name, kind in COMMANDS.items() if issubclass(kind, TaskOptions)]


@pytest.mark.parametrize("command", OF_TASKS)
def test_options_are_the_same_in_another_process(command: str) -> None:
    output = OutputSettings(root=Path("other"))
    every = [
        replace(options_of(COMMANDS[command], task, algo)(), output=output)
        for task in (*TASKS.values(), task_named("CartPole-v1"))
        for algo in task.algorithms
    ]
    assert copy.deepcopy(every) == every
    code = "import pickle, sys; sys.stdout.buffer.write(pickle.dumps(pickle.load(sys.stdin.buffer)))"
    words = [sys.executable, "-c", code]
    done = subprocess.run(words, input=pickle.dumps(every), capture_output=True, check=True)
    returned = pickle.loads(done.stdout)
    assert returned == every
    assert [type(one) for one in returned] == [type(one) for one in every]


def test_compare_makes_every_pair_of_core_and_seed() -> None:
    command = parse(["compare", "maze", "--cores", "gru", "rnn", "--seeds", "2"])
    assert {(run.core, run.seed) for run in command.runs()} == {
        ("gru", 0),
        ("gru", 1),
        ("rnn", 0),
        ("rnn", 1),
    }


CORE_OPTIONS = {name: task.learners[task.learner].cores for name, task in TASKS.items()}
PRESETS = {name: task.learners[task.learner].presets for name, task in TASKS.items()}


def as_words(task: str, preset: str, option: str) -> list[str]:
    """An option with the very value that the preset has."""
    command: Any = parse(["train", task, "--preset", preset])
    value, flag = command.value(option), option.replace("_", "-")
    return [f"--{flag}" if value else f"--no-{flag}"] if isinstance(value, bool) else [f"--{flag}={value}"]


@pytest.mark.parametrize(
    ("task", "option"),
    [
        (task, option)
        for task, of_cores in CORE_OPTIONS.items()
        for option in {name: None for names in of_cores.values() for name in names}
    ],
)
def test_an_option_is_taken_just_where_a_core_has_it_whatever_its_value(task: str, option: str) -> None:
    of_cores, flag = CORE_OPTIONS[task], "--" + option.replace("_", "-")
    owners = [core for core, names in of_cores.items() if option in names]
    others = [core for core in of_cores if core not in owners]
    words = as_words(task, next(iter(PRESETS[task])), option)
    parse(["train", task, *words, "--core", owners[0]])
    parse(["compare", task, *words, "--cores", owners[-1], *others])
    for start in (["train", task, "--core", *others[:1]], ["sweep", task, "--cores", *others]):
        if others:
            with pytest.raises(UserError) as error:
                parse([*start, *(word.replace(flag, "--" + option) for word in words)])
            assert str(error.value).startswith(f"{flag} is for the core")
            assert [core for core in (*owners, *start[3:]) if core not in str(error.value)] == []


@pytest.mark.parametrize(
    ("task", "preset"), [(task, name) for task, presets in PRESETS.items() for name in presets]
)
def test_what_a_preset_has_for_other_cores_is_refused_by_none(task: str, preset: str) -> None:
    parse(["compare", task, "--preset", preset, "--cores", list(CORE_OPTIONS[task])[-1]])


def test_an_option_for_other_cores_is_refused_before_anything_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for words in (
        ["train", "maze", "--core", "lstm"],
        ["compare", "maze", "--cores", "lstm", "gru"],
        ["sweep", "maze", "--cores", "lstm", "--local"],
        ["sweep", "maze", "--cores", "lstm", "--search"],
        ["train", "patterns", "--core", "lstm"],
    ):
        assert main([*words, "--rule", "oja", "--root", str(tmp_path / "runs")]) == 2
        shown = capsys.readouterr()
        assert shown.err.startswith("plasticrl: error: --rule is for the cores plastic")
        assert (shown.out, shown.err.count("\n")) == ("", 1)
    assert list(tmp_path.iterdir()) == []


FIRST_WORDS: dict[str, list[str]] = {
    **{f"{name} {task}": [name, task] for name in ("train", "compare", "sweep") for task in PRESETS},
    "resume": ["train"],
    "evaluate": ["evaluate", "run"],
    "watch": ["watch", "run"],
    "demo": ["demo"],
    "reproduce": ["reproduce", "maze"],
}


def paths_in(settings: Any) -> dict[str, Any]:
    """The options of a command that take a path."""
    found: dict[str, Any] = {}
    for field in fields(settings):
        value = getattr(settings, field.name)
        if is_dataclass(value):
            found |= paths_in(value)
        elif "Path" in str(field.type):
            found[field.name] = value
    return found


@pytest.mark.parametrize("first", FIRST_WORDS)
def test_the_home_folder_is_meant_in_every_path(
    first: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "a.json").write_text("{}")  # which --config reads
    words = FIRST_WORDS[first]
    plain: Any = parse([*words, "--resume=run"] if first == "resume" else words)
    names = list(paths_in(plain))
    assert names
    for name in names:
        option = [f"--{name.replace('_', '-')}=~/a.json"]
        if first == "resume" and name != "resume":
            option.append("--resume=run")
        found = paths_in(parse([words[0], "~/a.json"] if name == "run" else [*words, *option]))
        assert found[name] == tmp_path / "a.json"
        assert [one for one in found.values() if one is not None and "~" in str(one)] == []


@pytest.mark.parametrize("word", ["--root=a/~", "--root=~~", "--root=./x~"])
def test_a_tilde_elsewhere_is_a_tilde(word: str) -> None:
    if word == "--root=~~":
        with pytest.raises(UserError, match=r"root: there is no home folder ~~ for ~~"):
            parse(["train", "maze", word])
        return
    command: Any = parse(["train", "maze", word])
    assert command.output.root == Path(word.partition("=")[2])


def options_in(kind: Any) -> Iterator[str]:
    """The options of a command as its help shows them."""
    hints = get_type_hints(kind)
    for field in fields(kind):
        if is_dataclass(hints[field.name]):
            yield from options_in(hints[field.name])
        elif field.name not in ("run", "experiment", "own", "named"):  # given by no word of that name
            yield flag_of(kind, field.name)


HELPS = {
    **{
        f"{name} {task.name}": options_of(kind, task)
        for name, kind in COMMANDS.items()
        if issubclass(kind, TaskOptions)
        for task in (*TASKS.values(), task_named("CartPole-v1"))
    },
    **{name: kind for name, kind in COMMANDS.items() if not issubclass(kind, TaskOptions)},
    "train --resume RUN": Resume,
}


@pytest.mark.parametrize("command", HELPS)
def test_every_option_is_explained(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    assert main([*command.split(), "--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    for option in options_in(HELPS[command]):
        (start,) = (i for i, line in enumerate(lines) if re.match(rf"(│ |  ){option}[ ,]", line))
        text = re.sub(r"\((default: .*|required)\)$|--\S+", "", " ".join(lines[start : start + 2]))
        assert len(re.findall(r"\b[A-Za-z]?[a-z]+\b", text)) > 2, text


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--help"], ["train", "evaluate", "compare", "sweep", "watch", "demo", "--version"]),
        (["train", "--help"], ["maze", "patterns", "images", "omniglot", "CartPole-v1"]),
        (
            ["train", "a/Game-v3", "--algo", "ppo", "--help"],
            [
                "a_Game-v3_ppo",
                "--env-kwargs",
                "--import",
                "--wrapper",
                "--frame-stack",
                "--vec",
                "--n-epochs",
            ],
        ),
        (["train", "patterns", "--help"], ["--n-bits", "--extra-neurons", "--batch-size", "(default: 1000)"]),
        (["train", "images", "--help"], ["--occlusion", "--data-dir"]),
        (["train", "omniglot", "--preset", "paper", "--help"], ["--n-way", "--decay-every", "5000000"]),
        (["compare", "omniglot", "--help"], ["--cores", "--seeds", "--data-dir"]),
        (["train", "maze", "--help"], ["--core", "--seed", "--hidden-size", "--rule", "--root", "(default:"]),
        (["train", "maze", "--preset", "paper", "--help"], ["50000000", "paper)"]),
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
