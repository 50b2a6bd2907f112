"""What the constructor accepts, what it says about the rest, and what it fills in."""

import math
import re
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec
from stable_baselines3.common.envs import IdentityEnv
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecNormalize

from plasticrl.agents import CORE_NAMES, CoreName, PlasticPolicy, RecurrentA2C, make_core
from plasticrl.agents.episode_length import episode_length
from plasticrl.nn import GRU, LSTM, FeedForward, PlasticRNN

NAN, INF = math.nan, math.inf


def build(env: Any = None, **options: Any) -> RecurrentA2C:
    options = {"device": "cpu", "n_steps": 4, "policy_kwargs": {"hidden_size": 3}, **options}
    return RecurrentA2C("PlasticPolicy", env or IdentityEnv(2), **options)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("n_steps", v) for v in (0, -1, 2.5, "5")),
        *(("learning_rate", v) for v in (0.0, -1e-3, NAN, INF, "0.1", None)),
        *((name, v) for name in ("gamma", "gae_lambda") for v in (-0.1, 1.1, NAN, INF, "0.5", True)),
        *((name, v) for name in ("ent_coef", "concentration_coef", "vf_coef") for v in (-0.1, NAN, INF)),
        *(("max_grad_norm", v) for v in (0.0, -1.0, NAN, "1", None)),
        *(("max_grad_ratio", v) for v in (1.0, 0.0, -1.0, NAN, "1", None)),
    ],
)
def test_a_value_out_of_range_is_named(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=rf"^{name} must be .*{value!r}"):
        build(**{name: value})


@pytest.mark.parametrize(
    "options",
    [
        {"max_grad_ratio": 1.01},
        {"gamma": 0.0, "gae_lambda": 0.0, "ent_coef": 0.0, "concentration_coef": 0.0, "vf_coef": 0.0},
        {"gamma": 1.0, "gae_lambda": 1.0, "max_grad_norm": INF, "learning_rate": lambda remaining: 0.1},
    ],
)
def test_the_ends_of_the_ranges_are_allowed(options: dict[str, Any]) -> None:
    assert build(**options).learn(8).num_timesteps == 8


def test_the_defaults_are_those_of_the_papers_maze() -> None:
    model = RecurrentA2C("PlasticPolicy", IdentityEnv(2), device="cpu")
    assert (model.gamma, model.gae_lambda, model.vf_coef) == (0.9, 1.0, 0.03)
    assert (model.concentration_coef, model.ent_coef) == (0.1, 0.0)
    assert model.policy.core.output_size == 200


@pytest.mark.parametrize(
    ("policy_kwargs", "message"),
    [
        (
            {"core": "transformer"},
            "unknown core 'transformer': choose one of plastic, homogeneous, rnn, lstm",
        ),
        ({"rule": "bcm"}, "unknown rule 'bcm'"),
        ({"core": "lstm", "rule": "oja"}, "core 'lstm' takes no rule"),
        ({"core": "feedforward", "eta": 0.1, "init": "normal"}, "core 'feedforward' takes no eta, init"),
        ({"hidden_size": 0}, "hidden_size must be an integer above 0"),
        ({"eta": NAN}, "eta must be a finite number"),
    ],
)
def test_a_wrong_option_of_the_policy_is_named(policy_kwargs: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build(policy_kwargs=policy_kwargs)


def test_the_options_reach_the_core() -> None:
    kwargs = {
        "hidden_size": 3,
        "rule": "oja",
        "eta": 0.2,
        "bound_eta": True,
        "init": "normal",
        "init_scale": 0.3,
    }
    core = build(policy_kwargs=kwargs).policy.core
    assert isinstance(core, PlasticRNN)
    assert (core.hidden_size, core.init, core.init_scale) == (3, "normal", 0.3)
    assert (core.plasticity.rule.name, core.plasticity.initial_eta, core.plasticity.bound_eta) == (
        "oja",
        0.2,
        True,
    )


@pytest.mark.parametrize("core", CORE_NAMES)
def test_every_name_makes_its_core(core: CoreName) -> None:
    made = make_core(core, 4, 5)
    kinds = {"lstm": LSTM, "gru": GRU, "feedforward": FeedForward}
    assert type(made) is kinds.get(core, PlasticRNN)
    modes = {"plastic": "full", "homogeneous": "shared", "rnn": "none"}
    if core in modes:
        assert made.plasticity.mode == modes[core]  # type: ignore[union-attr]
    assert (made.input_size, made.output_size) == (4, 5)


def test_the_policy_may_be_given_as_a_class_or_by_name() -> None:
    assert type(RecurrentA2C(PlasticPolicy, IdentityEnv(2), device="cpu").policy) is PlasticPolicy


@pytest.mark.parametrize(
    "policy", ["MlpPolicy", ActorCriticPolicy, None, PlasticPolicy.predict, ["MlpPolicy"]]
)
def test_a_policy_that_is_none_is_named(policy: Any) -> None:
    named = re.escape(repr(policy))
    with pytest.raises(ValueError, match=f"policy must be 'PlasticPolicy' or a subclass of it, not {named}"):
        RecurrentA2C(policy, IdentityEnv(2))


class Sized(IdentityEnv[int]):
    """Says how long its episodes are, in none, either or both of two ways."""

    def __init__(self, attribute: Any = None, limit: int | None = None) -> None:
        super().__init__(2)
        if attribute is not None:
            self.episode_length = attribute
        if limit is not None:
            self.spec = EnvSpec("Sized-v0", max_episode_steps=limit)


@pytest.mark.parametrize(
    ("env", "expected"),
    [
        (lambda: Sized(7), 7),
        (lambda: Sized(limit=9), 9),
        (lambda: Sized(7, 9), 7),
        (lambda: Sized(), 128),
        (lambda: Sized("long", 9), 9),
        (lambda: Sized(0), 128),
        (lambda: gym.wrappers.TimeLimit(Sized(7), 9), 7),
    ],
    ids=["attribute", "spec", "both", "neither", "no number", "zero", "wrapped"],
)
def test_a_rollout_is_as_long_as_an_episode(env: Any, expected: int) -> None:
    venv = VecNormalize(DummyVecEnv([env]), norm_obs=False)
    assert episode_length(venv) == expected
    assert build(venv, n_steps=None).n_steps == expected


def test_a_given_number_of_steps_comes_first() -> None:
    assert build(Sized(7), n_steps=5).n_steps == 5


@pytest.mark.parametrize(("env", "expected"), [("CartPole-v1", 500), ("PlasticMaze-v0", 250)])
def test_registered_envs_know_their_length(env: str, expected: int) -> None:
    assert build(env, n_steps=None).n_steps == expected


def test_processes_without_a_length_stay_alive() -> None:
    env = SubprocVecEnv([lambda: IdentityEnv(2)] * 2)
    try:
        assert build(env, n_steps=None).n_steps == 128
        assert np.shape(env.reset()) == (2,)
    finally:
        env.close()
