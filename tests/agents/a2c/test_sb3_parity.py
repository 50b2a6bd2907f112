"""With the memory off, the agent is SB3's A2C: the same parameters after five updates."""

from functools import partial
from typing import Any

import pytest
import torch
from gymnasium import spaces
from sb3_parity import ACTIONS, OPTIMIZERS, RandomWalk, assert_equal_parameters, walks
from sb3_parity import train_both as train_alike
from stable_baselines3 import A2C
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from plasticrl.agents import RecurrentA2C

train_both = partial(train_alike, RecurrentA2C, A2C)


@pytest.fixture(autouse=True)
def _separate_starts() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize("actions", ACTIONS)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_five_updates(actions: str, optimizer: str) -> None:
    ours, theirs = train_both(lambda: walks(ACTIONS[actions]), optimizer)
    assert_equal_parameters(ours, theirs)


@pytest.mark.parametrize(
    "options",
    [
        {"gae_lambda": 0.7},
        {"ent_coef": 0.05},
        {"normalize_advantage": True},
        {"n_steps": 1},
        {"max_grad_norm": 1e-3},
        {"max_grad_norm": float("inf")},
        {"learning_rate": 0.003},
    ],
    ids=str,
)
def test_five_updates_with(options: dict[str, Any]) -> None:
    ours, theirs = train_both(lambda: walks(ACTIONS["discrete"]), **options)
    assert_equal_parameters(ours, theirs)


def test_five_updates_on_normalised_observations() -> None:
    ours, theirs = train_both(lambda: VecNormalize(walks(ACTIONS["discrete"]), gamma=0.95))
    assert_equal_parameters(ours, theirs)


def test_the_comparison_can_fail() -> None:
    """It sees a discount that differs in the second decimal."""
    ours, _ = train_both(lambda: walks(ACTIONS["discrete"]), gamma=0.94)
    _, theirs = train_both(lambda: walks(ACTIONS["discrete"]), gamma=0.95)
    with pytest.raises(AssertionError, match="core"):
        assert_equal_parameters(ours, theirs)


def test_the_walk_ends_both_ways() -> None:
    """Else the parity would say nothing about either."""
    env = DummyVecEnv([lambda: RandomWalk(spaces.Discrete(3))])
    env.seed(0)
    env.reset()
    ends = [
        infos[0]["TimeLimit.truncated"] for _, _, dones, infos in (env.step([0]) for _ in range(100)) if dones
    ]
    assert 3 < sum(ends) < len(ends) - 3
