"""Cue-reward association: its trials, what an answer pays, and what the best memory is worth."""

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env as gymnasium_check_env
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from same_nests import assert_same
from stable_baselines3.common.env_checker import check_env as sb3_check_env

import plasticrl  # noqa: F401
from plasticrl.envs import CueRewardEnv, CueRewardVectorEnv, cue_reward_bracket

SETTINGS = [
    {},
    {"n_cues": 3, "n_bits": 2, "max_pause": 0, "episode_length": 4},
    {"n_cues": 8, "n_bits": 3, "max_pause": 6, "episode_length": 61, "reward": 3.0, "wrong_penalty": 0.0},
]
settings = pytest.mark.parametrize("settings", SETTINGS, ids=str)


class Seen:
    """What observations of one episode show, read column by column."""

    def __init__(self, observation, n_bits):
        self.cue = tuple(observation[:n_bits].tolist()) if observation[:n_bits].any() else None
        self.go = observation[n_bits] == 1
        self.reward = observation[n_bits + 1]
        self.action = observation[n_bits + 2 :].tolist()


@settings
@pytest.mark.parametrize("check", [gymnasium_check_env, sb3_check_env])
def test_checkers(check, settings):
    check(gym.make("CueReward-v0", **settings).unwrapped)


def test_the_defaults_are_the_papers():
    env = gym.make("CueReward-v0").unwrapped
    assert env.observation_space.shape == (20 + 1 + 1 + 2,)
    assert (env.action_space.n, env.episode_length) == (2, 120)
    assert env.dynamics.settings == {
        "n_cues": 4,
        "n_bits": 20,
        "max_pause": 3,
        "episode_length": 120,
        "reward": 1.0,
        "wrong_penalty": 1.0,
    }


@settings
def test_every_episode_keeps_the_rules(settings):
    """From observations alone, but for the target: trials of two cues, paid at the go signal by its rule."""
    env = CueRewardEnv(**settings)
    rules = env.dynamics
    actions = np.random.default_rng(0)
    for seed in range(20):
        observation, _ = env.reset(seed=seed)
        target = tuple(env.state.inputs[0, env.state.target[0], :-1].tolist())
        seen, pair, cues = Seen(observation, rules.n_bits), [], set()
        assert (seen.reward, seen.action) == (0, [0, 0])
        steps, pauses, right, answers, over, after_go = 0, 0, 0, 0, False, True
        while not over:
            assert env.observation_space.contains(observation)
            action = int(actions.integers(2))
            paid = 0.0
            if after_go:  # the first step of a trial, and the one after its go signal, show nothing
                assert seen.cue is None
                assert not seen.go
            if seen.go:
                assert seen.cue is None
                assert len(set(pair)) == 2
                assert 2 <= pauses <= 2 + rules.max_pause or answers == 0
                correct = action == (target in pair)
                paid = rules.reward if correct else -rules.wrong_penalty
                right, answers, pair, pauses = right + correct, answers + 1, [], 0
            elif seen.cue is not None:
                pair.append(seen.cue)
                cues.add(seen.cue)
            else:
                pauses += 1
            after_go = seen.go
            observation, reward, over, truncated, info = env.step(action)
            seen = Seen(observation, rules.n_bits)
            steps += 1
            assert reward == paid
            assert seen.reward == np.float32(paid)
            assert seen.action == np.eye(2)[action].tolist()
            assert not truncated
            assert bool(info) == over
        assert steps == rules.episode_length
        assert len(cues) <= rules.n_cues
        assert info == {"answers": answers, "right_share": right / answers}


def test_a_strategy_that_counts_steps_fails():
    """The go signal of the third trial comes at ten different steps."""
    env = CueRewardVectorEnv(500)
    env.reset(seed=0)
    go = env.state.shown == env.dynamics.n_cues
    third = np.argmax(go.cumsum(axis=1) == 3, axis=1)
    assert set(third.tolist()) == set(range(13, 23))


