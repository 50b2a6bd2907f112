"""What the constructor accepts, what it says about the rest, and what it fills in."""

import math
import re
from inspect import Parameter, signature
from pathlib import Path
from typing import Any

import gymnasium as gym
import maze_settings
import pytest
import torch
from sb3_contrib.common.recurrent.policies import RecurrentActorCriticPolicy
from stable_baselines3.common.envs import IdentityEnv
from stable_baselines3.common.policies import ActorCriticPolicy, BaseModel, BasePolicy
from stable_baselines3.common.torch_layers import NatureCNN

from plasticrl.agents import CORE_NAMES, CoreName, PlasticPolicy, RecurrentA2C, make_core
from plasticrl.agents.recurrent.native_rollout import can_play
from plasticrl.envs import make_vec_env
from plasticrl.nn import GRU, LSTM, FeedForward, PlasticGRU, PlasticLSTM, PlasticRNN

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


@pytest.mark.parametrize(
    ("options", "n_steps"),
    [({}, 32), ({"episode_length": 20}, 20), ({"max_episode_steps": 9}, 9), ({"episode_length": 33}, 32)],
    ids=str,
)
def test_a_rollout_is_by_default_no_longer_than_a_short_episode(options: Any, n_steps: int) -> None:
    batch = make_vec_env("PlasticMaze-v0", 2, **options)
    for env in (gym.make("PlasticMaze-v0", **options), batch):
        assert RecurrentA2C("PlasticPolicy", env, policy_kwargs={"hidden_size": 3}).n_steps == n_steps


@pytest.mark.parametrize("env", [IdentityEnv(2), "CartPole-v1", "PlasticMaze-v0"], ids=str)
def test_the_defaults_are_the_same_for_every_env(env: Any) -> None:
    model = RecurrentA2C("PlasticPolicy", env, device="cpu")
    assert (model.n_steps, model.gamma, model.gae_lambda, model.vf_coef) == (32, 0.99, 0.95, 0.5)
    assert (model.concentration_coef, model.ent_coef) == (0.0, 0.01)
    assert (model.max_grad_norm, model.normalize_advantage) == (0.5, False)
    assert model.policy.core.output_size == 64
    assert model.policy.observation_normalizer is not None
    assert model.policy.return_moments is not None


