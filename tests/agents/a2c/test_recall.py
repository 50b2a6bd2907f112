"""A task that needs memory: every core with memory solves it, the one without cannot."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import DummyVecEnv

from plasticrl.agents import CORE_NAMES, CoreName, RecurrentA2C

CUES = 4
LENGTH = 4
CHANCE = 1 / CUES


class Recall(gym.Env[Any, int]):
    """A cue is shown at the first step and must be named at the last, where nothing tells it any more.

    An observation is the cue as one-hot (zeros after the first step) and whether this is the last
    step. Naming the cue there pays 1, nothing else pays. Without memory the best is a constant
    guess: ``CHANCE`` per episode.
    """

    observation_space = spaces.Box(0, 1, (CUES + 1,), np.float32)
    action_space = spaces.Discrete(CUES)
    episode_length = LENGTH

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.steps, self.cue = 0, int(self.np_random.integers(CUES))
        return np.eye(CUES + 1, dtype=np.float32)[self.cue], {}

    def step(self, action: int) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        reward = float(self.steps == LENGTH - 1 and action == self.cue)
        self.steps += 1
        observation = np.zeros(CUES + 1, dtype=np.float32)
        observation[-1] = self.steps == LENGTH - 1
        return observation, reward, self.steps == LENGTH, False, {}


def share_recalled(core: CoreName, updates: int) -> float:
    """Share of 400 new episodes whose cue the trained agent names."""
    options = {"eta": 0.2, "init": "normal", "init_scale": 0.3}
    plastic = core in ("plastic", "homogeneous", "rnn")
    model = RecurrentA2C(
        "PlasticPolicy",
        make_vec_env(Recall, n_envs=32, seed=0),
        learning_rate=0.01,
        concentration_coef=0.05,
        policy_kwargs={"core": core, "hidden_size": 16, **(options if plastic else {})},
        seed=0,
        device="cpu",
    )
    model.learn(updates * LENGTH * 32)
    mean, _ = evaluate_policy(
        model, make_vec_env(Recall, n_envs=40, seed=1, vec_env_cls=DummyVecEnv), n_eval_episodes=400
    )
    return float(mean)


@pytest.mark.parametrize("core", [name for name in CORE_NAMES if name != "feedforward"])
def test_every_core_with_memory_recalls_the_cue(core: CoreName) -> None:
    assert share_recalled(core, updates=150) > 0.9


def test_without_memory_it_cannot_be_recalled() -> None:
    """A binomial share of 400 around 1/4 stays below 0.35 (4.6 sigma)."""
    assert share_recalled("feedforward", updates=150) < 0.35
