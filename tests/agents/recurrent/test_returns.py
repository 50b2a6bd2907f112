"""Returns and advantages: by hand, and against SB3's buffer."""

from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.buffers import RolloutBuffer

from plasticrl.agents.recurrent.rollout import returns_and_advantages


def column(*values: Any, dtype: Any = np.float32) -> Any:
    return np.array(values, dtype=dtype)[:, None]


def compute(gamma: float, gae_lambda: float, **changes: Any) -> tuple[list[float], list[float]]:
    """Four steps of one env, rewards 1, 2, 3, 4, values 10, 20, 30, 40, then a value of 50."""
    arguments = {
        "rewards": column(1, 2, 3, 4),
        "values": column(10, 20, 30, 40),
        "episode_starts": column(True, False, False, False, dtype=np.bool_),
        "last_values": np.array([50], dtype=np.float32),
        "last_dones": np.array([False]),
        **changes,
    }
    returns, advantages = returns_and_advantages(**arguments, gamma=gamma, gae_lambda=gae_lambda)
    assert returns.dtype == advantages.dtype == np.float32
    return returns.flatten().tolist(), advantages.flatten().tolist()


def test_discounted_returns_with_a_bootstrap() -> None:
    # 4 + 50/2 = 29; 3 + 29/2 = 17.5; 2 + 17.5/2 = 10.75; 1 + 10.75/2 = 6.375
    returns, advantages = compute(0.5, 1.0)
    assert returns == [6.375, 10.75, 17.5, 29]
    assert advantages == [6.375 - 10, 10.75 - 20, 17.5 - 30, 29 - 40]


def test_the_end_of_an_episode_is_not_bootstrapped() -> None:
    # 4; 3 + 4/2 = 5; 2 + 5/2 = 4.5; 1 + 4.5/2 = 3.25
    assert compute(0.5, 1.0, last_dones=np.array([True]))[0] == [3.25, 4.5, 5, 4]


def test_nothing_crosses_a_border_inside() -> None:
    # a new episode begins at the third step: 4 + 25 = 29; 3 + 14.5 = 17.5; then 2; 1 + 2/2 = 2
    starts = column(True, False, True, False, dtype=np.bool_)
    assert compute(0.5, 1.0, episode_starts=starts)[0] == [2, 2, 17.5, 29]


def test_lambda_0_looks_one_step_ahead() -> None:
    # r + v'/2: 1 + 10, 2 + 15, 3 + 20, 4 + 25
    returns, advantages = compute(0.5, 0.0)
    assert returns == [11, 17, 23, 29]
    assert advantages == [1, -3, -7, -11]


def test_lambda_mixes_geometrically() -> None:
    # differences 1, -3, -7, -11 (above), discounted by gamma * lambda = 1/4:
    # -11; -7 - 11/4 = -9.75; -3 - 9.75/4 = -5.4375; 1 - 5.4375/4 = -0.359375
    assert compute(0.5, 0.5)[1] == [-0.359375, -5.4375, -9.75, -11]


def test_gamma_0_is_the_reward() -> None:
    assert compute(0.0, 1.0)[0] == [1, 2, 3, 4]


def test_the_arguments_are_not_changed() -> None:
    rewards = column(1, 2, 3, 4)
    compute(0.5, 0.5, rewards=rewards)
    assert rewards.flatten().tolist() == [1, 2, 3, 4]


@pytest.mark.parametrize("gamma", [0.0, 0.9, 0.99, 1.0])
@pytest.mark.parametrize("gae_lambda", [0.0, 0.95, 1.0])
@pytest.mark.parametrize("seed", range(3))
def test_equal_to_sb3s_buffer(gamma: float, gae_lambda: float, seed: int) -> None:
    steps, envs = 40, 5
    rng = np.random.default_rng(seed)
    rewards, values = rng.normal(size=(2, steps, envs)).astype(np.float32)
    starts = rng.random((steps, envs)) < 0.15
    last_values, last_dones = rng.normal(size=envs).astype(np.float32), np.arange(envs) % 2 == 0
    assert starts[1:].any()

    box = spaces.Box(-1, 1, (1,))
    buffer = RolloutBuffer(steps, box, box, "cpu", gae_lambda=gae_lambda, gamma=gamma, n_envs=envs)
    nothing = np.zeros((envs, 1), dtype=np.float32)
    for t in range(steps):
        buffer.add(nothing, nothing, rewards[t], starts[t], torch.from_numpy(values[t]), torch.zeros(envs))
    buffer.compute_returns_and_advantage(torch.from_numpy(last_values), last_dones)

    returns, advantages = returns_and_advantages(
        rewards, values, starts, last_values, last_dones, gamma=gamma, gae_lambda=gae_lambda
    )
    # float32, whose rounding adds up over the steps; a wrong term would differ by 0.1 and more
    np.testing.assert_allclose(returns, buffer.returns, rtol=0, atol=1e-5)
    np.testing.assert_allclose(advantages, buffer.advantages, rtol=0, atol=1e-5)
