"""A new run begins with the network that another training has saved."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from equal_runs import check_same, checkpoints
from refusals import check_refused

from plasticrl.agents import RecurrentA2C, RecurrentPPO
from plasticrl.agents.checkpoint.tensor_file import read_tensors
from plasticrl.scripts.main import main
from plasticrl.scripts.runs.folder import read_run

PENDULUM = [
    *["train", "Pendulum-v1", "--n-envs", "2", "--n-steps", "10", "--hidden-size", "8", "--normalize"],
    *["--total-timesteps", "80", "--eval-episodes", "2", "--threads", "1", "--quiet", "--keep", "None"],
]


def network(path: Path) -> dict[str, torch.Tensor]:
    """Parameters, and moments of observations and returns, of an agent or of a learner."""
    tensors, _ = read_tensors(path)
    return {name: one for name, one in tensors.items() if name.startswith(("policy/", "network/"))}


def check_network(begun: Path, source: Path) -> None:
    first, other = network(checkpoints(begun)[0]), network(source)
    assert first
    assert first.keys() == other.keys()
    assert all(torch.equal(first[name], other[name]) for name in first)
    assert not any(name.startswith("optimizer") for name in read_tensors(checkpoints(begun)[0])[0])


def newest(run: Path) -> Path:
    return max(checkpoints(run).items())[1]


@pytest.fixture(scope="module", params=["a2c", "ppo"])
def begun(
    request: pytest.FixtureRequest, trained: Path, tiny: list[str], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A run that began with the network of another, with another length, learning rate and maze."""
    root = tmp_path_factory.mktemp("begun")
    words = [
        "train",
        "maze",
        *tiny,
        "--root",
        str(root),
        "--init-from",
        str(trained),
        "--algo",
        request.param,
    ]
    words += ["--learning-rate", "1e-4", "--total-timesteps", "240", "--reward", "5", "--keep", "None"]
    words += ["--modulation", "none", "--no-normalize-observations", "--no-normalize-returns"]
    assert main(words) == 0
    (folder,) = root.glob("maze*/plastic/seed_0")
    return folder


def test_a_run_begins_with_the_network_of_another(begun: Path, trained: Path) -> None:
    check_network(begun, newest(trained))
    assert read_run(begun).init_from == str(trained)
    assert json.loads((begun / "config.json").read_text())["init_from"] == str(trained)
    assert json.loads((begun / "result.json").read_text())["steps"] == 240
    learner = RecurrentPPO if read_run(begun).learner == "ppo" else RecurrentA2C
    first = learner.load(checkpoints(begun)[0])
    assert (first.num_timesteps, first._n_updates) == (0, 0)
    assert not any(
        torch.equal(one, network(newest(trained))[name]) for name, one in network(newest(begun)).items()
    )


def test_it_is_resumed_exactly_after_the_other_file_is_gone(begun: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(begun, run)
    (run / "result.json").unlink()
    for step, path in checkpoints(run).items():
        if step > 0:
            path.unlink()
    config = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps({**config, "init_from": "gone"}))
    assert main(["train", "--resume", str(run), "--threads", "1", "--quiet", "--keep", "None"]) == 0
    check_same(run, begun)


