import pickle
import re

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec
from gymnasium.error import ResetNeeded
from gymnasium.utils import seeding
from gymnasium.utils.env_checker import check_env as gymnasium_check_env
from stable_baselines3.common.env_checker import check_env as sb3_check_env

from plasticrl.envs import (
    Episode,
    EpisodeEnv,
    EpisodeTask,
    EpisodeVectorEnv,
    ImagesTask,
    OneShotTask,
    PatternsTask,
)


class EchoTask(EpisodeTask):
    """Completes what it shows, at steps 1 and 2 of 4; the inputs are within 3, the targets within 1."""

    steps = 4
    input_shape = (2,)
    input_bound = 3.0

    def sample(self, batch_size, rng):
        inputs = rng.uniform(-3, 3, (4, batch_size, 2)).astype(np.float32)
        target = np.tile(np.float32([0.5, -0.5]), (batch_size, 1))
        mask = np.tile(np.array([False, True, True, False])[:, None], (1, batch_size))
        hidden = np.tile([False, True], (batch_size, 1))
        return Episode(inputs, None, None, target, mask, hidden)


class OpenEchoTask(EchoTask):
    """The same; it does not tell what is hidden."""

    def sample(self, batch_size, rng):
        return super().sample(batch_size, rng)._replace(hidden=None)


def patterns():
    return PatternsTask(n_bits=8, n_patterns=2, n_cycles=1, steps_on=2, steps_off=1, test_steps=2)


def one_shot():
    pictures = np.random.default_rng(0).integers(0, 256, (6, 3, 5, 5), dtype=np.uint8)
    return OneShotTask(pictures, n_way=3)


def images():
    pictures = np.random.default_rng(0).uniform(-1, 1, (5, 16)).astype(np.float32)
    return ImagesTask(pictures, n_images=2, n_cycles=1, steps_on=2, steps_off=1)


TASKS = {
    "echo": EchoTask,
    "open": OpenEchoTask,
    "patterns": patterns,
    "gain": lambda: PatternsTask(n_bits=4, input_gain=20.0),
    "images": images,
    "one_shot": one_shot,
}
every_task = pytest.mark.parametrize("task", [make() for make in TASKS.values()], ids=list(TASKS))


def play(env, seed, policy=None):
    """One episode: the observations (T + 1), the rewards (T) and the last info."""
    observations, rewards = [env.reset(seed=seed)[0]], []
    over = False
    while not over:
        action = env.action_space.sample() if policy is None else policy(observations[-1])
        observation, reward, over, truncated, info = env.step(action)
        assert not truncated
        assert over == bool(info)
        observations.append(observation)
        rewards.append(reward)
    return np.array(observations), np.array(rewards), info


@every_task
@pytest.mark.parametrize("check", [gymnasium_check_env, sb3_check_env])
def test_checkers(check, task):
    spec = EnvSpec("Task-v0", entry_point=lambda render_mode=None: EpisodeEnv(task, render_mode=render_mode))
    check(gym.make(spec).unwrapped)


@every_task
def test_shows_the_tasks_own_episodes(task):
    env = EpisodeEnv(task)
    rng = seeding.np_random(5)[0]
    for seed in (5, None):  # the second episode goes on with the same generator
        episode = task.sample(1, rng)
        observations, rewards, _ = play(env, seed)
        size = int(np.prod(task.input_shape))
        assert len(observations) == task.steps + 1 == env.episode_length + 1
        assert all(env.observation_space.contains(observation) for observation in observations)
        np.testing.assert_array_equal(observations[:-1, :size], episode.inputs[:, 0].reshape(task.steps, -1))
        if episode.labels is not None:
            labels = episode.labels[:, 0]
            assert observations.shape[1] == size + task.n_classes
            np.testing.assert_array_equal(observations[:-1, size:].sum(axis=1), labels >= 0)
            np.testing.assert_array_equal(observations[:-1, size:].argmax(axis=1)[:-1], labels[:-1])
        np.testing.assert_array_equal(observations[-1], 0)
        np.testing.assert_array_equal(rewards[~episode.target_mask[:, 0]], 0)


@every_task
def test_seeds_are_reproducible(task):
    env, twin = EpisodeEnv(task), EpisodeEnv(task)
    action = env.action_space.sample()
    runs = [play(one, seed, lambda _: action) for one, seed in ((env, 3), (twin, 3), (env, 4))]
    for a, b in zip(runs[0], runs[1], strict=True):
        np.testing.assert_equal(a, b)
    assert (runs[0][0] != runs[2][0]).any()


