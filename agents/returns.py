"""Targets of the value function and advantages of a rollout."""

import numpy as np
import numpy.typing as npt

Float = npt.NDArray[np.float32]


def returns_and_advantages(
    rewards: Float,
    values: Float,
    episode_starts: npt.NDArray[np.bool_],
    last_values: Float,
    last_dones: npt.NDArray[np.bool_],
    *,
    gamma: float,
    gae_lambda: float,
) -> tuple[Float, Float]:
    """Generalised advantage estimation (Schulman et al. 2016); with ``gae_lambda=1``, discounted returns.

    Args:
        rewards: ``(T, B)``, where an episode was truncated already with the bootstrapped value.
        values: value estimates of the observations acted on, ``(T, B)``.
        episode_starts: true where a step is the first of an episode, ``(T, B)``.
        last_values: value estimates of the observations after the last step, ``(B,)``.
        last_dones: true where the last step ended an episode, ``(B,)``.
        gamma: discount factor per step.
        gae_lambda: 1 uses whole returns, 0 one-step differences.

    Returns:
        returns ``(T, B)`` and advantages ``(T, B)``; returns are advantages plus values.
    """
    advantages = np.empty_like(rewards)
    running = np.zeros_like(last_values)
    next_values, goes_on = last_values, ~last_dones
    for t in reversed(range(len(rewards))):
        delta = rewards[t] + gamma * next_values * goes_on - values[t]
        running = delta + gamma * gae_lambda * goes_on * running
        advantages[t] = running
        next_values, goes_on = values[t], ~episode_starts[t]
    return advantages + values, advantages
