"""What is done to a trace is what is said, seen from the network's own equations."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from plasticrl.agents import RecurrentA2C
from plasticrl.envs import make_vec_env
from plasticrl.scripts.main import main
from plasticrl.scripts.settings.maze import LesionChoice
from plasticrl.scripts.tasks.environments.evaluation import LesionedAgent
from plasticrl.state import PlasticLSTMState, PlasticState, RecurrentState

LENGTH, ENVS = 12, 3


def agent(core: str = "plastic", rule: str | None = "oja") -> RecurrentA2C:
    env = make_vec_env("PlasticMaze-v0", n_envs=ENVS, seed=0, size=5, episode_length=LENGTH)
    kwargs: dict[str, Any] = {"core": core, "hidden_size": 8}
    if rule is not None:
        kwargs |= {"rule": rule, "eta": 0.3, "bound_eta": False, "init_scale": 0.7}
    return RecurrentA2C("PlasticPolicy", env, policy_kwargs=kwargs, seed=1, device="cpu")


def play(player: Any, before: Callable[[int], None] = lambda step: None) -> list[RecurrentState]:
    """The states after each step of two episodes, on observations that do not depend on the actions."""
    rng = np.random.default_rng(0)
    size = player.agent.observation_space.shape if isinstance(player, LesionedAgent) else None
    size = size or player.observation_space.shape
    states, state = [], None
    for step in range(2 * LENGTH):
        before(step % LENGTH)
        observation = rng.random((ENVS, *size), dtype=np.float32)
        _, state = player.predict(observation, state, np.full(ENVS, step % LENGTH == 0), True)
        states.append((PlasticLSTMState if len(state) == 3 else PlasticState)(*state))
    return states


def same(ours: RecurrentState, theirs: RecurrentState) -> bool:
    return bool(np.allclose(ours.hidden, theirs.hidden, atol=1e-6))


@pytest.mark.parametrize("first", [0, 5])
@pytest.mark.parametrize("core", ["plastic", "homogeneous"])
@pytest.mark.parametrize("rule", ["hebb", "oja", "clipped"])
@pytest.mark.parametrize("lesion", ["frozen", "silenced"])
def test_a_lesion_is_a_change_of_eta_or_alpha(first: int, core: str, rule: str, lesion: LesionChoice) -> None:
    """Frozen: eta is 0 from that step on. Silenced: alpha is."""
    one, other = agent(core, rule), agent(core, rule)
    plasticity: Any = other.policy.core.plasticity
    name = "eta_raw" if lesion == "frozen" else "alpha"
    parameter = dict(plasticity.named_parameters())[name]
    original = parameter.detach().clone()

    def change(step: int) -> None:
        with torch.no_grad():
            parameter.copy_(torch.zeros_like(original) if step >= first else original)

    ours, theirs = play(LesionedAgent(one, lesion, first)), play(other, change)
    assert all(same(a, b) for a, b in zip(ours, theirs, strict=True))
    whole = play(one)
    for start in (0, LENGTH):
        assert all(same(ours[start + t], whole[start + t]) for t in range(first))
        assert not same(ours[start + LENGTH - 1], whole[start + LENGTH - 1])


@pytest.mark.parametrize("core", ["plastic_lstm", "plastic_gru"])
def test_a_silenced_trace_of_a_gated_core_is_an_alpha_of_zero(core: str) -> None:
    one, other = agent(core, None), agent(core, None)
    for player in (one, other):
        alpha: Any = player.policy.core.plasticity.alpha
        with torch.no_grad():
            alpha.mul_(10)  # else a few steps recall too little to tell
    whole = play(one)
    with torch.no_grad():
        alpha.zero_()  # the other's
    ours, theirs = play(LesionedAgent(one, "silenced", 0)), play(other)
    assert all(same(a, b) for a, b in zip(ours, theirs, strict=True))
    assert not same(ours[LENGTH - 1], whole[LENGTH - 1])


def test_frozen_from_the_start_is_silenced() -> None:
    one = agent()
    frozen, silenced = (play(LesionedAgent(one, lesion, 0)) for lesion in ("frozen", "silenced"))
    assert all(same(a, b) for a, b in zip(frozen, silenced, strict=True))


@pytest.mark.parametrize("first", [2, 5])
def test_a_cleared_trace_is_zero_once(first: int) -> None:
    one = agent()
    ours, whole = play(LesionedAgent(one, "cleared", first)), play(one)
    state = whole[first - 1]
    rng = np.random.default_rng(0)
    shape = one.observation_space.shape
    assert shape is not None
    observations = [rng.random((ENVS, *shape), dtype=np.float32) for _ in range(LENGTH)]
    given: Any = (state.hidden, np.zeros_like(state.trace))
    for t in range(first, LENGTH):
        _, given = one.predict(observations[t], given, np.zeros(ENVS, np.bool_), True)
        assert same(ours[t], PlasticState(*given))
        assert np.allclose(ours[t].trace, given[1], atol=1e-6)
    assert not all(same(ours[t], whole[t]) for t in range(first, LENGTH))


@pytest.mark.parametrize("lesion", ["frozen", "cleared", "silenced"])
def test_beyond_the_end_nothing_changes(lesion: LesionChoice) -> None:
    one = agent()
    assert all(same(a, b) for a, b in zip(play(LesionedAgent(one, lesion, LENGTH)), play(one), strict=True))


def evaluated(run: Path, capsys: pytest.CaptureFixture[str], *options: str) -> Any:
    assert main(["evaluate", str(run), "--json", *options]) == 0
    return json.loads(capsys.readouterr().out)


def test_evaluate_makes_lesions(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = evaluated(trained, capsys)
    assert whole["lesion"] is None
    assert sum(whole["points_by_fifth"]) == pytest.approx(whole["mean_reward"])
    late = evaluated(trained, capsys, "--lesion", "frozen", "--lesion-step", "19")  # of 20: the last one
    assert late["mean_reward"] == whole["mean_reward"]
    assert late["lesion_step"] == 19
    assert main(["evaluate", str(trained), "--lesion", "cleared", "--lesion-step", "3"]) == 0
    assert "trace cleared from step 3" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--lesion-step", "3"], "--lesion-step needs --lesion"),
        (["--lesion", "frozen", "--lesion-step", "-1"], "lesion_step must be from 0 to 19"),
        (["--lesion", "frozen", "--lesion-step", "20"], "lesion_step must be from 0 to 19"),
        (["--lesion", "burnt"], "--lesion"),
    ],
)
def test_bad_input(
    options: list[str], complaint: str, trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", str(trained), *options]) == 2
    assert complaint in capsys.readouterr().err


@pytest.mark.parametrize("core", ["rnn", "lstm"])
def test_an_agent_without_trace_is_refused(
    core: str, tmp_path: Path, tiny: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "maze", "--core", core, "--root", str(tmp_path), *tiny]) == 0
    assert main(["evaluate", str(tmp_path / "maze" / core / "seed_0"), "--lesion", "frozen"]) == 2
    assert "only a plastic agent has a trace" in capsys.readouterr().err
