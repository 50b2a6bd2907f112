"""Settings of single cores: those of a preset, those given for all, and the options of plastic cores."""

import json
from contextlib import closing
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, get_args

import pytest
import torch

from plasticrl.agents import CORE_NAMES, RecurrentA2C, RecurrentPPO
from plasticrl.agents.presets import A2C, PPO
from plasticrl.nn.plastic_rnn import PlasticCore
from plasticrl.scripts.commands import COMMANDS, CompareOptions, SweepOptions, TaskOptions, options_of, parse
from plasticrl.scripts.errors import UserError
from plasticrl.scripts.experiments.experiment import SearchTrial
from plasticrl.scripts.main import main
from plasticrl.scripts.reports.search_report import train_command
from plasticrl.scripts.runs.checkpoints import check_network
from plasticrl.scripts.runs.folder import read_run
from plasticrl.scripts.runs.run import run_from_dict
from plasticrl.scripts.settings.maze import A2C_PRESETS, MazeId
from plasticrl.scripts.settings.tasks import TASKS
from plasticrl.scripts.tasks.environments.setup import make_learner, make_mazes

MAZE_CORES = TASKS["maze"].learners["a2c"].cores
PLASTIC = [core for core, options in MAZE_CORES.items() if "rule" in options]
GATED = ["plastic_lstm", "plastic_gru"]


def agent(words: str, core: str) -> Any:
    """The settings of a core's agent that a command line gives."""
    command: Any = parse(words.split())
    return command.make_run(core, 0).agent


def checkpoint(folder: Path) -> Path:
    return max((folder / "checkpoints").iterdir())


@pytest.mark.parametrize("core", CORE_NAMES)
@pytest.mark.parametrize(("algo", "presets"), [("a2c", A2C), ("ppo", PPO)])
def test_the_commands_train_the_maze_with_the_settings_of_the_presets_for_python(
    algo: str, presets: Any, core: str
) -> None:
    tuned = presets["PlasticMaze-v0"].for_core(core)
    trained = agent(f"train maze --algo {algo} --core {core}", core)
    others = {"n_steps", "normalize_observations", "normalize_returns"}
    expected = {
        **tuned.learner,
        **tuned.policy,
        "learning_rate": tuned.learning_rate,
        "final_learning_rate": tuned.final_learning_rate,
    }
    assert others <= expected.keys()
    for name in expected.keys() - others:
        assert getattr(trained, name) == expected[name], name
    for command in ("compare", "sweep"):
        assert agent(f"{command} maze --cores rnn {core} --algo={algo}", core) == trained or core == "rnn"


PRESETS = [
    (algo, learner, env_id)
    for algo, learner, presets in (("a2c", RecurrentA2C, A2C), ("ppo", RecurrentPPO, PPO))
    for env_id in presets
    if env_id in get_args(MazeId)  # tests/agents/test_presets.py has the others
]


@pytest.mark.parametrize(("algo", "learner", "env_id"), PRESETS)
@pytest.mark.parametrize("core", ["plastic", "lstm", "plastic_lstm", "rnn"])
def test_an_agent_of_a_command_is_the_one_that_python_makes(
    algo: str, learner: Any, env_id: str, core: str
) -> None:
    """Even the parameters are the same."""
    words = ["train", "maze", "--algo", algo, "--env", env_id, "--core", core, "--n-envs", "4"]
    command: Any = parse(words)
    with closing(make_mazes(command.maze, 4, 0)) as env:
        ours: Any = make_learner(command.make_run(core, 0), env, "cpu")
        theirs = learner.from_preset(env_id, core, env, seed=0, device="cpu")
    assert type(ours) is learner
    schedules = {"learning_rate", "clip_range"}
    for name in theirs.file_format.settings.keys() - schedules - {"stats_window_size"}:
        assert getattr(ours, name) == getattr(theirs, name), name
    assert [ours.lr_schedule(at) for at in (1.0, 0.5)] == [theirs.lr_schedule(at) for at in (1.0, 0.5)]
    assert ours.policy_kwargs.items() >= theirs.policy_kwargs.items()
    found, expected = ours.policy.state_dict(), theirs.policy.state_dict()
    assert found.keys() == expected.keys()
    assert all(torch.equal(value, expected[name]) for name, value in found.items())


@pytest.mark.parametrize("preset", A2C_PRESETS)
def test_a_core_has_its_own_values_and_else_the_common_ones(preset: str) -> None:
    values = A2C_PRESETS[preset]
    assert values.cores.keys() <= MAZE_CORES.keys()
    for core in MAZE_CORES:
        own = values.cores.get(core, {})
        found = values.for_core(core)
        assert found.keys() == values.groups.keys()
        for name, group in found.items():
            common = {key: value for key, value in asdict(values.groups[name]).items() if key not in own}
            assert asdict(group) == {**asdict(group), **common}
            assert asdict(group).items() >= {k: v for k, v in own.items() if k in asdict(group)}.items()
    with pytest.raises(TypeError, match="there is no setting etas"):
        replace(values, cores={"gru": {"etas": 1}}).for_core("gru")


