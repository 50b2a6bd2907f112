"""Agents and learners with a rule without a kernel: they learn, are saved, loaded and go on."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from plasticrl.agents import CoreName, EpisodeLearner, RecurrentA2C
from plasticrl.envs import make_task, make_vec_env
from plasticrl.rules import FastWeights, Retroactive, RuleLike

N_ENVS, N_STEPS = 2, 6


def mazes() -> Any:
    return make_vec_env("PlasticMaze-v0", N_ENVS, seed=3, size=5, episode_length=10)


@pytest.mark.parametrize("core", ["plastic", "homogeneous", "plastic_lstm", "plastic_gru"])
@pytest.mark.parametrize(
    "rule", ["retroactive", "stp", "fast_weights", Retroactive(0.5), FastWeights(0.8)], ids=str
)
def test_an_agent_learns_is_saved_and_goes_on(rule: RuleLike, core: CoreName, tmp_path: Path) -> None:
    kwargs = {"core": core, "hidden_size": 8, "rule": rule, "eta": 0.2, "modulation": "tanh"}
    model = RecurrentA2C(
        "PlasticPolicy", mazes(), n_steps=N_STEPS, policy_kwargs=kwargs, seed=1, device="cpu"
    )
    before = {name: one.clone() for name, one in model.policy.state_dict().items()}
    model.learn(2 * N_STEPS * N_ENVS)
    assert model._n_updates == 2
    after = model.policy.state_dict()
    assert all(not torch.equal(after[name], one) for name, one in before.items() if "plasticity" in name)
    model.save(tmp_path / "agent")
    after = {name: one.clone() for name, one in after.items()}
    model.learn(2 * N_STEPS * N_ENVS, reset_num_timesteps=False)
    again = RecurrentA2C.load(tmp_path / "agent", env=mazes(), device="cpu")
    torch.testing.assert_close(dict(again.policy.state_dict()), after, rtol=0, atol=0)
    again.learn(2 * N_STEPS * N_ENVS, reset_num_timesteps=False)
    torch.testing.assert_close(again.policy.state_dict(), model.policy.state_dict(), rtol=0, atol=0)
    obs, starts = np.zeros((N_ENVS, *model.observation_space.shape), np.float32), np.ones(N_ENVS, np.bool_)
    state = None
    for _ in range(3):
        action, state = again.predict(obs, state, starts, deterministic=True)
        starts[:] = False
    assert action.shape == (N_ENVS,)
    assert state[-1].shape == (N_ENVS, 8 * again.policy.core.plasticity.rule.matrices, 8)
    assert state[-1].any()


@pytest.mark.parametrize("rule", ["retroactive", "stp", "fast_weights"])
def test_a_learner_of_episodes_does_too(rule: str, tmp_path: Path) -> None:
    task = make_task("patterns", n_bits=6, n_patterns=2, n_cycles=1)
    model = EpisodeLearner("plastic", task, network_kwargs={"rule": rule}, seed=0, device="cpu").learn(4)
    model.save(tmp_path / "learner")
    again = EpisodeLearner.load(tmp_path / "learner", task, device="cpu")
    torch.testing.assert_close(again.network.state_dict(), model.network.state_dict(), rtol=0, atol=0)
