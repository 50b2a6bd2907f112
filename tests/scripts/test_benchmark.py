"""The ratios of the benchmark mean something only if both sides compute the same."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from plasticrl import PlasticState, plastic_scan
from plasticrl.envs import PlasticMazeVectorEnv
from plasticrl.scripts.bench import speed
from plasticrl.scripts.bench.cases import (
    RULES,
    PlainA2C,
    Scan,
    a2c_iterations,
    draw_scan,
    gradients,
    interleaved,
    jax_gradients,
    machine,
    plain_scan,
    ppo_iterations,
    versus_autograd,
)
from plasticrl.scripts.experiments.paper import EXPERIMENTS
from plasticrl.scripts.main import main


def test_plain_and_fused_recurrence_compute_the_same() -> None:
    torch.manual_seed(0)
    steps, batch, n = 12, 3, 9
    drive = torch.randn(steps, batch, n, dtype=torch.float64, requires_grad=True)
    w, alpha = (0.3 * torch.randn(n, n, dtype=torch.float64) for _ in range(2))
    parameters = [p.requires_grad_() for p in (drive, w, alpha, torch.tensor(0.1, dtype=torch.float64))]
    state = PlasticState(drive.new_zeros(batch, n), drive.new_zeros(batch, n, n))
    ours, _ = plastic_scan(*parameters, state, backend="reference")  # type: ignore[misc]
    plain = plain_scan(*parameters)
    cotangent = torch.randn_like(ours)
    torch.testing.assert_close(plain, ours)
    for a, b in zip(
        torch.autograd.grad(plain, parameters, cotangent),
        torch.autograd.grad(ours, parameters, cotangent),
        strict=True,
    ):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("cell", RULES)
def test_scans_of_the_kernels_and_of_autograd_compute_the_same(cell: str) -> None:
    shape = (5, 2, 6)
    scan = draw_scan(cell, shape)
    doubles = (leaf.detach().double().requires_grad_() for leaf in scan.leaves)
    expected = gradients(Scan(*doubles, scan.cotangent.double(), cell), "reference")
    for backend in ("numba", "reference"):
        found = gradients(scan, backend)  # type: ignore[arg-type]
        for a, b in zip(found, expected, strict=True):
            torch.testing.assert_close(a.double(), b, rtol=1e-4, atol=1e-5)
    assert min(versus_autograd(cell, shape, rounds=1).values()) > 0


@pytest.mark.parametrize("cell", ["rnn", "lstm"])
def test_the_scans_in_jax_compute_the_same(cell: str) -> None:
    pytest.importorskip("jax")
    scan = draw_scan(cell, (7, 3, 6))
    for a, b in zip(jax_gradients(scan)(), gradients(scan, "reference"), strict=True):
        torch.testing.assert_close(torch.from_numpy(np.array(a)), b, rtol=1e-4, atol=1e-5)


def test_jax_is_named_where_it_is_missing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(speed, "find_spec", lambda name: None)
    words = ["benchmark", "speed", "--jax", "--out", str(tmp_path / "out")]
    assert main(words) == 2
    assert capsys.readouterr().err == (
        "plasticrl: error: --jax needs JAX, which is not installed: pip install jax\n"
    )


def test_an_iteration_of_the_plain_agent_trains_every_parameter() -> None:
    torch.manual_seed(0)
    agent = PlainA2C(n_envs=2, hidden_size=5)
    before = [p.detach().clone() for p in agent.parameters()]
    agent.iteration()
    assert all(not torch.equal(old, new) for old, new in zip(before, agent.parameters(), strict=True))


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many mazes took each step since."""
    taken: list[int] = []
    step = PlasticMazeVectorEnv.step

    def counted(env: PlasticMazeVectorEnv, actions: Any) -> Any:
        taken.append(len(actions))
        return step(env, actions)

    monkeypatch.setattr(PlasticMazeVectorEnv, "step", counted)
    return taken


@pytest.mark.parametrize("case", ["plain", "ours", "rollout", "lstm", "plastic_lstm", "sb3_mlp"])
def test_an_iteration_of_a2c_is_an_episode_of_every_maze(case: str, steps: list[int]) -> None:
    a2c_iterations(n_envs=2, hidden_size=5)[case]()
    assert steps == [2] * 250


