import pickle

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.wrappers.vector import RecordEpisodeStatistics
from same_nests import assert_same

import plasticrl  # noqa: F401
from plasticrl.envs import PlasticMazeEnv, PlasticMazeVectorEnv


def test_make_vec_gives_the_native_environment():
    env = gym.make_vec("PlasticMaze-v0", num_envs=3)
    assert isinstance(env, PlasticMazeVectorEnv)
    assert env.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP
    assert gym.make_vec("PlasticMazeICLR-v0", num_envs=2).unwrapped.config.size == 11


@pytest.mark.parametrize(
    ("steps", "settings"),
    [
        (12_500, {}),
        (1_000, {"size": 3, "episode_length": 40, "observe_time": True}),
        (1_000, {"size": 5, "recenter": True, "observe_action": False}),
        (1_000, {"size": 5, "episode_length": 40, "relocate_every": 3, "layout_seed": 1}),
        (1_000, {"size": 7, "episode_length": 40, "random_layout": True}),
        (
            1_000,
            {"size": 5, "episode_length": 40, "random_layout": True, "relocate_every": 3, "recenter": True},
        ),
        (1_000, {"size": 7, "episode_length": 9, "random_layout": True, "reward_on_border": True}),
    ],
)
def test_lockstep_with_single_environments(steps, settings):
    """The batch and Gymnasium's loop over 8 single mazes agree in everything, for 100,000 steps and more."""
    count = 8
    native = gym.make_vec("PlasticMaze-v0", num_envs=count, **settings)
    singles = SyncVectorEnv(
        [lambda: PlasticMazeEnv(**settings)] * count, autoreset_mode=AutoresetMode.SAME_STEP
    )
    assert native.observation_space == singles.observation_space
    assert native.action_space == singles.action_space
    assert_same(native.reset(seed=11), singles.reset(seed=11))
    actions = np.random.default_rng(0)
    for _ in range(steps):
        action = actions.integers(0, 4, count)
        assert_same(native.step(action), singles.step(action))
    assert_same(native.reset(), singles.reset())
    assert_same(native.reset(seed=list(range(count))), singles.reset(seed=list(range(count))))


def test_a_sequence_of_seeds_may_leave_some_out():
    env = PlasticMazeVectorEnv(3)
    env.reset(seed=[1, None, 3])
    twin = PlasticMazeVectorEnv(3)
    twin.reset(seed=1)
    assert env.state.goal[0] == twin.state.goal[0]
    assert env.state.goal[2] == twin.state.goal[2]


def test_unseeded_mazes_differ():
    env = PlasticMazeVectorEnv(64)
    env.reset()
    assert len(set(env.state.goal.tolist())) > 16


def test_returned_arrays_are_never_written_again():
    env = PlasticMazeVectorEnv(4, size=3, episode_length=7)
    actions = np.random.default_rng(1)
    returned = [env.reset(seed=0)[0]]
    for _ in range(20):
        observation, reward, terminated, truncated, infos = env.step(actions.integers(0, 4, 4))
        returned += [observation, reward, terminated, truncated]
        if infos:
            returned += [*infos["final_obs"], *infos["final_info"].values()]
    kept = [array.copy() for array in returned]
    for array in returned[::2]:
        array[...] = 0  # what the caller does with an array must not reach the environment either
    twin = PlasticMazeVectorEnv(4, size=3, episode_length=7)
    actions = np.random.default_rng(1)
    twin.reset(seed=0)
    for _ in range(20):
        twin.step(actions.integers(0, 4, 4))
    for _ in range(20):
        action = actions.integers(0, 4, 4)
        assert_same(env.step(action), twin.step(action))
    for array, copy in zip(returned[1::2], kept[1::2], strict=True):
        np.testing.assert_array_equal(array, copy)


def test_pickled_in_mid_episode():
    env = PlasticMazeVectorEnv(4, size=3, episode_length=50)
    env.reset(seed=0)
    actions = np.random.default_rng(0)
    for _ in range(20):
        env.step(actions.integers(0, 4, 4))
    twin = pickle.loads(pickle.dumps(env))
    for _ in range(100):
        action = actions.integers(0, 4, 4)
        assert_same(env.step(action), twin.step(action))


def test_gymnasium_statistics_agree_with_the_maze():
    env = RecordEpisodeStatistics(gym.make_vec("PlasticMaze-v0", num_envs=2, size=3, episode_length=30))
    env.reset(seed=0)
    total = np.zeros(2)
    for _ in range(30):
        _, reward, *_, infos = env.step(env.action_space.sample())
        total += reward
    assert infos["episode"]["l"].tolist() == [30, 30]
    np.testing.assert_allclose(infos["episode"]["r"], total)
    info = infos["final_info"]
    np.testing.assert_allclose(total, 10 * info["rewards_found"] - 0.1 * info["wall_hits"])


def test_misuse_is_named():
    for n in (0, 2.0, True):
        with pytest.raises(ValueError, match=f"num_envs must be a whole number, at least 1, got {n}"):
            PlasticMazeVectorEnv(n)
    with pytest.raises(ValueError, match="render_mode must be None or one of rgb_array, ansi"):
        PlasticMazeVectorEnv(1, render_mode="human")
    env = PlasticMazeVectorEnv(3)
    with pytest.raises(ResetNeeded, match="call reset"):
        env.step(np.zeros(3, dtype=int))
    with pytest.raises(ValueError, match="seed needs one number for each of the 3 environments, got 2"):
        env.reset(seed=[1, 2])
    with pytest.raises(ValueError, match="reset_mask is not supported"):
        env.reset(options={"reset_mask": np.ones(3, dtype=bool)})
