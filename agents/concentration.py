"""How concentrated a policy is: the paper's penalty, in place of an entropy bonus."""

import math
from functools import reduce

import torch
from stable_baselines3.common.distributions import (
    BernoulliDistribution,
    CategoricalDistribution,
    DiagGaussianDistribution,
    Distribution,
    MultiCategoricalDistribution,
)
from torch import Tensor


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
