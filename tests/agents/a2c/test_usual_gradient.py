"""Absurd gradients are left out, longer ones are got used to."""

import math
from itertools import pairwise
from typing import Any

import pytest
import torch
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.envs import IdentityEnv

from plasticrl.agents import RecurrentA2C
from plasticrl.agents.a2c.loss import UsualGradient


def admitted(norms: list[float], max_norm: float = 1.0, max_ratio: float = 10.0) -> list[bool]:
    usual = UsualGradient()
    return [usual.admits(norm, max_norm, max_ratio) for norm in norms]


def test_only_what_is_far_above_the_usual_is_left_out() -> None:
    assert admitted([3.0] * 200 + [29.0]) == [True] * 201
    assert admitted([3.0] * 200 + [31.0]) == [True] * 200 + [False]


def test_what_is_not_clipped_is_never_left_out() -> None:
    """After any number of zeros, too."""
    assert all(admitted([0.0] * 1000 + [9.9]))
    assert not admitted([0.0] * 1000 + [10.1])[-1]


def test_the_mean_is_geometric() -> None:
    usual = UsualGradient()
    norms = [2.0, 8.0, 4.0, 1.0]
    for norm in norms:
        usual.admits(norm, 1.0, 1e6)
    logs = sum(0.05 * 0.95 ** (3 - k) * math.log(norm) for k, norm in enumerate(norms))
    assert usual.usual == pytest.approx(math.exp(logs))  # starting from max_norm, whose logarithm is 0


def test_one_absurd_gradient_does_not_hide_the_next() -> None:
    assert admitted([2.0] * 100 + [1e9] * 3)[-3:] == [False] * 3


def test_gradients_that_stay_long_are_followed_again() -> None:
    after = admitted([2.0] * 100 + [100.0] * 50)[100:]
    assert not after[0]
    assert after.index(True) < 20
    assert all(after[after.index(True) :])


def test_without_a_ratio_all_are_followed_and_none_is_counted() -> None:
    usual = UsualGradient()
    assert usual.admits(1e30, math.inf, math.inf)
    assert usual.admits(1e30, 1.0, math.inf)
    assert usual.usual == 0


@pytest.mark.parametrize("core", ["plastic", "rnn"])
def test_an_update_that_is_left_out_changes_no_parameter(core: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The agent learns from three rollouts; the gradient of the second is a million times too long."""
    model = RecurrentA2C(
        *("PlasticPolicy", IdentityEnv(2)),
        n_steps=4,
        policy_kwargs={"core": core, "hidden_size": 3},
        max_grad_norm=10.0,
        max_grad_ratio=10.0,
        seed=0,
        device="cpu",
    )
    clip, seen = torch.nn.utils.clip_grad_norm_, list[list[torch.Tensor]]()

    def clipped(parameters: Any, max_norm: float) -> torch.Tensor:
        norm = clip(parameters, max_norm)
        return norm * (1e6 if len(seen) == 2 else 1)

    class See(BaseCallback):
        def _on_step(self) -> bool:
            return True

        def _on_rollout_start(self) -> None:
            seen.append([one.detach().clone() for one in model.policy.parameters()])

    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", clipped)
    model.learn(12, callback=See())
    seen.append(list(model.policy.parameters()))
    changed = [
        any(not torch.equal(a, b) for a, b in zip(before, after, strict=True))
        for before, after in pairwise(seen)
    ]
    assert changed == [True, False, True]
    assert model._n_skipped == 1
    assert model._n_updates == 3
