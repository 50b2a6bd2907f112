"""One learner of SB3 and one of ours without memory, trained alike."""

from typing import Any

import gymnasium as gym
import maze_settings
import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor, nn

from plasticrl.agents.recurrent.on_policy_algorithm import RecurrentOnPolicyAlgorithm

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
    ours_of: Any, theirs_of: Any, envs: Any, optimizer: str = "rmsprop", updates: int = 5, **options: Any
) -> tuple[RecurrentOnPolicyAlgorithm, OnPolicyAlgorithm]:
    """Train one learner of each class with the same start, seeds and settings for some rollouts."""
    optimizer_class, optimizer_kwargs = OPTIMIZERS[optimizer]
    shared: dict[str, Any] = {
        "learning_rate": lambda remaining: 0.01 * remaining,
        "n_steps": 6,
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
    theirs = theirs_of(
        "MlpPolicy",
        envs(),
        **shared,
        policy_kwargs={**kwargs, "net_arch": [], "features_extractor_class": TanhLayer},
    )
    ours = ours_of(
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
        model.learn(updates * shared["n_steps"] * model.n_envs)
    assert ours._n_updates == theirs._n_updates
    for name, value in ours.policy.state_dict().items():
        assert not torch.equal(value, start[name]), f"{name} was not trained"
    return ours, theirs


def assert_equal_parameters(ours: RecurrentOnPolicyAlgorithm, theirs: OnPolicyAlgorithm) -> None:
    """Assert that all parameters are equal to 1e-6."""
    expected = theirs.policy.state_dict()
    for name, value in ours.policy.state_dict().items():
        other = expected[name.replace("core.linear", "features_extractor.linear")]
        torch.testing.assert_close(value, other, rtol=0, atol=1e-6, msg=lambda m, n=name: f"{n}: {m}")