@pytest.mark.parametrize("case", ["sb3_contrib", "sb3_contrib_faster", "lstm", "plastic_lstm"])
def test_an_iteration_of_ppo_is_a_rollout(case: str, steps: list[int]) -> None:
    run = EXPERIMENTS["maze", "quick"].condition("recurrent_ppo").run
    assert run.learner == "sb3_contrib"
    training = replace(run.training, n_envs=2)
    few = run.with_groups(training=training, ppo=replace(run.ppo, hidden_size=5, n_steps=8, batch_size=16))
    ppo_iterations(few)[case]()
    assert steps == [2] * 8


def test_cases_take_turns_after_a_warm_up() -> None:
    calls: list[str] = []
    medians = interleaved({name: lambda name=name: calls.append(name) for name in "ab"}, rounds=3)  # type: ignore[misc]
    assert "".join(calls) == "ab" * 4
    assert set(medians) == {"a", "b"}
    calls.clear()
    least = interleaved({"a": lambda: calls.append("a")}, 2, lambda seconds: len(seconds))
    assert least == {"a": 2}


def test_the_machine_is_described() -> None:
    described = machine()
    assert described["processor"]
    assert described["torch"] == torch.__version__


SMALL = ["--total-timesteps", "64", "--jobs", "1", "--threads", "1", "--quiet"]


def test_the_benchmark_of_memory_is_trained_reported_and_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["benchmark", "memory", "--tasks", "cartpole_positions", "--first-seed", "4", *SMALL]
    assert main([*words, "--cores", "lstm", "plastic_lstm", "--seeds", "1"]) == 0
    report = tmp_path / "runs/memory/report"
    assert {path.name for path in report.iterdir()} == {"summary.json", "memory.png", "memory.svg"}
    before = json.loads((report / "summary.json").read_text())["tasks"]["cartpole_positions"]
    assert before["cores"].keys() == {"lstm", "plastic_lstm"}
    assert before["total_timesteps"] == 64
    folders = {path.parent for path in (tmp_path / "runs").rglob("result.json")}
    shown = capsys.readouterr().out
    assert "Points per episode" in shown
    assert "report: runs/memory/report" in shown
    assert main([*words, "--cores", "lstm", "--seeds", "2"]) == 0
    after = json.loads((report / "summary.json").read_text())["tasks"]["cartpole_positions"]["cores"]
    assert after["lstm"]["scores"].keys() == {"4", "5"}
    assert after["lstm"]["scores"]["4"] == before["cores"]["lstm"]["scores"]["4"]
    assert after["plastic_lstm"] == before["cores"]["plastic_lstm"]  # not requested now
    assert folders < {path.parent for path in (tmp_path / "runs").rglob("result.json")}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["chess"], "there is no benchmark chess; there are memory, speed"),
        (["memory", "--tasks", "chess"], "there is no task chess: choose from cartpole_positions, pendulum"),
        (["memory", "--cores", "hopfield"], "there is no core hopfield: choose from plastic, plastic_lstm"),
        (["memory", "--cores", "lstm", "lstm"], "cores must be named once each, not lstm lstm"),
        (["memory", "--tasks", "maze", "maze"], "tasks must be named once each, not maze maze"),
        (["memory", "--seeds", "0"], "seeds must be from 1"),
        (["memory", "--jobs", "0"], "jobs must be from 1"),
        (["memory", "--first-seed", "-1", "--tasks", "cue_reward"], "seed"),
        (["memory", "--total-timesteps", "0", "--tasks", "cue_reward"], "total_timesteps must be at least 1"),
        (["memory", "--rounds", "3"], "benchmark memory has no --rounds"),
        (["speed", "--seeds", "3"], "benchmark speed has no --seeds"),
    ],
)
def test_wrong_input_is_refused_in_one_line(
    words: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["benchmark", *words]) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert message in told
    assert not (tmp_path / "runs").exists()


def test_missing_packages_are_named_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("plasticrl.agents.presets.find_spec", lambda name: None)
    monkeypatch.chdir(tmp_path)
    assert main(["benchmark", "memory"]) == 2
    assert capsys.readouterr().err.endswith("that are missing: pip install popgym minigrid\n")


@pytest.mark.parametrize("words", [["benchmark", "--help"], ["benchmark", "memory", "--help"]])
def test_help_tells_of_both_benchmarks(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 0
    assert "memory" in capsys.readouterr().out
