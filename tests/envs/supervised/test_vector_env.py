import pickle

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from same_nests import assert_same
from stable_baselines3 import A2C
from stable_baselines3.common.env_util import make_vec_env as sb3_make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy

from plasticrl.envs import (
    Episode,
    EpisodeEnv,
    EpisodeTask,
    EpisodeVectorEnv,
    ImagesTask,
    OneShotTask,
    PatternsTask,
    VectorEnvAdapter,
    make_vec_env,
)

SMALL = {"n_bits": 6, "n_patterns": 2, "n_cycles": 1, "steps_on": 1, "steps_off": 1, "test_steps": 2}


class StaggeredTask(EpisodeTask):
    """Judges each episode at a step of its own: the last or the one before."""

    steps = 4
    input_shape = (2,)

    def sample(self, batch_size, rng):
        inputs = rng.uniform(-1, 1, (4, batch_size, 2)).astype(np.float32)
        target = rng.uniform(-1, 1, (batch_size, 2)).astype(np.float32)
        early = rng.random(batch_size) < 0.5
        mask = np.stack([early & False, early & False, early, ~early])
        hidden = np.tile([False, True], (batch_size, 1))
        return Episode(inputs, None, None, target, mask, hidden)


def one_shot():
    pictures = np.random.default_rng(0).integers(0, 256, (6, 3, 5, 5), dtype=np.uint8)
    return OneShotTask(pictures, n_way=3, k_shot=2)


def images():
    pictures = np.random.default_rng(0).uniform(-1, 1, (5, 16)).astype(np.float32)
    return ImagesTask(pictures, n_images=2, n_cycles=2, steps_on=2, steps_off=1)


TASKS = [StaggeredTask(), PatternsTask(**SMALL), PatternsTask(**SMALL, input_gain=20.0), images(), one_shot()]


@pytest.mark.parametrize("task", TASKS, ids=["staggered", "patterns", "gain", "images", "one_shot"])
def test_lockstep_with_single_environments(task):
    """The batch and Gymnasium's loop over 4 single environments agree in everything."""
    native = EpisodeVectorEnv(task, 4)
    singles = SyncVectorEnv([lambda: EpisodeEnv(task)] * 4, autoreset_mode=AutoresetMode.SAME_STEP)
    assert native.observation_space == singles.observation_space
    assert native.action_space == singles.action_space
    assert native.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP
    assert native.episode_length == task.steps
    native.action_space.seed(0)
    assert_same(native.reset(seed=11), singles.reset(seed=11))
    for _ in range(3 * task.steps + 1):
        action = native.action_space.sample()
        assert_same(native.step(action), singles.step(action))
    assert_same(native.reset(), singles.reset())
    assert_same(native.reset(seed=[3, 1, 4, 1]), singles.reset(seed=[3, 1, 4, 1]))


def test_every_episode_of_a_batch_is_another():
    env = EpisodeVectorEnv(PatternsTask(n_bits=64), 16)
    env.reset()
    targets = env.state.target
    assert len(np.unique(targets, axis=0)) == 16
    env.reset(seed=[1, None, *range(2, 16)])
    assert (env.state.target[1] != targets[1]).any()


def test_returned_arrays_are_never_written_again():
    env, twin = EpisodeVectorEnv(one_shot(), 3), EpisodeVectorEnv(one_shot(), 3)
    actions = np.zeros(3, dtype=np.int64)
    env.reset(seed=0)[0][:] = 9
    twin.reset(seed=0)
    for _ in range(20):
        observation, reward, terminated, truncated, infos = env.step(actions)
        assert_same((observation, reward, terminated, truncated, infos), twin.step(actions))
        for array in (observation, reward, terminated, truncated):
            array[:] = 1
        if infos:
            infos["final_info"]["correct"][:] = True
            infos["final_obs"][0][:] = 9


def test_pickled_in_mid_episode():
    env = EpisodeVectorEnv(PatternsTask(**SMALL), 3)
    env.reset(seed=0)
    env.step(np.zeros((3, 6)))
    twin = pickle.loads(pickle.dumps(env))
    for _ in range(10):
        assert_same(env.step(np.ones((3, 6))), twin.step(np.ones((3, 6))))


