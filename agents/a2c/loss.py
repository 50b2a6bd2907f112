"""The loss of advantage actor-critic on a rollout, and the test of its gradient."""

from __future__ import annotations

import math
from functools import reduce
from math import isfinite
from typing import NamedTuple

import torch
from stable_baselines3.common.distributions import (
    BernoulliDistribution,
    CategoricalDistribution,
    DiagGaussianDistribution,
    Distribution,
    MultiCategoricalDistribution,
)
from torch import Tensor
from torch.nn import functional


def concentration(distribution: Distribution) -> Tensor:
    """Probability that two draws from the policy agree: ``sum p²``, or ``∫ p²`` for a density.

    The penalty of Miconi et al. 2018 (experiment 4); minus its logarithm is the Rényi entropy of
    order 2. It is least, 1 / number of actions, for the uniform policy. Actions of several parts
    multiply.

    Args:
        distribution: of a Discrete, MultiDiscrete, MultiBinary or Box action, batch ``(N,)``.

    Returns:
        ``(N,)``.

    Raises:
        TypeError: there is no closed form for this distribution.
    """
    if isinstance(distribution, CategoricalDistribution):
        return _sum_of_squares(distribution.distribution.logits)
    if isinstance(distribution, MultiCategoricalDistribution):
        return reduce(torch.mul, (_sum_of_squares(part.logits) for part in distribution.distribution))
    if isinstance(distribution, BernoulliDistribution):
        p = distribution.distribution.probs
        return (p.square() + (1 - p).square()).prod(dim=-1)
    if type(distribution) is DiagGaussianDistribution:  # the squashed one derives from it
        return (1 / (2 * math.sqrt(math.pi) * distribution.distribution.stddev)).prod(dim=-1)
    raise TypeError(
        f"no closed form of the concentration of {type(distribution).__name__}: set concentration_coef=0"
    )


def _sum_of_squares(log_probs: Tensor) -> Tensor:
    return (2 * log_probs).exp().sum(dim=-1)  # torch.distributions normalises its logits


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


_DECAY = 0.95


class UsualGradient:
    """A running geometric mean of gradient norms, for detecting outliers.

    Backpropagation through hundreds of steps occasionally yields a gradient thousands of times larger than
    the previous one. Clipping restores its length, but its direction is arbitrary.

    Attributes:
        usual: the mean; 0 before the first norm.
    """

    usual: float = 0.0

    def admits(self, norm: float, max_norm: float, max_ratio: float) -> bool:
        """Return True unless the gradient is an outlier, and update the mean.

        An outlier enters the mean as the largest norm that would have been accepted. If gradients stay
        larger, they are therefore accepted again: with a ratio of 10, after about twenty updates per factor
        of 10.

        Args:
            norm: norm of the gradient before clipping.
            max_norm: the clipping norm; smaller norms count as this value and are thus never outliers.
            max_ratio: ratio to the mean above which a norm is an outlier; infinite accepts all.
        """
        if not isfinite(max_ratio):
            return True
        usual = max(self.usual, max_norm)
        limit = max_ratio * usual
        self.usual = usual**_DECAY * min(max(norm, max_norm), limit) ** (1 - _DECAY)
        return norm <= limit


def check_norm(name: str, norm: object) -> float:
    """Return the norm of a gradient that a file holds.

    Raises:
        ValueError: it is not a finite float of at least 0; the message names it.
    """
    if type(norm) is not float or not isfinite(norm) or norm < 0:
        raise ValueError(f"{name}: a gradient's norm is finite and at least 0, not {norm!r}")
    return norm
