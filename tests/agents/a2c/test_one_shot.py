"""Reinforcement alone teaches an agent to name a drawing that it was shown and told once in the episode."""

import numpy as np
import pytest
from stable_baselines3.common.evaluation import evaluate_policy

from plasticrl.agents import CoreName, RecurrentA2C
from plasticrl.envs import EpisodeVectorEnv, OneShotTask, VectorEnvAdapter

CHANCE = 0.5


def drawings() -> OneShotTask:
    """Two classes of 4 x 4, each drawing with a few pixels of its own; which is called 0 is new each time."""
    rng = np.random.default_rng(0)
    classes = rng.random((2, 1, 4, 4)) < 0.4
    slips = rng.random((2, 20, 4, 4)) < 0.05
    return OneShotTask(((classes ^ slips) * 255).astype(np.uint8), n_way=2, rotations=False)


def accuracy(core: CoreName, updates: int) -> float:
    plastic = {"init": "normal", "init_scale": 0.3, "eta": 0.2} if core == "plastic" else {}
    env = VectorEnvAdapter(EpisodeVectorEnv(drawings(), 64))
    agent = RecurrentA2C(
        "PlasticPolicy",
        env,
        learning_rate=3e-3,
        vf_coef=0.5,
        ent_coef=0.01,
        concentration_coef=0.0,
        normalize_advantage=True,
        policy_kwargs={"core": core, "hidden_size": 32, **plastic},
        seed=0,
        device="cpu",
    )
    agent.learn(updates * agent.n_steps * 64)
    test = VectorEnvAdapter(EpisodeVectorEnv(drawings(), 50))
    test.seed(1)
    mean, _ = evaluate_policy(agent, test, n_eval_episodes=1000, warn=False)
    return float(mean)


@pytest.mark.parametrize(
    ("core", "least", "most"), [("plastic", 0.85, 1.0), ("feedforward", CHANCE - 0.1, CHANCE + 0.1)]
)
def test_with_a_plastic_core_and_not_without_memory(core: CoreName, least: float, most: float) -> None:
    assert least <= accuracy(core, updates=350) <= most
