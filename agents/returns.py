"""Returns and advantages of a rollout."""

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
    """Compute generalised advantage estimates (Schulman et al. 2016); ``gae_lambda=1``: discounted returns.

    Args:
        rewards: ``(T, B)``, including the bootstrapped value at steps where an episode was truncated.
        values: value estimates of the observations acted on, ``(T, B)``.
        episode_starts: true at the first step of an episode, ``(T, B)``.
        last_values: value estimates of the observations after the last step, ``(B,)``.
        last_dones: true if the last step ended an episode, ``(B,)``.
        gamma: discount factor per step.
        gae_lambda: 1 uses full returns, 0 one-step differences.

    Returns:
        Returns ``(T, B)`` and advantages ``(T, B)``; returns are advantages plus values.
    """
    next_values = np.concatenate([values[1:], last_values[None]])
    continues = ~np.concatenate([episode_starts[1:], last_dones[None]])
    deltas = rewards + gamma * next_values * continues - values
    decays = (
        gamma * gae_lambda * continues
    )  # float64, so that rounding errors do not accumulate over the steps
    advantages = np.empty_like(rewards)
    running = np.zeros_like(last_values)
    for t in reversed(range(len(rewards))):
        running = deltas[t] + decays[t] * running
        advantages[t] = running
    return advantages + values, advantages