def test_targets_pairs_and_bits_are_equally_frequent():
    count = 4000
    env = CueRewardVectorEnv(count, episode_length=7)
    env.reset(seed=0)
    state = env.state
    pairs = [tuple(cue for cue in row if cue < 4) for row in state.shown.tolist()]
    firsts = [pair for pair in pairs if len(pair) == 2]
    assert len(firsts) > count / 2
    found = np.bincount([4 * one + other for one, other in firsts], minlength=16).reshape(4, 4) / len(firsts)
    assert np.diag(found).max() == 0
    assert np.abs(found[~np.eye(4, dtype=bool)] - 1 / 12).max() < 5 * np.sqrt(1 / 12 * 11 / 12 / len(firsts))
    target = np.bincount(state.target) / count
    assert np.abs(target - 1 / 4).max() < 5 * np.sqrt(3 / 16 / count)
    assert abs(state.inputs[:, :4, :-1].mean()) < 5 / np.sqrt(count * 4 * 20)


@settings
def test_cues_of_an_episode_differ(settings):
    env = CueRewardVectorEnv(200, **settings)
    env.reset(seed=0)
    cues = env.state.inputs[:, : env.dynamics.n_cues, :-1]
    assert set(np.unique(cues)) == {-1.0, 1.0}
    assert all(len(np.unique(one, axis=0)) == env.dynamics.n_cues for one in cues)


@settings
def test_the_batch_is_single_environments(settings):
    native = gym.make_vec("CueReward-v0", num_envs=4, **settings)
    assert isinstance(native, CueRewardVectorEnv)
    singles = SyncVectorEnv([lambda: CueRewardEnv(**settings)] * 4, autoreset_mode=AutoresetMode.SAME_STEP)
    assert native.observation_space == singles.observation_space
    assert native.action_space == singles.action_space
    assert_same(native.reset(seed=11), singles.reset(seed=11))
    native.action_space.seed(0)
    for _ in range(400):
        action = native.action_space.sample()
        assert_same(native.step(action), singles.step(action))
    assert_same(native.reset(), singles.reset())


def observers_shares(count, seed, **settings):
    """Shares of right answers of an agent that keeps the cues which may be the target, by observations."""
    env = CueRewardVectorEnv(count, **settings)
    bits, number = env.dynamics.n_bits, env.dynamics.n_cues
    observation, _ = env.reset(seed=seed)
    ruled_out = [set() for _ in range(count)]  # cues that are not the target
    confined = [None] * count  # cues one of which is the target, once a pair held it
    pairs = [[] for _ in range(count)]
    for _ in range(env.episode_length):
        asked = observation[:, bits] == 1
        answers = np.zeros(count, dtype=int)
        for row in range(count):
            seen = Seen(observation[row], bits)
            if seen.cue:
                pairs[row].append(seen.cue)
            if asked[row]:
                left = number - len(ruled_out[row]) if confined[row] is None else len(confined[row])
                inside = sum(
                    one not in ruled_out[row] and (confined[row] is None or one in confined[row])
                    for one in pairs[row]
                )
                answers[row] = inside / left > 0.5
        observation, reward, *_, infos = env.step(answers)
        for row in np.flatnonzero(asked):
            held = (reward[row] > 0) == bool(answers[row])
            pair = {one for one in pairs[row] if one not in ruled_out[row]}
            if held:
                confined[row] = pair if confined[row] is None else confined[row] & pair
            else:
                ruled_out[row] |= pair
                if confined[row] is not None:
                    confined[row] -= pair
            pairs[row] = []
    return infos["final_info"]["right_share"]


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"episode_length": 30, "max_pause": 0},
        {"n_cues": 6, "n_bits": 3, "episode_length": 90, "wrong_penalty": 0.0},
        {"n_cues": 3, "episode_length": 40, "max_pause": 9},
    ],
    ids=str,
)
def test_the_bracket_is_what_an_ideal_observer_has(settings):
    shares = observers_shares(1000, 0, **settings)
    expected = cue_reward_bracket(**settings).ideal
    assert abs(shares.mean() - expected) < 4 * shares.std() / np.sqrt(len(shares))


