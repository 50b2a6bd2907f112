"""The loss of proximal policy optimization (Schulman et al. 2017) on a minibatch."""

from __future__ import annotations

from typing import NamedTuple

import torch
from stable_baselines3.common.distributions import Distribution
from torch import Tensor
from torch.nn import functional


class PPOLoss(NamedTuple):
    """Loss terms of PPO, each a mean over N steps; ``total`` is their weighted sum.

    ``approx_kl`` and ``clip_fraction`` have no gradient: the divergence of the new policy from that of the
    rollout (Schulman's estimator, mean of ``r - 1 - log r``), and the share of steps whose ratio r of
    probabilities is clipped.
    """

    total: Tensor
    policy_loss: Tensor
    value_loss: Tensor
    entropy_loss: Tensor
    approx_kl: Tensor
    clip_fraction: Tensor


def ppo_loss(
    distribution: Distribution,
    actions: Tensor,
    old_log_probs: Tensor,
    values: Tensor,
    old_values: Tensor,
    returns: Tensor,
    advantages: Tensor,
    *,
    clip_range: float,
    clip_range_vf: float | None,
    vf_coef: float,
    ent_coef: float,
) -> PPOLoss:
    """Return the PPO loss: clipped policy gradient, value error, and an entropy bonus.

    Args:
        distribution: distribution of the actions, batch ``(N,)``.
        actions: the actions taken, in the shape expected by the distribution's ``log_prob``.
        old_log_probs: their log-probabilities in the rollout, ``(N,)``.
        values: value estimates, ``(N,)``.
        old_values: those of the rollout, ``(N,)``.
        returns: targets of the values, ``(N,)``.
        advantages: ``(N,)``, without gradient.
        clip_range: limit of the ratio's distance from 1, beyond which a step has no gradient.
        clip_range_vf: limit of a value's distance from the old one, likewise; None for no limit.
        vf_coef: weight of the value loss.
        ent_coef: weight of the entropy.
    """
    log_ratio = distribution.log_prob(actions) - old_log_probs
    ratio = log_ratio.exp()
    clipped = ratio.clamp(1 - clip_range, 1 + clip_range)
    policy_loss = -torch.minimum(advantages * ratio, advantages * clipped).mean()
    if clip_range_vf is not None:
        values = old_values + (values - old_values).clamp(-clip_range_vf, clip_range_vf)
    value_loss = functional.mse_loss(returns, values)
    entropy = distribution.entropy()
    assert entropy is not None
    entropy_loss = -entropy.mean()
    with torch.no_grad():
        approx_kl = (ratio - 1 - log_ratio).mean()
        clip_fraction = ((ratio - 1).abs() > clip_range).float().mean()
    total = policy_loss + vf_coef * value_loss + ent_coef * entropy_loss
    return PPOLoss(total, policy_loss, value_loss, entropy_loss, approx_kl, clip_fraction)
