"""A task that needs memory: with the default settings every core with memory solves it."""

import pytest
from stable_baselines3.common.evaluation import evaluate_policy

from plasticrl.agents import CORE_NAMES, CoreName, RecurrentA2C
from plasticrl.envs import make_vec_env

ROUND = 20 * 32 * 8  # steps of twenty updates
DELAYS = pytest.mark.parametrize("delay", [5, 10])


def shares_recalled(core: CoreName, delay: int, rounds: int) -> list[float]:
    """Share of 200 new episodes whose bit the agent names after each round, until it is 0.95."""
    model = RecurrentA2C(
        "PlasticPolicy",
        make_vec_env("PlasticRecall-v0", n_envs=8, seed=0, delay=delay),
        n_steps=RecurrentA2C.default_n_steps,
        policy_kwargs={"core": core},
        seed=0,
        device="cpu",
    )
    shares = list[float]()
    while len(shares) < rounds and max(shares, default=0) < 0.95:
        model.learn(ROUND, reset_num_timesteps=False)
        test = make_vec_env("PlasticRecall-v0", n_envs=40, seed=1, delay=delay)
        shares.append(float(evaluate_policy(model, test, n_eval_episodes=200)[0]))
    return shares


@DELAYS
@pytest.mark.parametrize("core", [name for name in CORE_NAMES if name != "feedforward"])
def test_every_core_with_memory_recalls_a_bit(core: CoreName, delay: int) -> None:
    assert shares_recalled(core, delay, rounds=30)[-1] >= 0.95


@DELAYS
def test_without_memory_it_cannot_be_recalled(delay: int) -> None:
    """A binomial share of 200 around 1/2 stays below 0.67 (4.8 sigma)."""
    assert max(shares_recalled("feedforward", delay, rounds=5)) < 0.67
