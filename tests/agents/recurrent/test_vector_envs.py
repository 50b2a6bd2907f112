"""Agents take Gymnasium's batches of environments, the package's and others, wherever they take an env."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode
from gymnasium.wrappers.vector import RecordEpisodeStatistics
from stable_baselines3.common.env_util import make_vec_env as sb3_make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy

from plasticrl.agents import RecurrentA2C
from plasticrl.agents.ppo.contrib import PlainRecurrentPPO
from plasticrl.envs import VectorEnvAdapter, make_vec_env

SMALL: dict[str, Any] = {"size": 5, "episode_length": 10}
SAME_STEP = {"autoreset_mode": AutoresetMode.SAME_STEP}


def a2c(env: Any, **options: Any) -> RecurrentA2C:
    kwargs = {"hidden_size": 8}
    return RecurrentA2C("PlasticPolicy", env, policy_kwargs=kwargs, seed=0, device="cpu", **options)


def ppo(env: Any) -> PlainRecurrentPPO:
    kwargs = {"lstm_hidden_size": 8}
    return PlainRecurrentPPO(
        "MlpLstmPolicy", env, n_steps=10, batch_size=20, policy_kwargs=kwargs, seed=0, device="cpu"
    )


def cart_poles(mode: str, n: int = 2, **options: Any) -> Any:
    return gym.make_vec("CartPole-v1", n, vectorization_mode=mode, vector_kwargs=SAME_STEP, **options)


def mazes(n: int = 2, **options: Any) -> Any:
    return gym.make_vec("PlasticMaze-v0", n, **SMALL, **options)


def same(one: Any, other: Any) -> bool:
    a, b = one.policy.state_dict(), other.policy.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("build", [a2c, ppo])
def test_the_packages_batch_is_adapted(build: Callable[[Any], Any]) -> None:
    trained = [build(env).learn(80) for env in (mazes(), VectorEnvAdapter(mazes()))]
    assert type(trained[0].env) is VectorEnvAdapter
    assert same(*trained)
    assert same(trained[0], build(make_vec_env("PlasticMaze-v0", 2, **SMALL)).learn(80))


@pytest.mark.parametrize(
    "make",
    [
        lambda: cart_poles("sync"),
        lambda: cart_poles("async"),
        lambda: RecordEpisodeStatistics(cart_poles("sync")),
    ],
    ids=["sync", "async", "wrapped"],
)
def test_batches_of_other_environments_train_as_sb3s(make: Callable[[], Any]) -> None:
    """To the bit: each environment has the seed that it has there."""
    env = make()
    try:
        ours = a2c(env, n_steps=32).learn(256)
        assert len(ours.ep_info_buffer or ()) > 3
    finally:
        env.close()
    theirs = a2c(sb3_make_vec_env("CartPole-v1", 2), n_steps=32).learn(256)
    assert same(ours, theirs)
    assert [info["l"] for info in ours.ep_info_buffer or ()] == [
        info["l"] for info in theirs.ep_info_buffer or ()
    ]


def test_truncated_episodes_of_a_batch_are_bootstrapped_as_sb3s() -> None:
    limited = [
        cart_poles("sync", max_episode_steps=8),
        sb3_make_vec_env("CartPole-v1", 2, env_kwargs={"max_episode_steps": 8}),
    ]
    assert same(*[a2c(env, n_steps=8).learn(160) for env in limited])


def test_a_time_limit_on_the_maze_is_that_of_single_mazes() -> None:
    """Truncated episodes are bootstrapped, so other weights come out than where the lifetime is as short."""
    options = {**SMALL, "max_episode_steps": 6}
    native, single = (
        make_vec_env("PlasticMaze-v0", 2, **options),
        sb3_make_vec_env("PlasticMaze-v0", 2, env_kwargs=options),
    )
    every = (native, single, gym.make_vec("PlasticMaze-v0", 2, **options))
    trained = [a2c(env, n_steps=6).learn(120) for env in every]
    assert same(trained[0], trained[1])
    assert same(trained[0], trained[2])
    short = make_vec_env("PlasticMaze-v0", 2, size=5, episode_length=6)
    assert not same(trained[0], a2c(short, n_steps=6).learn(120))


def test_training_goes_on_within_a_time_limit(tmp_path: Path) -> None:
    def limited() -> Any:
        return mazes(max_episode_steps=6)

    whole = a2c(limited(), n_steps=4).learn(48)
    a2c(limited(), n_steps=4).learn(24).save(tmp_path / "half")
    rest = RecurrentA2C.load(tmp_path / "half", limited(), "cpu").learn(24, reset_num_timesteps=False)
    assert same(whole, rest)


def test_set_env_and_load_take_a_batch(tmp_path: Path) -> None:
    whole = a2c(mazes(), n_steps=5).learn(40)
    a2c(mazes(), n_steps=5).learn(30).save(tmp_path / "agent")
    agent = RecurrentA2C.load(tmp_path / "agent", mazes(), "cpu")
    assert same(whole, agent.learn(10, reset_num_timesteps=False))
    agent.set_env(mazes(3))
    assert agent.learn(30).n_envs == 3
    mean, _ = evaluate_policy(agent, VectorEnvAdapter(mazes(3)), n_eval_episodes=3)
    assert np.isfinite(mean)


def test_a_batch_that_resets_otherwise_is_refused_by_name(tmp_path: Path) -> None:
    says = "VectorEnvAdapter.*SAME_STEP.*NEXT_STEP.*make_vec_env.*'autoreset_mode': 'SameStep'"
    other = gym.make_vec("CartPole-v1", 2)
    for build in (a2c, ppo):
        with pytest.raises(ValueError, match=says):
            build(other)
    agent = a2c(cart_poles("sync"), n_steps=4)
    agent.save(tmp_path / "agent")
    before = agent.env
    with pytest.raises(ValueError, match=says):
        agent.set_env(other)
    assert agent.env is before
    with pytest.raises(ValueError, match=says):
        RecurrentA2C.load(tmp_path / "agent", other, "cpu")
