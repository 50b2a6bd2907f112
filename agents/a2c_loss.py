"""The loss of advantage actor-critic on a rollout."""

from typing import NamedTuple

import torch
from stable_baselines3.common.distributions import Distribution
from torch import Tensor
from torch.nn import functional

from plasticrl.agents.concentration import concentration


class A2CLoss(NamedTuple):
    """Loss terms of advantage actor-critic, each a mean over N steps; ``total`` is their weighted sum."""

    total: Tensor
    policy_loss: Tensor
    value_loss: Tensor
    entropy_loss: Tensor
    concentration: Tensor


def a2c_loss(
    distribution: Distribution,
    actions: Tensor,
    values: Tensor,
    returns: Tensor,
    advantages: Tensor,
    *,
    vf_coef: float,
    ent_coef: float,
    concentration_coef: float,
) -> A2CLoss:
    """Return the A2C loss: policy gradient, value error, and penalties that keep the policy stochastic.

    Args:
        distribution: distribution of the actions, batch ``(N,)``.
        actions: the actions taken, in the shape expected by the distribution's ``log_prob``.
        values: value estimates, ``(N,)``.
        returns: targets of the values, ``(N,)``.
        advantages: ``(N,)``, without gradient.
        vf_coef: weight of the value loss.
        ent_coef: weight of the entropy.
        concentration_coef: weight of the concentration.
    """
    policy_loss = -(advantages * distribution.log_prob(actions)).mean()
    value_loss = functional.mse_loss(returns, values)
    entropy = distribution.entropy()
    assert entropy is not None
    entropy_loss = -entropy.mean()
    # Computed only with a non-zero weight: some distributions have no closed form.
    penalty = concentration(distribution).mean() if concentration_coef else torch.zeros_like(entropy_loss)
    total = policy_loss + vf_coef * value_loss + ent_coef * entropy_loss + concentration_coef * penalty
    return A2CLoss(total, policy_loss, value_loss, entropy_loss, penalty)