def test_pictures_are_those_of_the_single_environment():
    task = one_shot()
    env, single = (
        EpisodeVectorEnv(task, 2, render_mode="rgb_array"),
        EpisodeEnv(task, render_mode="rgb_array"),
    )
    env.reset(seed=5)
    single.reset(seed=6)
    env.step(np.zeros(2, dtype=np.int64))
    single.step(0)
    np.testing.assert_array_equal(env.render()[1], single.render())
    blind = EpisodeVectorEnv(task, 2)
    with pytest.warns(UserWarning, match="needs a render_mode"):
        assert blind.render() is None


def test_misuse_is_named():
    with pytest.raises(ValueError, match="num_envs must be a whole number, at least 1, got 0"):
        EpisodeVectorEnv(one_shot(), 0)
    with pytest.raises(TypeError, match="task must be an EpisodeTask"):
        EpisodeVectorEnv(3)
    with pytest.raises(ValueError, match="render_mode must be None or one of rgb_array"):
        EpisodeVectorEnv(one_shot(), render_mode="ansi")
    env = EpisodeVectorEnv(PatternsTask(**SMALL), 3)
    with pytest.raises(ResetNeeded, match="call reset"):
        env.step(np.zeros((3, 6)))
    with pytest.raises(ValueError, match="seed needs one number for each of the 3 environments, got 2"):
        env.reset(seed=[1, 2])
    with pytest.raises(ValueError, match="reset_mask is not supported"):
        env.reset(options={"reset_mask": np.ones(3, dtype=bool)})
    env.reset()
    with pytest.raises(ValueError, match=r"actions must be numbers of shape \(3, 6\)"):
        env.step(np.zeros((2, 6)))
    with pytest.raises(ValueError, match=r"predictions must be in \[-1, 1\], got 0\.0 to 2\.0"):
        env.step(np.eye(3, 6) * 2)


def test_sb3_steps_it_as_one_batch_and_as_its_own_way_does():
    ours = make_vec_env("PlasticPatterns-v0", n_envs=3, seed=7, **SMALL)
    theirs = sb3_make_vec_env("PlasticPatterns-v0", n_envs=3, seed=7, env_kwargs=SMALL)
    assert isinstance(ours, VectorEnvAdapter)
    assert isinstance(ours.env.unwrapped, EpisodeVectorEnv)
    assert ours.get_attr("episode_length") == [6] * 3
    np.testing.assert_array_equal(ours.reset(), theirs.reset())
    actions = np.random.default_rng(0)
    for _ in range(13):
        action = actions.uniform(-1, 1, (3, 6)).astype(np.float32)
        (obs, reward, done, infos), (obs_, reward_, done_, infos_) = ours.step(action), theirs.step(action)
        np.testing.assert_array_equal(obs, obs_)
        np.testing.assert_array_equal(reward, reward_)
        np.testing.assert_array_equal(done, done_)
        for info, info_ in zip(infos, infos_, strict=True):
            assert info.get("error") == info_.get("error")
            np.testing.assert_array_equal(info.get("terminal_observation"), info_.get("terminal_observation"))
    assert infos_[0] == {"TimeLimit.truncated": False}


def test_sb3s_algorithms_run_on_it():
    env = VectorEnvAdapter(EpisodeVectorEnv(one_shot(), 4))
    env.seed(0)
    model = A2C("MlpPolicy", env, n_steps=7, seed=0).learn(280)
    assert [episode["l"] for episode in model.ep_info_buffer] == [7] * 40
    assert {episode["r"] for episode in model.ep_info_buffer} <= {0.0, 1.0}
    mean, _ = evaluate_policy(model, env, n_eval_episodes=40)
    assert 0 <= mean <= 1


def test_make_vec_gives_the_native_environment():
    env = gym.make_vec("PlasticPatterns-v0", num_envs=3, **SMALL)
    assert isinstance(env.unwrapped, EpisodeVectorEnv)
    assert env.unwrapped.task.n_bits == 6
