"""With the memory off, the agent is SB3's A2C: the same parameters after five updates."""

from typing import Any

import gymnasium as gym
import maze_settings
import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3 import A2C
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, VecNormalize
from torch import Tensor, nn

from plasticrl.agents import RecurrentA2C

HIDDEN = 8


class TanhLayer(BaseFeaturesExtractor):
    """Does outside SB3's heads what the core without memory does in ours."""

    def __init__(self, observation_space: spaces.Box) -> None:
        super().__init__(observation_space, HIDDEN)
        self.linear = nn.Linear(observation_space.shape[0], HIDDEN)

    def forward(self, observations: Tensor) -> Tensor:
        return torch.tanh(self.linear(observations))


class RandomWalk(gym.Env[Any, Any]):
    """Observations of 3 numbers, a reward that depends on the action; ends either way, often."""

    observation_space = spaces.Box(-np.inf, np.inf, (3,))

    def __init__(self, action_space: spaces.Space[Any]) -> None:
        self.action_space = action_space

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        return self._observe(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        end = self.np_random.random()
        reward = float(np.sum(action) * self.last[0] + self.np_random.normal())
        return self._observe(), reward, end < 0.08, 0.08 < end < 0.25, {}

    def _observe(self) -> Any:
        self.last = self.np_random.normal(size=3).astype(np.float32)
        return self.last


ACTIONS = {
    "discrete": spaces.Discrete(3),
    "multi-discrete": spaces.MultiDiscrete([2, 3]),
    "multi-binary": spaces.MultiBinary(3),
    "box": spaces.Box(-1, 1, (2,), np.float32),
}
OPTIMIZERS = {
    "rmsprop": (torch.optim.RMSprop, {"alpha": 0.99, "eps": 1e-5}),
    "adam": (torch.optim.Adam, {"eps": 1e-5}),
}


def walks(space: spaces.Space[Any]) -> VecEnv:
    return make_vec_env(lambda: RandomWalk(space), n_envs=4, seed=5)


def train_both(
    envs: Any, optimizer: str = "rmsprop", updates: int = 5, n_steps: int = 6, **options: Any
) -> tuple[RecurrentA2C, A2C]:
    optimizer_class, optimizer_kwargs = OPTIMIZERS[optimizer]
    shared: dict[str, Any] = {
        "learning_rate": lambda remaining: 0.01 * remaining,
        "n_steps": n_steps,
        "gamma": 0.95,
        "gae_lambda": 1.0,
        "normalize_advantage": False,
        "vf_coef": 0.4,
        "ent_coef": 0.0,
        "max_grad_norm": 0.5,
        "seed": 3,
        "device": "cpu",
        **options,
    }
    kwargs = {"optimizer_class": optimizer_class, "optimizer_kwargs": optimizer_kwargs}
    theirs = A2C(
        "MlpPolicy",
        envs(),
        **shared,
        policy_kwargs={**kwargs, "net_arch": [], "features_extractor_class": TanhLayer},
    )
    ours = RecurrentA2C(
        "PlasticPolicy",
        envs(),
        **shared,
        policy_kwargs={**kwargs, "core": "feedforward", "hidden_size": HIDDEN, **maze_settings.POLICY},
    )
    start = {
        name.replace("features_extractor.linear", "core.linear"): value.clone()
        for name, value in theirs.policy.state_dict().items()
        if not name.startswith(("pi_features_extractor", "vf_features_extractor"))
    }
    ours.policy.load_state_dict(start)
    for model in (theirs, ours):
        assert model.env is not None
        model.env.seed(7)
        torch.manual_seed(11)
        model.learn(updates * n_steps * model.n_envs)
        assert model._n_updates == updates
    for name, value in ours.policy.state_dict().items():
        assert not torch.equal(value, start[name]), f"{name} was not trained"
    return ours, theirs


def assert_equal_parameters(ours: RecurrentA2C, theirs: A2C) -> None:
    expected = theirs.policy.state_dict()
    for name, value in ours.policy.state_dict().items():
        other = expected[name.replace("core.linear", "features_extractor.linear")]
        torch.testing.assert_close(value, other, rtol=0, atol=1e-6, msg=lambda m, n=name: f"{n}: {m}")


@pytest.fixture(autouse=True)
def _separate_starts() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize("actions", ACTIONS)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_five_updates(actions: str, optimizer: str) -> None:
    ours, theirs = train_both(lambda: walks(ACTIONS[actions]), optimizer)
    assert_equal_parameters(ours, theirs)


@pytest.mark.parametrize(
    "options",
    [
        {"gae_lambda": 0.7},
        {"ent_coef": 0.05},
        {"normalize_advantage": True},
        {"n_steps": 1},
        {"max_grad_norm": 1e-3},
        {"max_grad_norm": float("inf")},
        {"learning_rate": 0.003},
    ],
    ids=str,
)
def test_five_updates_with(options: dict[str, Any]) -> None:
    ours, theirs = train_both(lambda: walks(ACTIONS["discrete"]), **options)
    assert_equal_parameters(ours, theirs)


def test_five_updates_on_normalised_observations() -> None:
    ours, theirs = train_both(lambda: VecNormalize(walks(ACTIONS["discrete"]), gamma=0.95))
    assert_equal_parameters(ours, theirs)


def test_the_comparison_can_fail() -> None:
    """It sees a discount that differs in the second decimal."""
    ours, _ = train_both(lambda: walks(ACTIONS["discrete"]), gamma=0.94)
    _, theirs = train_both(lambda: walks(ACTIONS["discrete"]), gamma=0.95)
    with pytest.raises(AssertionError, match="core"):
        assert_equal_parameters(ours, theirs)


def test_the_walk_ends_both_ways() -> None:
    """Else the parity would say nothing about either."""
    env = DummyVecEnv([lambda: RandomWalk(spaces.Discrete(3))])
    env.seed(0)
    env.reset()
    ends = [
        infos[0]["TimeLimit.truncated"] for _, _, dones, infos in (env.step([0]) for _ in range(100)) if dones
    ]
    assert 3 < sum(ends) < len(ends) - 3
