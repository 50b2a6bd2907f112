"""Every kind of action with every kind of observation: training, acting, saving."""

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.envs import (
    FakeImageEnv,
    IdentityEnv,
    IdentityEnvBox,
    IdentityEnvMultiBinary,
    IdentityEnvMultiDiscrete,
)
from stable_baselines3.common.vec_env import VecTransposeImage

from plasticrl.agents import CORE_NAMES, CoreName, RecurrentA2C

ACTIONS = {
    "discrete": spaces.Discrete(3),
    "multi-discrete": spaces.MultiDiscrete([2, 3]),
    "multi-binary": spaces.MultiBinary(3),
    "box": spaces.Box(-1, 1, (2,), np.float32),
    "box of two dimensions": spaces.Box(-2, 2, (2, 3), np.float32),
}
IMAGE = spaces.Box(0, 255, (36, 36, 1), np.uint8)
OBSERVATIONS = {
    "box": spaces.Box(-1, 1, (4,), np.float32),
    "box of two dimensions": spaces.Box(-1, 1, (2, 3), np.float64),
    "discrete": spaces.Discrete(5),
    "multi-discrete": spaces.MultiDiscrete([2, 5]),
    "multi-binary": spaces.MultiBinary(6),
    "dict": spaces.Dict({"a": spaces.Box(-1, 1, (2,)), "b": spaces.Discrete(3), "c": spaces.MultiBinary(2)}),
    "image": IMAGE,
    "dict with image": spaces.Dict({"a": spaces.Box(-1, 1, (2,)), "image": IMAGE}),
}


class Draws(gym.Env[Any, Any]):
    """Draws observations; some episodes are cut off, some end. Refuses actions of other spaces."""

    def __init__(self, observation_space: spaces.Space[Any], action_space: spaces.Space[Any]) -> None:
        self.observation_space, self.action_space = observation_space, action_space
        self.episodes = 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        self.episodes += 1
        self.steps = 0
        return self.observation_space.sample(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        assert self.action_space.contains(action), action
        self.steps += 1
        ends = self.episodes % 2 == 0 and self.steps == 3
        return self.observation_space.sample(), 1.0, ends, self.steps == 4, {}


@pytest.mark.parametrize("actions", ACTIONS)
@pytest.mark.parametrize("observations", OBSERVATIONS)
def test_it_learns_acts_and_is_saved(actions: str, observations: str, tmp_path: Path) -> None:
    space = OBSERVATIONS[observations]
    env = make_vec_env(lambda: Draws(space, ACTIONS[actions]), n_envs=3, seed=0)
    model = RecurrentA2C(
        "PlasticPolicy", env, n_steps=6, seed=0, device="cpu", policy_kwargs={"hidden_size": 5}
    )
    before = {name: p.clone() for name, p in model.policy.named_parameters()}
    model.learn(2 * 6 * 3)
    for name, p in model.policy.named_parameters():
        assert torch.isfinite(p).all(), name
        if not name.startswith("features_extractor"):  # tanh units of an image may not fire at all
            assert not torch.equal(p, before[name]), name

    one, _ = model.predict(space.sample())
    assert ACTIONS[actions].contains(one if one.shape else int(one))
    several, state = model.predict(model.env.reset(), None, np.ones(3, dtype=bool), deterministic=True)  # type: ignore[union-attr]
    assert len(several) == 3

    model.save(tmp_path / "model.zip")
    loaded = RecurrentA2C.load(tmp_path / "model.zip", device="cpu")
    obs: Any = model._last_obs
    expected, _ = model.predict(obs, state, deterministic=True)
    assert np.array_equal(loaded.predict(obs, state, deterministic=True)[0], expected)


@pytest.mark.parametrize(
    ("env", "goal"),
    [
        (lambda: IdentityEnv(4, ep_length=10), 0.9),
        (lambda: IdentityEnvMultiDiscrete(3, ep_length=10), 0.9),
        (lambda: IdentityEnvMultiBinary(3, ep_length=10), 0.9),
    ],
    ids=["discrete", "multi-discrete", "multi-binary"],
)
def test_it_learns_to_repeat_what_it_sees(env: Any, goal: float) -> None:
    """By chance one of 4, 9 or 8 actions is right."""
    model = RecurrentA2C(
        "PlasticPolicy",
        make_vec_env(env, n_envs=16, seed=0),
        learning_rate=0.02,
        n_steps=5,
        gamma=0.0,
        seed=0,
        device="cpu",
        policy_kwargs={"hidden_size": 16},
    )
    model.learn(200 * 5 * 16)
    venv = make_vec_env(env, n_envs=50, seed=1)
    actions, _ = model.predict(venv.reset(), deterministic=True)
    right = [e.unwrapped._get_reward(a) for e, a in zip(venv.envs, actions, strict=True)]  # type: ignore[attr-defined]
    assert np.mean(right) > goal


def test_it_learns_a_continuous_action() -> None:
    """The reward falls with the distance to the number seen; 0 for every number has an error of 1/2."""
    env = make_vec_env(lambda: CloseTo(), n_envs=16, seed=0)
    model = RecurrentA2C(
        "PlasticPolicy",
        env,
        learning_rate=0.01,
        n_steps=5,
        gamma=0.0,
        concentration_coef=0.0,
        seed=0,
        device="cpu",
        policy_kwargs={"hidden_size": 16, "log_std_init": -1.0},
    )
    model.learn(300 * 5 * 16)
    seen = np.linspace(-1, 1, 21, dtype=np.float32)[:, None]
    assert np.abs(model.predict(seen, deterministic=True)[0] - seen).mean() < 0.2


class CloseTo(IdentityEnvBox):
    def _get_reward(self, action: Any) -> float:
        return -float(np.abs(self.state - action).sum())


@pytest.mark.parametrize("core", CORE_NAMES)
@pytest.mark.parametrize("channel_first", [False, True])
def test_images_go_through_a_convolution(core: CoreName, channel_first: bool) -> None:
    def env() -> FakeImageEnv:
        return FakeImageEnv(screen_height=40, screen_width=40, n_channels=3, channel_first=channel_first)

    model = RecurrentA2C(
        "PlasticPolicy",
        make_vec_env(env, n_envs=2),
        n_steps=4,
        device="cpu",
        policy_kwargs={"core": core, "hidden_size": 5, "features_extractor_kwargs": {"features_dim": 9}},
    )
    assert isinstance(model.env, VecTransposeImage) is not channel_first
    assert model.policy.core.input_size == 9
    model.learn(16)
    action, _ = model.predict(env().observation_space.sample())
    assert 0 <= action < 6


def test_other_actions_are_refused() -> None:
    env = Draws(OBSERVATIONS["box"], spaces.Tuple([spaces.Discrete(2)]))
    with pytest.raises(AssertionError, match="only supports"):
        RecurrentA2C("PlasticPolicy", env)
