import copy
import dataclasses
import pickle

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import check_env as gymnasium_check_env
from stable_baselines3.common.env_checker import check_env as sb3_check_env

import plasticrl  # noqa: F401
from plasticrl.envs import PlasticMazeEnv

SETTINGS = [
    {},
    {"observe_action": False},
    {"observe_time": True},
    {"size": 11, "episode_length": 200, "wall_penalty": 0.0},
    {"size": 3, "episode_length": 1, "reward": -5.0, "recenter": True},
    {"reward_on_border": True},
    {"random_layout": True},
]


def record(env, steps, seed):
    """Everything a seeded run returns; restarts finished episodes."""
    actions = np.random.default_rng(seed)
    rows = [env.reset(seed=seed)]
    for _ in range(steps):
        rows.append(env.step(actions.integers(4)))
        if rows[-1][2]:
            rows.append(env.reset())
    return rows


def assert_same(one, other):
    assert len(one) == len(other)
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a[0], b[0])
        assert a[1:] == b[1:]


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("check", [gymnasium_check_env, sb3_check_env])
def test_checkers(check, settings, monkeypatch):
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")  # the checker opens a window for render_mode="human"
    check(gym.make("PlasticMaze-v0", **settings).unwrapped)


def test_registered_with_the_published_settings():
    first, second = gym.make("PlasticMaze-v0").unwrapped, gym.make("PlasticMazeICLR-v0").unwrapped
    assert (first.config.size, first.config.episode_length, first.config.reward) == (9, 250, 10.0)
    assert (first.config.wall_penalty, first.observation_space.shape) == (0.1, (14,))
    assert (second.config.size, second.config.episode_length, second.config.wall_penalty) == (11, 200, 0.0)
    moving = gym.make("PlasticMazeMoving-v0").unwrapped.config
    assert moving == dataclasses.replace(first.config, relocate_every=50)
    random = gym.make("PlasticMazeRandom-v0").unwrapped.config
    assert random == dataclasses.replace(first.config, random_layout=True)


@pytest.mark.parametrize("settings", SETTINGS)
def test_the_space_contains_every_observation(settings):
    env = PlasticMazeEnv(**settings)
    runs = record(env, 600, seed=3)
    assert all(env.observation_space.contains(row[0]) for row in runs)


def test_the_paper_to_the_letter_shows_walls_and_reward_only():
    assert PlasticMazeEnv(observe_action=False).observation_space.shape == (10,)


def test_each_episode_has_the_exact_length_and_only_its_end_has_info():
    env = gym.make("PlasticMaze-v0")
    for episode in range(3):
        env.reset(seed=episode)
        rows = [env.step(env.action_space.sample()) for _ in range(250)]
        assert [row[2] for row in rows] == [False] * 249 + [True]
        assert not any(row[3] for row in rows)
        assert [bool(row[4]) for row in rows] == [False] * 249 + [True]
        rewards = np.array([row[1] for row in rows])
        assert set(rewards) <= {0.0, -0.1, 10.0}
        info, finds = rows[-1][4], np.flatnonzero(rewards == 10) + 1
        assert info["rewards_found"] == len(finds)
        assert info["wall_hits"] == (rewards == -0.1).sum()
        assert info["first_reward_step"] == (finds[0] if len(finds) else -1)
        assert info["mean_steps_later"] == (np.diff(finds).mean() if len(finds) > 1 else -1.0)


def test_finds_are_told_at_the_end():
    """In the smallest maze a random walk finds the reward often, so later finds are tested too."""
    env = PlasticMazeEnv(size=3)
    env.reset(seed=0)
    rewards = []
    over = False
    while not over:
        _, reward, over, _, info = env.step(int(np.random.default_rng(len(rewards)).integers(4)))
        rewards.append(reward)
    finds = np.flatnonzero(np.array(rewards) == 10) + 1
    assert len(finds) > 3
    assert info["first_reward_step"] == finds[0]
    assert info["mean_steps_later"] == pytest.approx(np.diff(finds).mean())
    assert {name: type(value) for name, value in info.items()} == {
        "rewards_found": int,
        "wall_hits": int,
        "first_reward_step": int,
        "mean_steps_later": float,
    }


def test_same_seed_same_run_other_seed_other_run():
    env = PlasticMazeEnv()
    first = record(env, 600, seed=5)
    assert_same(first, record(env, 600, seed=5))
    assert_same(first, record(PlasticMazeEnv(), 600, seed=5))
    goals = set()
    for seed in range(40):
        env.reset(seed=seed)
        goals.add(int(env.state.goal[0]))
    assert len(goals) > 20


def test_episodes_of_one_seed_differ():
    env = PlasticMazeEnv()
    env.reset(seed=0)
    goals = []
    for _ in range(40):
        goals.append(int(env.state.goal[0]))
        env.reset()
    assert len(set(goals)) > 20


@pytest.mark.parametrize("random_layout", [False, True])
@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda env: pickle.loads(pickle.dumps(env))])
def test_a_copy_in_mid_episode_goes_on_identically(duplicate, random_layout):
    env = PlasticMazeEnv(size=5, render_mode="rgb_array", random_layout=random_layout)
    env.reset(seed=2)
    actions = np.random.default_rng(0).integers(0, 4, 500)
    for action in actions[:100]:
        env.step(action)
    twin = duplicate(env)
    for action in actions[100:250]:
        assert_same([env.step(action)], [twin.step(action)])
    assert_same([env.reset()], [twin.reset()])
    assert env.state.goal == twin.state.goal
    for action in actions[250:]:
        assert_same([env.step(action)], [twin.step(action)])


def test_stepping_out_of_turn_is_refused():
    env = PlasticMazeEnv(episode_length=1)
    with pytest.raises(ResetNeeded, match="call reset"):
        env.step(0)
    env.reset()
    env.step(0)
    with pytest.raises(ResetNeeded, match="the episode is over"):
        env.step(0)


@pytest.mark.parametrize("action", [4, -1, 0.5, None, [0, 1]])
def test_bad_actions_are_refused_and_change_nothing(action):
    env = PlasticMazeEnv()
    env.reset(seed=0)
    before = env.state
    with pytest.raises(ValueError, match=r"actions? must be"):
        env.step(action)
    assert env.state is before


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"size": 10}, "size must be"),
        ({"render_mode": "svg"}, "render_mode must be None or one of human, rgb_array, ansi, got 'svg'"),
        ({"render_size": 63}, "render_size must be an even number of pixels, at least 64, got 63"),
        ({"render_size": 301}, "render_size must be an even number"),
    ],
)
def test_bad_arguments_are_named(settings, words):
    with pytest.raises(ValueError, match=words):
        PlasticMazeEnv(**settings)