def test_killed_before_its_first_checkpoint_it_takes_the_file_again(begun: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(begun, run)
    (run / "result.json").unlink()
    for path in checkpoints(run).values():
        path.unlink()
    assert main(["train", "--resume", str(run), "--threads", "1", "--quiet", "--keep", "None"]) == 0
    check_same(run, begun)


def test_moments_of_vecnormalize_come_along(tmp_path: Path) -> None:
    assert main([*PENDULUM, "--root", str(tmp_path)]) == 0
    source = newest(tmp_path / "Pendulum-v1" / "plastic" / "seed_0")
    assert main([*PENDULUM, "--root", str(tmp_path), "--seed", "1", "--init-from", str(source)]) == 0
    folder = tmp_path / "Pendulum-v1" / "plastic" / "seed_1"
    check_network(folder, source)
    saved = [read_tensors(path)[1]["env"] for path in (source, checkpoints(folder)[0])]
    counts = [json.dumps(one["means"]["returns"]) for one in saved]
    assert float(json.loads(counts[1])[2]) >= float(json.loads(counts[0])[2]) > 50


def test_an_agent_that_python_saved_is_a_beginning(tmp_path: Path) -> None:
    file = tmp_path / "agent.safetensors"
    agent = RecurrentPPO("PlasticPolicy", "CartPole-v1", n_steps=8, policy_kwargs={"core": "lstm"}, seed=0)
    agent.save(file)
    words = ["train", "CartPole-v1", "--core", "lstm", "--init-from", str(file), "--root", str(tmp_path)]
    words += ["--n-envs", "2", "--n-steps", "8", "--total-timesteps", "16", "--eval-episodes", "2", "--quiet"]
    assert main(words) == 0
    check_network(tmp_path / "CartPole-v1" / "lstm" / "seed_0", file)


def test_a_supervised_run_begins_with_the_network_of_another(
    supervised: Any, trained_supervised: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train", supervised.task, *supervised.options, "--root", str(tmp_path), "--keep", "None"]
    assert main([*words, "--init-from", str(trained_supervised), "--learning-rate", "1e-5"]) == 0
    folder = tmp_path / supervised.task / "plastic" / "seed_0"
    check_network(folder, newest(trained_supervised))
    capsys.readouterr()
    words = [*words, "--seed", "1", "--core", "rnn", "--init-from", str(folder)]
    check_refused(words, "missing in the agent", capsys)


def test_another_network_is_refused(
    trained: Path, tiny: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train", "maze", *tiny, "--root", str(tmp_path), "--init-from", str(trained)]
    shapes = (
        "policy/action_net.weight is torch.float32 (4, 8) in the file and torch.float32 (4, 9) in the agent"
    )
    check_refused([*words, "--hidden-size", "9"], shapes, capsys)
    check_refused([*words, "--core", "lstm"], "policy/core.", capsys)
    check_refused([*words, "--observe-time", "True"], "in the file and", capsys)
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_network_is_refused(
    trained: Path, tiny: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "file"
    file.write_text("no tensors")
    words = ["train", "maze", *tiny, "--root", str(tmp_path / "runs"), "--init-from"]
    check_refused([*words, str(tmp_path / "gone")], "does not exist", capsys)
    check_refused([*words, str(file)], "cannot be loaded as a checkpoint", capsys)
    check_refused([*words, str(tmp_path)], "holds no checkpoint", capsys)
    patterns = ["train", "patterns", "--n-bits", "6", "--root", str(tmp_path / "runs"), "--init-from"]
    check_refused([*patterns, str(trained)], "RecurrentA2C", capsys)
    check_refused(["compare", "maze", "--init-from", str(trained)], "compare maze has no --init-from", capsys)
    assert not (tmp_path / "runs").exists()


def test_a_run_without_it_is_another_run(
    begun: Path, tiny: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    run = read_run(begun)
    words = ["train", "maze", "--config", str(begun / "config.json"), "--root", str(begun.parents[2])]
    check_refused(
        [*words, "--init-from", "elsewhere"], f"init_from was {run.init_from}, now elsewhere", capsys
    )
    options = [*tiny, "--learning-rate", "1e-4", "--total-timesteps", "240", "--reward", "5"]
    options += ["--modulation", "none", "--no-normalize-observations", "--no-normalize-returns"]
    words = ["train", "maze", *options, "--root", str(begun.parents[2]), "--algo", run.learner]
    check_refused(words, f"init_from was {run.init_from}, now None", capsys)


def test_a_comparison_does_not_begin_as_a_run_did(begun: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["compare", "maze", "--config", str(begun / "config.json")]
    check_refused(words, "has no init_from", capsys)
