"""Settings come from the preset, then from a file, then from the command line."""

import json
from pathlib import Path
from typing import Any

import pytest
from refusals import check_refused

from plasticrl.scripts.commands import CompareOptions, TrainOptions, parse
from plasticrl.scripts.main import main
from plasticrl.scripts.runs.folder import read_run
from plasticrl.scripts.settings.maze import A2C_PRESETS


def written(folder: Path, text: str, name: str = "settings.yaml") -> str:
    path = folder / name
    path.write_text(text)
    return str(path)


FLAT = (
    "total_timesteps: 1_000\ncore: plastic_lstm\nmax_grad_norm: null\nlearning_rate: 1e-3\nroot: elsewhere\n"
)
GROUPED = """
training: {total_timesteps: 1000}
core: plastic_lstm
agent:
  max_grad_norm: ~
  learning_rate: .001
output:
  root: elsewhere
"""
AS_JSON = json.dumps(
    {
        "core": "plastic_lstm",
        "agent": {"max_grad_norm": None, "learning_rate": 1e-3},
        "total_timesteps": 1000,
        "root": "elsewhere",
    }
)


@pytest.mark.parametrize(
    ("name", "text"), [("a.yaml", FLAT), ("a.yml", GROUPED), ("a.YAML", AS_JSON), ("a.json", AS_JSON)]
)
def test_a_file_has_settings_by_their_names(name: str, text: str, tmp_path: Path) -> None:
    options: Any = parse(["train", "maze", "--config", written(tmp_path, text, name)])
    assert isinstance(options, TrainOptions)
    assert (options.core, options.output.root) == ("plastic_lstm", Path("elsewhere"))
    assert (options.value("total_timesteps"), options.value("max_grad_norm")) == (1000, None)
    assert options.value("learning_rate") == 1e-3
    of_preset = A2C_PRESETS["tuned"].for_core("plastic_lstm")["agent"]
    assert options.value("gae_lambda") == of_preset.gae_lambda


def test_preset_then_file_then_command_line(tmp_path: Path) -> None:
    file = written(tmp_path, "preset: paper\nhidden_size: 30\ngamma: 0.5\nseed: 4\n")
    options: Any = parse(["train", "maze", "--config", file, "--gamma", "0.6", "--seed=5"])
    assert (options.preset, options.value("hidden_size")) == ("paper", 30)
    assert (options.value("gamma"), options.seed) == (0.6, 5)
    assert options.value("gae_lambda") == 1.0  # the paper's
    options = parse(["train", "maze", f"--config={file}", "--preset", "tuned"])
    assert (options.preset, options.value("hidden_size"), options.value("gamma")) == ("tuned", 30, 0.5)
    assert options.value("gae_lambda") == A2C_PRESETS["tuned"].groups["agent"].gae_lambda


def test_a_file_names_the_algorithm(tmp_path: Path) -> None:
    file = written(tmp_path, "algo: ppo\nn_epochs: 3\n")
    options: Any = parse(["train", "maze", "--config", file])
    assert (options.algo, options.value("n_epochs")) == ("ppo", 3)
    with pytest.raises(Exception, match="train maze has no n_epochs"):
        parse(["train", "maze", "--config", file, "--algo", "a2c"])


def test_a_file_of_an_environment(tmp_path: Path) -> None:
    text = "env_kwargs: {sutton_barto_reward: true}\nwrapper: [gymnasium.wrappers:FlattenObservation]\n"
    file = written(tmp_path, text)
    options: Any = parse(["train", "CartPole-v1", "--config", file])
    assert options.value("env_kwargs") == {"sutton_barto_reward": True}
    assert options.value("wrapper") == ("gymnasium.wrappers:FlattenObservation",)
    given = ["--wrapper", "a:B", "--env-kwargs", "x=1"]
    options = parse(["train", "CartPole-v1", "--config", file, *given])
    assert (options.value("wrapper"), options.value("env_kwargs")) == (("a:B",), {"x": 1})


def test_a_file_is_for_all_cores_of_a_comparison(tmp_path: Path) -> None:
    file = written(tmp_path, "cores: [plastic, lstm]\nagent: {learning_rate: 0.5}\nfirst_seed: 7\n")
    options: Any = parse(["compare", "maze", "--config", file])
    assert isinstance(options, CompareOptions)
    runs = options.runs()
    assert [(run.core, run.seed) for run in runs[:3]] == [("plastic", 7), ("lstm", 7), ("plastic", 8)]
    assert {run.agent.learning_rate for run in runs} == {0.5}
    own = A2C_PRESETS["tuned"].for_core("lstm")["agent"]
    assert next(run for run in runs if run.core == "lstm").agent.gae_lambda == own.gae_lambda


def test_help_shows_the_values_in_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "maze", "--config", written(tmp_path, "n_envs: 123\n"), "--help"]) == 0
    assert "(default: 123)" in capsys.readouterr().out


def test_the_config_of_a_run(trained: Path, tmp_path: Path) -> None:
    run = read_run(trained)
    options: Any = parse(["train", "maze", "--config", str(trained / "config.json")])
    assert options.make_run(options.core, options.seed) == run
    config = ["--config", str(trained / "config.json")]
    options = parse(["train", "maze", *config, "--core", "lstm", "--seed", "8", "--hidden-size", "5"])
    again = options.make_run(options.core, options.seed)
    assert (again.core, again.seed, again.agent.hidden_size) == ("lstm", 8, 5)
    assert again.maze == run.maze
    options = parse(["compare", "maze", *config, "--cores", "rnn", "gru"])
    assert {run.core for run in options.runs()} == {"rnn", "gru"}
    assert all(one.groups == run.groups for one in options.runs())