@pytest.mark.parametrize(
    ("policy_kwargs", "message"),
    [
        (
            {"core": "transformer"},
            "unknown core 'transformer': choose one of plastic, homogeneous, rnn, lstm",
        ),
        ({"rule": "bcm"}, "unknown rule 'bcm'"),
        ({"core": "lstm", "rule": "oja"}, "core 'lstm' takes no rule"),
        (
            {"core": "feedforward", "eta": 0.1, "init": "normal"},
            "core 'feedforward' takes no eta: only plastic, ",
        ),
        ({"core": "Lstm"}, "unknown core 'Lstm': did you mean 'lstm'[?] choose one of plastic"),
        ({"core": "plastik"}, "unknown core 'plastik': did you mean 'plastic'[?]"),
        ({"core": ["lstm"]}, r"unknown core \['lstm'\]: did you mean"),
        ({"core": None}, "unknown core None: choose one of"),
        ({"core": "lstm", "backend": "numba"}, "core 'lstm' takes no backend"),
        ({"backend": "cuda"}, "unknown backend 'cuda': choose one of 'auto'"),
        ({"net_arch": [64, 64]}, "no argument 'net_arch': .*set hidden_size"),
        ({"activation_fn": torch.nn.ReLU}, "no argument 'activation_fn': .*choose core"),
        ({"use_sde": True}, "no argument 'use_sde': .*gSDE.*leave it out"),
        ({"lstm_hidden_size": 64}, "no argument 'lstm_hidden_size': write hidden_size, with core='lstm'"),
        ({"hiden_size": 64}, "no argument 'hiden_size': did you mean 'hidden_size'[?]"),
        ({"quux": 64}, "no argument 'quux': it has core, hidden_size, .*, optimizer_kwargs$"),
        (["core"], r"policy_kwargs must be a dict such as .*, not \['core'\]"),
        (
            {"features_extractor_class": NatureCNN},
            r"no NatureCNN with .* can be made for observations in Discr",
        ),
        ({"features_extractor_class": "NatureCNN"}, "no 'NatureCNN' with .*leave out both for one that fits"),
        (
            {"features_extractor_kwargs": {"features_dim": 3}},
            "no FlattenExtractor with features_extractor_kwargs={'features_dim': 3} .*unexpected keyword",
        ),
        ({"hidden_size": 0}, "hidden_size must be an integer above 0"),
        ({"eta": NAN, "bound_eta": False}, "eta must be a finite number"),
    ],
)
def test_a_wrong_option_of_the_policy_is_named(policy_kwargs: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        build(policy_kwargs=policy_kwargs)
    assert "\n" not in str(caught.value)


def test_every_argument_of_sb3s_policies_is_taken_or_explained() -> None:
    """Those of a later SB3, too, must be looked at."""
    theirs = [
        name
        for policy in (BasePolicy, BaseModel, ActorCriticPolicy, RecurrentActorCriticPolicy)
        for name, parameter in signature(policy).parameters.items()
        if parameter.kind not in (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)
    ]
    ours = signature(PlasticPolicy).parameters
    assert "net_arch" in theirs
    for name in {*theirs} - {*ours}:
        with pytest.raises(ValueError, match=f"has no argument '{name}'") as caught:
            build(policy_kwargs={name: None})
        assert "it has" not in str(caught.value), f"{name} is not explained"
        assert "did you mean" not in str(caught.value), f"{name} is not explained"
        assert "\n" not in str(caught.value)


def test_a_subclass_of_the_policy_may_have_more_arguments() -> None:
    class More(PlasticPolicy):
        def __init__(self, *args: Any, extra: int = 0, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.extra = extra

    kwargs = {"hidden_size": 3, "extra": 5}
    assert RecurrentA2C(More, IdentityEnv(2), policy_kwargs=kwargs).policy.extra == 5  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match="no argument 'net_arch'"):
        RecurrentA2C(More, IdentityEnv(2), policy_kwargs={**kwargs, "net_arch": []})


@pytest.mark.parametrize("backend", ["auto", "numba", "adjoint", "reference"])
def test_a_backend_of_the_policy_computes_the_same_and_is_saved(backend: str, tmp_path: Path) -> None:
    def trained(**kwargs: Any) -> RecurrentA2C:
        env = make_vec_env("PlasticMaze-v0", 2, seed=5, size=5, episode_length=10)
        kwargs |= {"hidden_size": 5, **maze_settings.POLICY}
        return build(env, n_steps=10, seed=0, policy_kwargs=kwargs).learn(60)

    usual, other = trained(), trained(backend=backend)
    assert usual.policy.core.backend == "auto"
    assert other.policy.core.backend == backend
    assert other.env is not None
    assert can_play(other.policy, other.env) is (backend == "auto")
    for (name, ours), theirs in zip(usual.policy.named_parameters(), other.policy.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5, msg=lambda m, n=name: f"{n}: {m}")
    other.save(tmp_path / "agent")
    loaded = RecurrentA2C.load(tmp_path / "agent", device="cpu")
    assert loaded.policy.core.backend == backend


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
    kinds = {
        "lstm": LSTM,
        "gru": GRU,
        "feedforward": FeedForward,
        "plastic_lstm": PlasticLSTM,
        "plastic_gru": PlasticGRU,
    }
    assert type(made) is kinds.get(core, PlasticRNN)
    modes = {"plastic": "full", "homogeneous": "shared", "rnn": "none"}
    modes |= {"plastic_lstm": "full", "plastic_gru": "full"}
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


@pytest.mark.parametrize(
    ("policy", "advice"),
    [
        *(
            (name, r": write 'PlasticPolicy', which")
            for name in ("MlpPolicy", "CnnPolicy", "MultiInputPolicy")
        ),
        *(
            (name, r": write 'PlasticPolicy', with policy_kwargs=dict\(core='lstm'\)")
            for name in ("MlpLstmPolicy", "CnnLstmPolicy", "MultiInputLstmPolicy")
        ),
    ],
)
def test_what_to_write_instead_of_a_policy_of_sb3_is_said(policy: str, advice: str) -> None:
    with pytest.raises(ValueError, match=f"not '{policy}'{advice}") as caught:
        RecurrentA2C(policy, IdentityEnv(2))
    assert "\n" not in str(caught.value)


def test_an_agent_without_an_environment_is_refused() -> None:
    with pytest.raises(ValueError, match="env must be an environment, its id, or a VecEnv, not None"):
        RecurrentA2C("PlasticPolicy", None)  # type: ignore[arg-type]