def test_errors_of_a_completion_worked_out_by_hand():
    answers = iter([[0.9, 0.9], [0.5, 0.5], [1.0, 0.0], [0.1, 0.1]])
    _, rewards, info = play(EpisodeEnv(EchoTask()), 0, lambda _: np.float32(next(answers)))
    # Target (0.5, -0.5), judged at steps 1 and 2: squares (0, 1) and (0.25, 0.25); the second is hidden.
    np.testing.assert_allclose(rewards, [0, -0.5, -0.25, 0])
    assert info == {"error": 0.25, "hidden_error": 0.25, "wrong_signs": 0.5}  # 0 is not negative


def test_nothing_is_said_of_hidden_elements_that_the_task_does_not_tell():
    *_, info = play(EpisodeEnv(OpenEchoTask()), 0, lambda _: np.float32([1.0, 0.0]))
    assert info == {"error": 0.25, "wrong_signs": 0.5}


@pytest.mark.parametrize("make", [patterns, images])
def test_the_right_vector_has_no_error_and_zeros_have_the_targets_power(make):
    env = EpisodeEnv(make())
    env.reset(seed=1)
    target = env.state.target[0]
    _, rewards, info = play(env, 1, lambda _: target)
    assert not rewards.any()
    assert info == {"error": 0, "hidden_error": 0, "wrong_signs": 0}
    _, rewards, info = play(env, 1, lambda _: np.zeros_like(target))
    np.testing.assert_allclose(rewards[-1], -np.mean(target.astype(float) ** 2))
    assert rewards[-1] == -info["error"]


def test_a_class_is_right_or_wrong():
    env = EpisodeEnv(one_shot())
    env.reset(seed=2)
    target = env.state.target[0]
    for answer in range(3):
        _, rewards, info = play(env, 2, lambda _, answer=answer: answer)
        assert rewards.tolist() == [0, 0, 0, float(answer == target)]
        assert info == {"correct": bool(answer == target)}
        assert isinstance(info["correct"], bool)


def test_the_answer_to_an_observation_is_judged_with_that_step():
    """A policy that remembers the pictures and compares the one shown now with them is always right."""
    pictures = np.random.default_rng(0).integers(0, 256, (6, 1, 5, 5), dtype=np.uint8).repeat(2, axis=1)
    env = EpisodeEnv(OneShotTask(pictures, n_way=3, rotations=False))
    seen = {}

    def remember(observation):
        picture, label = observation[:25].tobytes(), observation[25:]
        if label.any():
            seen[picture] = label.argmax()
        return seen[picture]

    rewards = [play(env, seed, remember)[1].sum() for seed in range(30)]
    assert rewards == [1] * 30


def test_only_the_answers_to_judged_steps_count():
    task = patterns()
    env = EpisodeEnv(task)
    env.reset(seed=0)
    target, final = env.state.target[0], []
    for filler in (-1, 0.3):
        steps = iter([np.full_like(target, filler)] * (task.steps - 1) + [target])
        _, rewards, info = play(env, 0, lambda _, steps=steps: next(steps))
        final.append((rewards.tolist(), info))
    assert final[0] == final[1]


def test_what_is_returned_is_the_callers():
    env, twin = EpisodeEnv(patterns()), EpisodeEnv(patterns())
    observation, same = env.reset(seed=0)[0], twin.reset(seed=0)[0]
    action = np.zeros(8, np.float32)
    for _ in range(env.episode_length):
        np.testing.assert_array_equal(observation, same)
        observation[:] = 9
        observation, same = env.step(action)[0], twin.step(action)[0]


def test_reset_is_needed():
    env = EpisodeEnv(EchoTask(), render_mode="rgb_array")
    for early in (lambda: env.step(np.zeros(2)), env.render, lambda: env.state):
        with pytest.raises(ResetNeeded, match="call reset"):
            early()
    play(env, 0)
    with pytest.raises(ResetNeeded, match="the episode is over"):
        env.step(np.zeros(2))


@pytest.mark.parametrize(
    ("action", "words"),
    [
        (np.zeros(3), "actions must be numbers of shape (1, 2), one prediction per episode, got float64 of"),
        (np.zeros((2, 1)), "of shape (1, 2, 1)"),
        (0.0, "actions must be numbers"),
        (None, "got object"),
        ([True, False], "got bool"),
        (["a", "b"], "actions must be numbers"),
        ([0.0, 1.5], "predictions must be in [-1, 1], got 0.0 to 1.5"),
        ([-1.5, 0.0], "predictions must be in [-1, 1]"),
        ([0.0, float("nan")], "predictions must be in [-1, 1], got nan to nan"),
    ],
)
def test_bad_predictions_are_refused_and_change_nothing(action, words):
    env = EpisodeEnv(EchoTask())
    env.reset(seed=0)
    before = env.state
    with pytest.raises(ValueError, match=re.escape(words)):
        env.step(action)
    assert env.state is before


