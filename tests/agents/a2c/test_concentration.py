"""The concentration of a policy against counting all actions, or integrating over them."""

from itertools import product

import pytest
import torch
from scipy.integrate import dblquad
from stable_baselines3.common.distributions import (
    BernoulliDistribution,
    CategoricalDistribution,
    DiagGaussianDistribution,
    Distribution,
    MultiCategoricalDistribution,
    SquashedDiagGaussianDistribution,
)
from torch import Tensor

from plasticrl.agents.a2c.loss import concentration


def logits(*shape: int) -> Tensor:
    return 2 * torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def by_counting(distribution: Distribution, actions: Tensor) -> Tensor:
    """Sum of squared probabilities over all ``actions``; their probabilities must make up 1."""
    p = torch.stack([distribution.log_prob(a.expand(4, *a.shape)).exp() for a in actions])
    torch.testing.assert_close(p.sum(0), torch.ones(4, dtype=torch.float64))
    return p.square().sum(0)


def test_discrete() -> None:
    distribution = CategoricalDistribution(5).proba_distribution(logits(4, 5))
    expected = by_counting(distribution, torch.arange(5))
    torch.testing.assert_close(concentration(distribution), expected)


def test_multi_discrete() -> None:
    distribution = MultiCategoricalDistribution([2, 3, 4]).proba_distribution(logits(4, 9))
    expected = by_counting(distribution, torch.tensor(list(product(range(2), range(3), range(4)))))
    torch.testing.assert_close(concentration(distribution), expected)


def test_multi_binary() -> None:
    distribution = BernoulliDistribution(3).proba_distribution(logits(4, 3))
    expected = by_counting(distribution, torch.tensor(list(product([0.0, 1.0], repeat=3))).double())
    torch.testing.assert_close(concentration(distribution), expected)


def test_box() -> None:
    mean, log_std = logits(1, 2), torch.tensor([-0.7, 0.4], dtype=torch.float64)
    distribution = DiagGaussianDistribution(2).proba_distribution(mean, log_std)

    def squared_density(b: float, a: float) -> float:
        action = torch.tensor([[a, b]], dtype=torch.float64)
        return float((2 * distribution.log_prob(action)).exp())

    (a, b), (sa, sb) = mean[0].tolist(), log_std.exp().tolist()
    integral, _ = dblquad(
        squared_density, a - 7 * sa, a + 7 * sa, b - 7 * sb, b + 7 * sb, epsabs=1e-5, epsrel=1e-5
    )
    assert concentration(distribution).item() == pytest.approx(integral, rel=1e-4)


def test_it_is_least_for_the_uniform_and_1_for_the_certain_policy() -> None:
    policy = CategoricalDistribution(4)
    assert concentration(policy.proba_distribution(torch.zeros(1, 4))).item() == pytest.approx(0.25)
    certain = torch.tensor([[1000.0, 0, 0, 0]])
    assert concentration(policy.proba_distribution(certain)).item() == pytest.approx(1)


def test_its_gradient_spreads_the_probabilities() -> None:
    values = torch.tensor([[2.0, 0.0, 0.0]], requires_grad=True)
    concentration(CategoricalDistribution(3).proba_distribution(values)).sum().backward()
    assert values.grad is not None
    assert values.grad[0, 0] > 0 > values.grad[0, 1]


def test_a_distribution_without_a_closed_form_is_named() -> None:
    squashed = SquashedDiagGaussianDistribution(1).proba_distribution(torch.zeros(1, 1), torch.zeros(1))
    with pytest.raises(TypeError, match="SquashedDiagGaussianDistribution"):
        concentration(squashed)