def test_random_actions_are_right_half_of_the_time():
    env = CueRewardVectorEnv(2000)
    env.reset(seed=0)
    env.action_space.seed(0)
    for _ in range(120):
        *_, infos = env.step(env.action_space.sample())
    share = infos["final_info"]["right_share"]
    assert cue_reward_bracket().random == 0.5
    assert abs(share.mean() - 0.5) < 4 * share.std() / np.sqrt(len(share))


def test_the_first_answer_by_hand():
    """Of three cues a pair holds the target in two thirds, of four in a half; nothing more is known."""
    assert cue_reward_bracket(n_cues=3, max_pause=0, episode_length=4).ideal == pytest.approx(2 / 3)
    assert cue_reward_bracket(n_cues=4, max_pause=3, episode_length=7).ideal == pytest.approx(1 / 2)


def test_two_answers_by_hand():
    """After the first of two trials with four cues, two are left: the next pair is one of six.

    In one pair both are in it, in one none is: these are right. In four one of them is, which is a guess.
    """
    expected = (1 / 2 + (2 / 6 + 4 / 6 / 2)) / 2
    assert cue_reward_bracket(max_pause=0, episode_length=9).ideal == pytest.approx(expected)


def test_the_text_says_what_is_shown():
    env = CueRewardEnv(max_pause=0, episode_length=5, render_mode="ansi")
    env.reset(seed=0)
    shown, target = env.state.shown[0].tolist(), int(env.state.target[0])
    words = {number: f"cue {number}" for number in range(4)} | {target: f"cue {target}, the target"}
    lines = [env.render()]
    for _ in range(5):
        reward = env.step(1)[1]
        lines.append(env.render())
        if len(lines) == 5:
            right = int(reward == 1)
    assert lines == [
        "step 0/5  -  right answers 0 of 0",
        f"step 1/5  {words[shown[1]]}  right answers 0 of 0",
        f"step 2/5  {words[shown[2]]}  right answers 0 of 0",
        "step 3/5  go  right answers 0 of 0",
        f"step 4/5  -  right answers {right} of 1",
        f"step 5/5  -  right answers {right} of 1",
    ]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"n_cues": 2}, "n_cues must be a whole number, at least 3, got 2"),
        ({"n_bits": 0}, "n_bits must be a whole number, at least 1, got 0"),
        ({"n_bits": 1}, "n_bits must be from 2, for 4 different cues, to 62, got 1"),
        ({"n_bits": 63}, "n_bits must be from 2, for 4 different cues, to 62, got 63"),
        ({"max_pause": -1}, "max_pause must be a whole number, at least 0, got -1"),
        ({"episode_length": 6}, "episode_length must be a whole number, at least 7, got 6"),
        ({"reward": 0.0}, "reward must be finite and above 0, not 0.0"),
        ({"reward": 1e39}, "reward must be between 0 and"),
        ({"wrong_penalty": -1.0}, "wrong_penalty must be between 0 and .*, not -1.0"),
        ({"wrong_penalty": float("nan")}, "wrong_penalty must be between 0 and .*, not nan"),
        ({"render_mode": "human"}, "render_mode must be None or one of ansi, got 'human'"),
    ],
)
@pytest.mark.parametrize("kind", [CueRewardEnv, CueRewardVectorEnv])
def test_bad_arguments_are_named(kind, settings, words):
    with pytest.raises(ValueError, match=words):
        kind(**settings)


def test_a_step_changes_no_earlier_state():
    env = CueRewardVectorEnv(8)
    env.reset(seed=0)
    env.action_space.seed(0)
    states, copies = [], []
    for _ in range(119):
        states.append(env.state)
        copies.append([np.copy(field) for field in env.state])
        env.step(env.action_space.sample())
    for state, copy in zip(states, copies, strict=True):
        assert all(np.array_equal(one, other) for one, other in zip(state, copy, strict=True))