@pytest.mark.parametrize(
    ("action", "words"),
    [
        (3, "an action must be a class 0 .. 2, got [3]"),
        (-1, "an action must be a class"),
        (1.0, "actions must be integers of shape (1,)"),
        (True, "got bool"),
        (None, "got object"),
        ([0], "got int64 of shape (1, 1)"),
    ],
)
def test_bad_classes_are_refused(action, words):
    env = EpisodeEnv(one_shot())
    env.reset(seed=0)
    with pytest.raises(ValueError, match=re.escape(words)):
        env.step(action)


def test_bad_arguments_are_named():
    with pytest.raises(TypeError, match=r"task must be an EpisodeTask, such as PatternsTask\(\), got 'echo'"):
        EpisodeEnv("echo")
    with pytest.raises(ValueError, match="render_mode must be None or one of rgb_array, got 'human'"):
        EpisodeEnv(EchoTask(), render_mode="human")


def test_pictures_show_the_input():
    env = EpisodeEnv(one_shot(), render_mode="rgb_array")
    observation, _ = env.reset(seed=0)
    picture = env.render()
    side = picture.shape[0] // 5
    assert picture.shape == (5 * side, 5 * side, 3)
    assert picture.dtype == np.uint8
    for channel in range(3):
        cells = picture[side // 2 :: side, side // 2 :: side, channel]
        np.testing.assert_allclose(cells.ravel() / 127.5 - 1, observation[:25], atol=1 / 250)
    np.testing.assert_array_equal(picture[:side, :side], picture[0, 0, 0])

    env = EpisodeEnv(PatternsTask(n_bits=5, input_gain=20.0), render_mode="rgb_array")
    observation, _ = env.reset(seed=0)
    picture = env.render()  # five bits on a square of 3 x 3, the rest grey
    side = picture.shape[0] // 3
    assert picture.shape == (3 * side, 3 * side, 3)
    cells = picture[side // 2 :: side, side // 2 :: side, 0].ravel()
    np.testing.assert_array_equal(cells[:5], np.where(observation > 0, 255, 0))
    np.testing.assert_array_equal(cells[5:], 128)


def test_render_without_a_mode_warns():
    env = EpisodeEnv(EchoTask())
    env.reset()
    with pytest.warns(UserWarning, match="needs a render_mode"):
        assert env.render() is None


def test_pickled_in_mid_episode():
    env = EpisodeEnv(one_shot())
    env.reset(seed=0)
    env.step(0)
    twin = pickle.loads(pickle.dumps(env))
    for _ in range(3):
        for a, b in zip(env.step(1), twin.step(1), strict=True):
            np.testing.assert_equal(a, b)
    np.testing.assert_array_equal(env.reset()[0], twin.reset()[0])


def test_a_task_that_asks_for_several_classes_is_named():
    images = np.random.default_rng(0).integers(0, 256, (4, 3, 31, 31), dtype=np.uint8)
    env = EpisodeVectorEnv(OneShotTask(images, n_way=3, queries="all"), 2)
    with pytest.raises(ValueError, match=r"asks for one class in an episode.*queries='one'"):
        env.reset()


def test_a_pooled_task_shows_the_pictures_of_its_steps():
    images = np.random.default_rng(0).integers(0, 256, (4, 3, 31, 31), dtype=np.uint8)
    env = EpisodeEnv(OneShotTask(images, n_way=3, pool=4, rotations=False))
    known = images.reshape(12, -1) / np.float32(255)
    seen, _ = env.reset(seed=3)
    shown = []
    for _ in range(4):
        (which,) = np.flatnonzero((known == seen[: 31 * 31]).all(axis=1))
        shown.append(which)
        seen, *_ = env.step(0)
    assert len(set(shown)) == 4
    assert len({which // 3 for which in shown}) == 3  # the query is of a class that was shown


def test_a_task_that_judges_nothing_is_named():
    class Unjudged(EchoTask):
        """Leaves half of its episodes without a question."""

        def sample(self, batch_size, rng):
            episode = super().sample(batch_size, rng)
            return episode._replace(target_mask=episode.target_mask & (rng.random() < 0.5))

    env = EpisodeVectorEnv(Unjudged(), 20)
    with pytest.raises(ValueError, match="Unjudged: target_mask is false at all steps of an episode"):
        env.reset(seed=0)