def test_the_paper_keeps_its_values_for_its_own_networks() -> None:
    for core in ("plastic", "homogeneous", "rnn", "lstm", "gru", "feedforward"):
        assert agent(f"train maze --preset paper --core {core}", core) == A2C_PRESETS["paper"].agent
    for core in GATED:
        found, paper = agent(f"train maze --preset paper --core {core}", core), A2C_PRESETS["paper"].agent
        assert (found.rule, found.eta, found.modulation, found.init) == ("delta", 0.5, "sigmoid", "fan_in")
        for name in ("hidden_size", "learning_rate", "gae_lambda", "concentration_coef", "max_grad_norm"):
            assert getattr(found, name) == getattr(paper, name)


@pytest.mark.parametrize(
    ("words", "name", "value"),
    [
        ("--eta 0.03", "eta", 0.03),  # the value that others have in the preset
        ("--rule=oja", "rule", "oja"),
        ("--no-bound-eta", "bound_eta", False),
        ("--bound_eta", "bound_eta", True),
        ("--learning-rate 0.003", "learning_rate", 0.003),
        ("--alpha-scale None", "alpha_scale", None),
        ("--modulation none", "modulation", "none"),
        ("--modulate network", "modulate", "network"),
        ("--max-grad-norm=1", "max_grad_norm", 1.0),
        ("--init uniform", "init", "uniform"),
        ("--forget-bias 1", "forget_bias", 1.0),
    ],
)
def test_what_is_given_is_for_all_cores_and_nothing_else_is(words: str, name: str, value: Any) -> None:
    cores = list(MAZE_CORES)
    compared: Any = parse(f"compare maze {words} --cores {' '.join(cores)}".split())
    for core in cores:
        before = agent(f"train maze --core {core}", core)
        expected = replace(before, **{name: value})
        assert compared.make_run(core, 0).agent == expected
        if name in MAZE_CORES[core] or not any(name in options for options in MAZE_CORES.values()):
            assert agent(f"train maze {words} --core {core}", core) == expected
            assert agent(f"train maze --core={core} {words}", core) == expected


def test_values_of_other_cores_stay_where_values_are_set_from_python() -> None:
    options = options_of(CompareOptions, TASKS["maze"])()
    changed = options.with_values({"eta": 0.25})
    for core in MAZE_CORES:
        before = options.make_run(core, 0)
        assert changed.make_run(core, 0) == before.with_groups(agent=replace(before.agent, eta=0.25))
        assert changed.for_core(core).make_run("rnn", 0).agent == changed.make_run(core, 0).agent


@pytest.mark.parametrize("core", list(MAZE_CORES))
def test_a_run_comes_back_from_its_settings(core: str) -> None:
    command: Any = parse(["compare", "maze", "--cores", core, "--gamma", "0.8"])
    run = command.make_run(core, 3)
    assert run_from_dict(json.loads(json.dumps(run.as_dict()))) == run


