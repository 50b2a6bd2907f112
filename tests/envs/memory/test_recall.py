"""Recall: which observation asks for which action, and what it pays."""

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env as gymnasium_check_env
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from same_nests import assert_same
from stable_baselines3.common.env_checker import check_env as sb3_check_env

import plasticrl  # noqa: F401
from plasticrl.envs import RecallEnv, RecallVectorEnv

SETTINGS = [
    {},
    {"n_cues": 5, "delay": 1},
    {"n_cues": 3, "delay": 2, "n_recalls": 4},
]
settings = pytest.mark.parametrize("settings", SETTINGS, ids=str)


@settings
@pytest.mark.parametrize("check", [gymnasium_check_env, sb3_check_env])
def test_checkers(check, settings):
    check(gym.make("PlasticRecall-v0", **settings).unwrapped)


@pytest.mark.parametrize("delay", [1, 5])
def test_the_cue_pays_at_the_end_alone(delay):
    env = RecallEnv(delay=delay)
    for seed in range(10):
        observation, _ = env.reset(seed=seed)
        cue = int(np.argmax(observation))
        assert observation.sum() == 1
        rewards, over = [], False
        while not over:
            observation, reward, over, _, info = env.step(cue if seed % 2 else 1 - cue)
            rewards.append(reward)
            assert observation[:2].sum() == 0
            assert observation[2] == (len(rewards) == delay)
        assert rewards == [0.0] * delay + [float(seed % 2)]
        assert info == {"right_share": float(seed % 2)}


def test_the_cue_is_the_generators_next_integer():
    """So the results that were measured with these seeds hold for every version."""
    env, rng = RecallEnv(), np.random.Generator(np.random.PCG64(4))
    env.reset(seed=4)
    for _ in range(50):
        assert env.state.cues.item() == rng.integers(2)
        env.reset()


@settings
def test_an_agent_with_a_notebook_is_always_right(settings):
    """It writes down the latest cue and always names it; one that names the next one is always wrong."""
    env = RecallEnv(**settings)
    recalls = settings.get("n_recalls", 1)
    for shift, seed in [(0, 0), (0, 1), (1, 0), (1, 1)]:
        observation, _ = env.reset(seed=seed)
        total, steps, over, written, seen = 0.0, 0, False, 0, []
        while not over:
            if observation[:-1].any():
                written = int(np.argmax(observation[:-1]))
                seen.append(steps)
            action = (written + shift) % env.action_space.n
            observation, reward, over, _, info = env.step(action)
            total += reward
            steps += 1
        assert steps == env.episode_length == recalls * (settings.get("delay", 5) + 1)
        assert seen == list(range(0, steps, steps // recalls))
        assert total == (0 if shift else recalls)
        assert info == {"right_share": float(not shift)}


def test_cues_are_equally_frequent_and_independent():
    env = RecallVectorEnv(4000, n_cues=3, n_recalls=2)
    env.reset(seed=0)
    pairs = np.bincount(env.state.cues @ [3, 1], minlength=9) / 4000
    assert np.abs(pairs - 1 / 9).max() < 5 * np.sqrt(1 / 9 * 8 / 9 / 4000)


@settings
def test_the_batch_is_single_environments(settings):
    native = gym.make_vec("PlasticRecall-v0", num_envs=4, **settings)
    assert isinstance(native, RecallVectorEnv)
    singles = SyncVectorEnv([lambda: RecallEnv(**settings)] * 4, autoreset_mode=AutoresetMode.SAME_STEP)
    assert native.observation_space == singles.observation_space
    assert native.action_space == singles.action_space
    assert_same(native.reset(seed=11), singles.reset(seed=11))
    native.action_space.seed(0)
    for _ in range(200):
        action = native.action_space.sample()
        assert_same(native.step(action), singles.step(action))
    assert_same(native.reset(), singles.reset())


def test_the_text_says_what_is_shown():
    env = RecallEnv(n_cues=3, delay=2, n_recalls=2, render_mode="ansi")
    env.reset(seed=3)
    first, second = env.state.cues[0].tolist()
    shown = [env.render()]
    for action in (0, 0, first, 0, 0, (second + 1) % 3):
        env.step(action)
        shown.append(env.render())
    assert shown == [
        f"step 0/6  cue {first}  right answers 0",
        "step 1/6  -  right answers 0",
        "step 2/6  recall  right answers 0",
        f"step 3/6  cue {second}  right answers 1",
        "step 4/6  -  right answers 1",
        "step 5/6  recall  right answers 1",
        "step 6/6  -  right answers 1",
    ]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"n_cues": 1}, "n_cues must be a whole number, at least 2, got 1"),
        ({"delay": 0}, "delay must be a whole number, at least 1, got 0"),
        ({"n_recalls": 1.5}, "n_recalls must be a whole number, at least 1, got 1.5"),
        ({"render_mode": "human"}, "render_mode must be None or one of ansi, got 'human'"),
    ],
)
@pytest.mark.parametrize("kind", [RecallEnv, RecallVectorEnv])
def test_bad_arguments_are_named(kind, settings, words):
    with pytest.raises(ValueError, match=words):
        kind(**settings)
