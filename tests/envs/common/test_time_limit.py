"""``max_episode_steps`` on a batch does what Gymnasium's ``TimeLimit`` does to single environments."""

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from same_nests import assert_same
from stable_baselines3.common.env_util import make_vec_env as sb3_make_vec_env

from plasticrl.envs import PlasticMazeVectorEnv, VectorEnvAdapter, make_vec_env

LENGTH = 12
WORLDS = {
    "PlasticMaze-v0": {"size": 3, "episode_length": LENGTH, "relocate_every": 5},
    "PlasticPatterns-v0": {
        "n_bits": 4,
        "n_patterns": 2,
        "n_cycles": 1,
        "steps_on": 3,
        "steps_off": 1,
        "test_steps": 4,
    },
    "PlasticRecall-v0": {"n_recalls": 2},
    "CueReward-v0": {"episode_length": LENGTH},
}
LIMITS = [1, 5, LENGTH - 1, LENGTH, LENGTH + 1]
worlds = pytest.mark.parametrize("env_id", WORLDS)


@worlds
@pytest.mark.parametrize("limit", LIMITS)
def test_a_batch_is_cut_off_as_single_environments_are(env_id, limit):
    batch = gym.make_vec(env_id, num_envs=3, max_episode_steps=limit, **WORLDS[env_id])
    assert batch.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP
    singles = SyncVectorEnv(
        [lambda: gym.make(env_id, max_episode_steps=limit, **WORLDS[env_id])] * 3,
        autoreset_mode=AutoresetMode.SAME_STEP,
    )
    assert batch.unwrapped.episode_length == LENGTH
    assert batch.episode_length == min(limit, LENGTH)
    assert_same(batch.reset(seed=4), singles.reset(seed=4))
    batch.action_space.seed(0)
    cut = 0
    for _ in range(5 * LENGTH):
        action = batch.action_space.sample()
        ours = batch.step(action)
        assert_same(ours, singles.step(action))
        cut += ours[3].sum()
    assert (cut > 0) == (limit <= LENGTH)
    assert_same(batch.reset(), singles.reset())


@pytest.mark.parametrize("limit", LIMITS)
def test_make_vec_env_agrees_with_sb3s(limit):
    options = {**WORLDS["PlasticMaze-v0"], "max_episode_steps": limit}
    ours = make_vec_env("PlasticMaze-v0", 2, 3, **options)
    theirs = sb3_make_vec_env("PlasticMaze-v0", 2, 3, env_kwargs=options)
    assert isinstance(ours, VectorEnvAdapter)
    np.testing.assert_array_equal(ours.reset(), theirs.reset())
    actions = np.random.default_rng(0)
    for _ in range(3 * LENGTH):
        action = actions.integers(0, 4, 2)
        (obs, reward, done, infos), (obs_, reward_, done_, infos_) = ours.step(action), theirs.step(action)
        for one, other in ((obs, obs_), (reward, reward_), (done, done_)):
            np.testing.assert_array_equal(one, other)
        for info, info_ in zip(infos, infos_, strict=True):
            assert info.get("TimeLimit.truncated", False) == info_["TimeLimit.truncated"]
            if "terminal_observation" in info_:
                np.testing.assert_array_equal(info["terminal_observation"], info_["terminal_observation"])
                assert info["episode"]["l"] == info_["episode"]["l"] == min(limit, LENGTH)


@pytest.mark.parametrize("none", [None, -1])
@worlds
def test_no_limit_is_no_wrapper(env_id, none):
    env = gym.make_vec(env_id, num_envs=2, max_episode_steps=none, **WORLDS[env_id])
    assert env.unwrapped is env
    assert isinstance(env, PlasticMazeVectorEnv) == (env_id == "PlasticMaze-v0")


@worlds
@pytest.mark.parametrize("limit", [0, 1.5, "20"])
def test_a_limit_that_is_none_is_named(env_id, limit):
    with pytest.raises(
        ValueError, match=f"max_episode_steps must be a whole number, at least 1, got {limit!r}"
    ):
        gym.make_vec(env_id, num_envs=2, max_episode_steps=limit, **WORLDS[env_id])


@worlds
def test_a_batch_goes_on_within_its_limit(env_id):
    def made(limit=5):
        return make_vec_env(env_id, 2, 0, max_episode_steps=limit, **WORLDS[env_id])

    env, twin = made(), made()
    env.reset()
    actions = [np.stack([env.action_space.sample() for _ in range(2)]) for _ in range(20)]
    for action in actions[:7]:
        env.step(action)
    state = env.state_dict()
    twin.load_state_dict(state)
    for action in actions[7:]:
        ours, theirs = env.step(action), twin.step(action)
        for one, other in zip(ours[:3], theirs[:3], strict=True):
            np.testing.assert_array_equal(one, other)
    with pytest.raises(ValueError, match="the saved episodes end after 5 steps, those here after 4"):
        made(4).load_state_dict(state)
    unlimited = made(None)
    unlimited.reset()
    with pytest.raises(ValueError, match="has no 'max_episode_steps'"):
        made().load_state_dict(unlimited.state_dict())
    for elapsed in (-1, 5, 1.0, True, None):
        broken = {**state, "env": {**state["env"], "elapsed_steps": elapsed}}
        with pytest.raises(ValueError, match="elapsed_steps must be from 0 to 4"):
            made().load_state_dict(broken)