def test_the_config_of_an_earlier_version(trained: Path, tmp_path: Path) -> None:
    plain = json.loads((trained / "config.json").read_text())
    first = {name: value for name, value in plain.items() if name not in ("version", "learner")}
    options: Any = parse(["train", "maze", "--config", written(tmp_path, json.dumps(first), "old.json")])
    assert options.make_run(options.core, options.seed) == read_run(trained)


def test_training_with_the_config_of_a_run(
    supervised: Any, trained_supervised: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = str(trained_supervised / "config.json")
    words = ["train", supervised.task, "--config", config, *supervised.data]
    assert main([*words, "--root", str(tmp_path), "--threads", "1", "--quiet"]) == 0
    again = tmp_path.joinpath(*trained_supervised.parts[-3:])
    results = [json.loads((run / "result.json").read_text()) for run in (again, trained_supervised)]
    assert results[0]["evaluation"] == results[1]["evaluation"]
    capsys.readouterr()
    check_refused(["train", "maze", "--config", config], f"is for {supervised.task}, not for maze", capsys)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("hidden_sise: 3", "train maze has no hidden_sise; perhaps you meant hidden_size"),
        ("hidden-size: 3", "train maze has no hidden-size; perhaps you meant hidden_size"),
        ("cores: [rnn]", "train maze has no cores"),
        ("jobs: 2", "train maze has no jobs"),
        ("config: other.yaml", "train maze has no config"),
        ("hidden_size: big", "hidden_size is 'big', which is not allowed: it must be a whole number"),
        ("hidden_size: 3.5", "hidden_size is 3.5"),
        ("bound_eta: 1", "it must be true or false"),
        ("max_grad_norm: None", "it must be a number or null"),
        ("rule: bcm", "rule is 'bcm', which is not allowed: it must be one of hebb, oja"),
        ("core: transformer", "core is 'transformer'"),
        ("preset: best", "preset is 'best', which is not allowed: it must be one of tuned, paper"),
        ("algo: dqn", "algo is 'dqn'"),
        ("learning_rate: .nan", "not valid YAML"),
        ("seed: 1\nseed: 2", "seed occurs twice"),
        ("hidden_size: 3\nagent: {hidden_size: 4}", "hidden_size occurs twice"),
        ("agent: {hidden_size: 4, hidden_size: 4}", "hidden_size occurs twice"),
        ("agent: 3", "train maze has no agent"),
        ("a: &x 1\nb: *x", "write the value itself"),
        ("- 1", "not a mapping"),
        ("", "not a mapping"),
        ("a: [1\nb: 2", "line 2: expected ',' or ']'"),
        ("a: !!python/object/apply:os.system [ls]", "line 1: could not determine a constructor"),
        ("1: 2", "train maze has no 1"),
        ("? [a]\n: 2", "not valid YAML"),
        ("task: patterns", "is for patterns, not for maze"),
        ("[" * 10_000, "not valid YAML"),
        ("gamma: !!bool x", "not valid YAML"),
        ("gamma: !!timestamp x", "not valid YAML"),
        ("seed: 010", "010 is no whole number"),
        ("seed: 1:30", "1:30 is no whole number"),
        ("total_timesteps: " + "9" * 400, "which is not allowed: it must be a whole number"),
        ("size: 8", "odd"),
        ("seed: -3", "seed must be from 0"),
    ],
    ids=lambda text: text[:30],
)
def test_wrong_files_are_refused_in_one_line(
    text: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    check_refused(["train", "maze", "--config", written(tmp_path, text)], says, capsys)
    assert [path.name for path in tmp_path.iterdir()] == ["settings.yaml"]


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("a.json", "{", "is not valid JSON"),
        ("a.json", '{"seed": 1, "seed": 2}', "seed occurs twice"),
        ("a.json", '{"version": 99}', "later plasticrl"),
        ("a.json", '{"version": 3, "task": "maze"}', "is not the settings of a run"),
        ("a.txt", "seed: 1", "ends in .yaml, .yml or .json"),
        ("a.yaml", "seed: 1\0", "not valid YAML"),
    ],
)
def test_files_that_are_none(
    name: str, text: str, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    check_refused(["train", "maze", "--config", written(tmp_path, text, name)], says, capsys)


def test_paths_that_are_no_files(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    check_refused(["train", "maze", "--config", str(tmp_path / "none.yaml")], "does not exist", capsys)
    check_refused(["train", "maze", "--config", str(trained)], f"{trained / 'config.json'}", capsys)
    check_refused(["train", "--resume", str(trained), "--config", "a.yaml"], "has no --config", capsys)


def test_code_beside_a_run_is_not_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    options: Any = parse(["train", "CartPole-v1", "--import", "evil"])
    written(tmp_path, json.dumps(options.make_run("plastic", 0).as_dict()), "config.json")
    monkeypatch.chdir(tmp_path)
    check_refused(["train", "CartPole-v1", "--config", "config.json"], "lies beside the run", capsys)