@pytest.mark.parametrize(
    ("words", "shown", "hidden"),
    [
        (["train", "maze", "--core", "plastic_lstm"], ["(default: delta)", "(default: sigmoid)"], []),
        (["train", "maze", "--core=lstm"], ["(default: 0.007)"], ["(default: delta)"]),
        (["train", "maze"], ["(default: 0.003)", "(default: oja)"], ["0.007"]),
        (["compare", "maze", "--cores", "lstm"], ["(default: 0.003)"], ["--own"]),
        (["train", "maze", "--core", "plastic_gru", "--preset", "paper"], ["(default: 200)", "delta)"], []),
    ],
    ids=" ".join,
)
def test_help_shows_the_settings_of_the_core(
    words: list[str],
    shown: list[str],
    hidden: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("COLUMNS", "300")  # nothing is wrapped
    assert main([*words, "--help"]) == 0
    text = capsys.readouterr().out
    assert [one for one in shown if one not in text] == []
    assert [one for one in hidden if one in text] == []


@pytest.mark.parametrize(
    "command", [name for name, kind in COMMANDS.items() if issubclass(kind, TaskOptions)]
)
def test_what_is_no_option_is_not_taken_as_one(command: str) -> None:
    with pytest.raises(UserError, match="has no --own"):
        parse([command, "maze", "--own", "1"])


@pytest.mark.parametrize("core", GATED)
def test_a_search_draws_from_the_space_around_the_cores_own_settings(core: str) -> None:
    sweep = options_of(SweepOptions, TASKS["maze"])()
    space = sweep.searched(core)
    assert space.keys() == {
        *("learning_rate", "gae_lambda", "concentration_coef", "max_grad_norm", "alpha_scale"),
    }  # the own rule, eta and initial weights lie outside
    own = sweep.for_core(core)
    assert all(own.value(name) in allowed for name, allowed in space.items())
    given = parse(["sweep", "maze", "--search", "--cores", core, "--eta", "0.1", "--rule", "oja"])
    assert given.searched(core).keys() == {*space, "eta", "rule"}  # type: ignore[attr-defined]


@pytest.mark.parametrize("core", list(MAZE_CORES))
def test_the_best_settings_of_a_search_are_told_without_those_that_the_core_has_anyway(core: str) -> None:
    command: Any = parse(["sweep", "maze", "--search", "--cores", core])
    own = command.for_core(core).agent
    best = SearchTrial({"learning_rate": 0.002}, command.make_run(core, 0), 1.0, "finished", 1)
    told = train_command(command, core, best)
    assert told == f"plasticrl train maze --core {core} --preset tuned --learning-rate 0.002"
    assert agent(told.removeprefix("plasticrl "), core) == replace(own, learning_rate=0.002)


@pytest.mark.parametrize("core", PLASTIC)
@pytest.mark.parametrize(
    ("words", "options"),
    [
        ("--modulation tanh --modulate network", {"modulation": "tanh", "modulate": "network"}),
        ("--rule oja --modulation none", {"rule": "oja", "modulation": "none"}),
        ("--eta 0.2 --no-bound-eta --alpha-scale 0.3", {"eta": 0.2, "bound_eta": False, "alpha_scale": 0.3}),
        ("--init orthogonal --init-scale 0.7", {"init": "orthogonal", "init_scale": 0.7}),
    ],
)
def test_a_plastic_core_is_trained_with_its_options_and_evaluated(
    core: str, words: str, options: dict[str, Any], tmp_path: Path, tiny: list[str]
) -> None:
    start = ["train", "maze", "--core", core, "--root", str(tmp_path), *tiny, *words.split()]
    assert main([*start, "--total-timesteps", "160"]) == 0
    folder = tmp_path / "maze" / core / "seed_0"
    agent_settings = read_run(folder).agent
    assert {name: getattr(agent_settings, name) for name in options} == options
    trained = RecurrentA2C.load(checkpoint(folder))
    assert {name: trained.policy_kwargs[name] for name in options} == options
    network = trained.policy.core
    assert isinstance(network, PlasticCore)
    assert network.plasticity.rule.name == agent_settings.rule
    assert network.modulation == agent_settings.modulation
    assert network.plasticity.bound_eta == agent_settings.bound_eta
    assert main(["evaluate", str(folder)]) == 0


@pytest.mark.parametrize("core", ["lstm", "gru", *GATED])
def test_gates_start_as_open_as_they_are_told(core: str, tmp_path: Path) -> None:
    command: Any = parse(["train", "maze", "--core", core, "--forget-bias", "3"])
    with closing(make_mazes(command.maze, 2, 0)) as env:
        bias = [
            dict(make_learner(run, env, "cpu").policy.core.named_parameters())
            for run in (
                command.make_run(core, 0),
                command.with_values({"forget_bias": 0.0}).make_run(core, 0),
            )
        ]
    moved = {name: (one - bias[1][name]).unique().tolist() for name, one in bias[0].items()}
    assert sorted(gap for gaps in moved.values() for gap in gaps if gap) == pytest.approx([3.0], rel=1e-5)


def test_a_comparison_trains_each_core_with_its_own_settings(tmp_path: Path, tiny: list[str]) -> None:
    cores = ["plastic", "plastic_lstm", "lstm"]
    words = ["compare", "maze", "--cores", *cores, "--seeds", "1", "--jobs", "1", "--root", str(tmp_path)]
    assert main([*words, *tiny, "--total-timesteps", "80"]) == 0
    found = {core: read_run(tmp_path / "maze" / core / "seed_0").agent for core in cores}
    assert {core: (one.learning_rate, one.hidden_size) for core, one in found.items()} == {
        "plastic": (0.003, 8),
        "plastic_lstm": (0.007, 8),
        "lstm": (0.007, 8),
    }
    assert (found["plastic"].rule, found["plastic_lstm"].rule) == ("oja", "delta")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("--core lstm --modulation tanh", "--modulation is for the cores plastic, homogeneous, plastic_lstm"),
        ("--core rnn --alpha-scale 1", "--alpha-scale is for the cores plastic, homogeneous, plastic_lstm"),
        (
            "--core gru --init-scale 1",
            "--init-scale is for the cores plastic, homogeneous, rnn, plastic_lstm",
        ),
        (
            "--core rnn --forget-bias 1",
            "--forget-bias is for the cores lstm, gru, plastic_lstm and plastic_gru",
        ),
        ("--core lstm --forget-bias -1", "forget_bias"),
        ("--core plastic --modulation relu", "modulation"),
        ("--core plastic --alpha-scale -1", "alpha_scale must be a finite number, at least 0"),
        ("--core plastic_gru --eta 1.5", "eta must be between 0 and 1"),
    ],
)
def test_wrong_values_are_refused_by_name(
    words: str, says: str, tmp_path: Path, tiny: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "maze", *words.split(), "--root", str(tmp_path), *tiny]) == 2
    said = capsys.readouterr().err
    assert says in said
    assert said.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_that_is_older_than_a_setting_is_taken(tmp_path: Path) -> None:
    check_network(tmp_path, {"core": "plastic", "modulation": "none"}, {"core": "plastic"})
    with pytest.raises(UserError, match="modulation is tanh, not none"):
        check_network(tmp_path, {"modulation": "none"}, {"modulation": "tanh"})
