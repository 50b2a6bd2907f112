"""Presets build agents for their environments; the maze's keep its compiled rollouts."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch

from plasticrl.agents import CORE_NAMES, CoreName, RecurrentA2C, RecurrentPPO
from plasticrl.agents.presets import A2C, PPO, Preset, missing_packages, packages_of
from plasticrl.agents.recurrent import on_policy_algorithm
from plasticrl.envs import make_vec_env

EVERY_CORE = pytest.mark.parametrize("core", CORE_NAMES)
ALL = [*((RecurrentA2C, name) for name in A2C), *((RecurrentPPO, name) for name in PPO)]
EVERY_PRESET = pytest.mark.parametrize(
    ("kind", "env_id"),
    [
        pytest.param(
            kind,
            env_id,
            marks=pytest.mark.skipif(
                bool(missing_packages(kind.presets[env_id].imports)), reason="its package is missing"
            ),
        )
        for kind, env_id in ALL
    ],
)
EVERY_MAZE = pytest.mark.parametrize(("kind", "env_id"), [one for one in ALL if "Maze" in one[1]])
PLAYED = ("plastic", "homogeneous", "rnn", "plastic_lstm", "plastic_gru")


def few(env_id: str) -> Any:
    return make_vec_env(env_id, n_envs=2, seed=0)


@EVERY_CORE
@EVERY_MAZE
def test_every_preset_of_a_maze_trains_every_core(
    kind: Any, env_id: str, core: CoreName, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Two updates; plastic cores, and the one without plasticity, play the maze in the compiled loop."""
    played, play_ahead = list[int](), on_policy_algorithm.play_ahead

    def spy(*given: Any) -> Any:
        played.append(1)
        return play_ahead(*given)

    monkeypatch.setattr(on_policy_algorithm, "play_ahead", spy)
    agent = kind.from_preset(env_id, core, env=few(env_id), seed=0, n_steps=20, device="cpu")
    before = [p.clone() for p in agent.policy.parameters()]
    agent.learn(2 * 20 * 2)
    assert (agent._n_logged(), len(played)) == (2, 2 if core in PLAYED else 0)
    assert not all(torch.equal(p, q) for p, q in zip(agent.policy.parameters(), before, strict=True))
    agent.save(tmp_path / "agent")
    loaded = kind.load(tmp_path / "agent", device="cpu")
    assert loaded.lr_schedule(0.5) == agent.lr_schedule(0.5)
    assert repr(loaded.policy) == repr(agent.policy)


@EVERY_PRESET
@pytest.mark.filterwarnings("ignore::UserWarning")  # Gymnasium's remarks on others' environments
def test_every_preset_trains_where_it_belongs(kind: Any, env_id: str) -> None:
    agent = kind.from_preset(env_id, "plastic_lstm", n_envs=2, n_steps=8, seed=0, device="cpu")
    before = [p.clone() for p in agent.policy.parameters()]
    agent.learn(48)  # three updates, of which the last one has a rate near zero
    assert not all(torch.equal(p, q) for p, q in zip(agent.policy.parameters(), before, strict=True))


@pytest.mark.parametrize(("kind", "env_id"), [one for one in ALL if one[0].presets[one[1]].imports])
def test_a_missing_package_is_named_with_the_command(
    kind: Any, env_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    needed = packages_of(kind.presets[env_id].imports)
    monkeypatch.setattr("plasticrl.agents.presets.find_spec", lambda name: None)
    text = f"{env_id} needs a package that is missing: pip install {needed}"
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        kind.from_preset(env_id)


@EVERY_CORE
@EVERY_PRESET
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_an_agent_has_the_settings_of_its_preset(kind: Any, env_id: str, core: CoreName) -> None:
    agent, preset = kind.from_preset(env_id, core, device="cpu"), kind.presets[env_id].for_core(core)
    assert agent.n_envs == preset.n_envs
    assert agent.lr_schedule(1.0) == pytest.approx(preset.learning_rate)
    assert agent.lr_schedule(0.0) == pytest.approx(preset.final_learning_rate)
    for name, value in preset.learner.items():
        assert getattr(agent, name) == value, name
    assert agent.policy_kwargs == {"core": core, **preset.policy}


def test_what_is_given_replaces_what_the_preset_has() -> None:
    env = few("PlasticMaze-v0")
    agent = RecurrentA2C.from_preset(
        "PlasticMaze-v0",
        "lstm",
        env,
        learning_rate=0.5,
        gamma=0.25,
        seed=7,
        policy_kwargs={"hidden_size": 3, "normalize_returns": True},
    )
    preset = A2C["PlasticMaze-v0"].for_core("lstm")
    assert agent.env is env
    assert (agent.learning_rate, agent.gamma, agent.seed) == (0.5, 0.25, 7)
    assert agent.gae_lambda == preset.learner["gae_lambda"]
    assert agent.policy.core.output_size == 3
    assert agent.policy.return_moments is not None
    assert agent.policy.observation_normalizer is None


def test_a_seed_is_that_of_the_envs_too() -> None:
    def first(seed: int) -> Any:
        agent = RecurrentA2C.from_preset("PlasticMaze-v0", seed=seed, device="cpu")
        env: Any = agent.env
        env.reset()
        return repr(env.state_dict())

    assert first(1) == first(1) != first(2)


@pytest.mark.parametrize("env_id", ["Acrobot-v1", "plasticmaze-v0", ""])
def test_an_env_without_a_preset_is_named_with_those_that_have_one(env_id: str) -> None:
    message = rf"^RecurrentA2C has no preset for '{env_id}', only for {', '.join(A2C)}: call RecurrentA2C\("
    with pytest.raises(ValueError, match=message) as caught:
        RecurrentA2C.from_preset(env_id)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"core": "transformer"}, "unknown core 'transformer'"),
        ({"gamma": 2.0}, "^gamma must be"),
        ({"policy_kwargs": {"hiden_size": 3}}, "did you mean 'hidden_size'"),
    ],
)
def test_what_is_not_allowed_is_named(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RecurrentA2C.from_preset("PlasticMaze-v0", **given)


def test_settings_for_one_core_come_before_those_for_all() -> None:
    preset = Preset(
        n_envs=1,
        total_timesteps=2,
        learning_rate=0.1,
        final_learning_rate=0.0,
        learner={"gamma": 0.5, "vf_coef": 0.4},
        policy={"hidden_size": 3, "eta": 0.1},
        cores={"plastic": {"learning_rate": 0.2, "gamma": 0.6, "eta": 0.3, "init": "normal"}},
    )
    own = preset.for_core("plastic")
    assert (own.learning_rate, own.final_learning_rate) == (0.2, 0.0)
    assert own.learner == {"gamma": 0.6, "vf_coef": 0.4}
    assert own.policy == {"hidden_size": 3, "eta": 0.3, "init": "normal"}
    other = preset.for_core("lstm")
    assert (other.learning_rate, other.learner, other.policy) == (0.1, preset.learner, preset.policy)
