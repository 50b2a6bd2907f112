import warnings

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv, VectorEnv, VectorWrapper
from gymnasium.wrappers import TimeLimit, TransformReward
from gymnasium.wrappers.vector import RecordEpisodeStatistics
from stable_baselines3 import A2C
from stable_baselines3.common.env_util import make_vec_env as sb3_make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import (
    DummyVecEnv,
    SubprocVecEnv,
    VecMonitor,
    VecNormalize,
    VecVideoRecorder,
)

from plasticrl.envs import PlasticMazeEnv, VectorEnvAdapter, make_vec_env

SMALL = {"size": 3, "episode_length": 30}


def without_time(info):
    """An info with what cannot be compared removed; SB3 marks every step, the adapter the ends only."""
    info = {name: value for name, value in info.items() if not (name == "TimeLimit.truncated" and not value)}
    if "episode" in info:
        assert info["episode"]["t"] >= 0
        info["episode"] = {name: info["episode"][name] for name in "rl"}
    if "terminal_observation" in info:
        info["terminal_observation"] = info["terminal_observation"].tolist()
    return info


def test_agrees_with_sb3s_own_way():
    """DummyVecEnv over Monitor over single mazes returns the same, with the same seeds."""
    ours = make_vec_env("PlasticMaze-v0", n_envs=3, seed=7, **SMALL)
    theirs = sb3_make_vec_env("PlasticMaze-v0", n_envs=3, seed=7, env_kwargs=SMALL)
    assert isinstance(ours, VectorEnvAdapter)
    assert ours.observation_space == theirs.observation_space
    assert ours.action_space == theirs.action_space
    np.testing.assert_array_equal(ours.reset(), theirs.reset())
    actions = np.random.default_rng(0)
    ends = 0
    for _ in range(200):
        action = actions.integers(0, 4, 3)
        (obs, reward, done, infos), (obs_, reward_, done_, infos_) = ours.step(action), theirs.step(action)
        np.testing.assert_array_equal(obs, obs_)
        np.testing.assert_array_equal(reward, reward_)
        np.testing.assert_array_equal(done, done_)
        assert (obs.dtype, reward.dtype, done.dtype) == (obs_.dtype, reward_.dtype, done_.dtype)
        assert [without_time(info) for info in infos] == [without_time(info) for info in infos_]
        ends += done.sum()
    assert ends == 3 * 6


def test_infos_exist_at_ends_only():
    env = make_vec_env("PlasticMaze-v0", n_envs=2, seed=0, **SMALL)
    env.reset()
    for step in range(1, 61):
        _, _, done, infos = env.step(np.zeros(2, dtype=np.int64))
        assert infos[0] is not infos[1]
        for info in infos:
            assert bool(info) == done.all() == (step % 30 == 0)
    assert infos[0]["TimeLimit.truncated"] is False
    assert infos[0]["episode"]["l"] == 30
    assert isinstance(infos[0]["rewards_found"], int)
    assert env.observation_space.contains(infos[0]["terminal_observation"])


def test_any_same_step_vector_env_can_be_adapted():
    """Rows that end at different steps, by truncation, with infos at every step."""

    class Counter(gym.Env):
        observation_space = gym.spaces.Dict({"n": gym.spaces.Box(0, 99, (1,))})
        action_space = gym.spaces.Discrete(2)
        render_mode = None

        def __init__(self, length):
            self.length = length

        def reset(self, *, seed=None, options=None):
            super().reset(seed=seed)
            self.n = 0
            return {"n": np.zeros(1, np.float32)}, {"began": True, "seed": seed}

        def step(self, action):
            self.n += 1
            over = self.n == self.length
            info = {"n": self.n, "nested": {"twice": 2 * self.n}}
            return {"n": np.full(1, self.n, np.float32)}, 1.5, False, over, info

    env = VectorEnvAdapter(
        SyncVectorEnv([lambda: Counter(2), lambda: Counter(3)], autoreset_mode=AutoresetMode.SAME_STEP)
    )
    env.seed(5)
    env.reset()
    assert env.reset_infos == [{"began": True, "seed": 5}, {"began": True, "seed": 6}]
    env.step(np.zeros(2, int))
    obs, _, done, infos = env.step(np.zeros(2, int))
    assert done.tolist() == [True, False]
    assert obs["n"].ravel().tolist() == [0, 2]
    assert infos[1] == {"n": 2, "nested": {"twice": 4}}
    assert infos[0]["terminal_observation"] == {"n": np.array([2], np.float32)}
    assert infos[0]["TimeLimit.truncated"] is True
    assert (infos[0]["n"], infos[0]["nested"]) == (2, {"twice": 4})
    assert (infos[0]["episode"]["r"], infos[0]["episode"]["l"]) == (3.0, 2)
    assert env.reset_infos[0] == {"began": True, "seed": None}
    _, _, done, infos = env.step(np.zeros(2, int))
    assert done.tolist() == [False, True]
    assert (infos[1]["episode"]["r"], infos[1]["episode"]["l"]) == (4.5, 3)


def test_an_env_that_resets_otherwise_is_refused():
    with pytest.raises(ValueError, match=r"must declare AutoresetMode\.SAME_STEP.*NEXT_STEP"):
        VectorEnvAdapter(gym.make_vec("CartPole-v1", num_envs=2))


@pytest.mark.parametrize("env_id", ["CartPole-v1", "Acrobot-v1"])
def test_other_environments_go_through_sb3(env_id):
    env = make_vec_env(env_id, n_envs=2, seed=3)
    assert isinstance(env, DummyVecEnv)
    assert env.env_is_wrapped(Monitor) == [True, True]
    np.testing.assert_array_equal(env.reset(), sb3_make_vec_env(env_id, n_envs=2, seed=3).reset())


def test_other_environments_take_their_own_arguments():
    """Those of their batches, which are not even built, are others."""
    env = make_vec_env("CartPole-v1", 2, disable_env_checker=True)
    assert isinstance(env, DummyVecEnv)
    assert env.num_envs == 2


def test_a_module_may_be_named_before_the_id():
    assert isinstance(make_vec_env("plasticrl:PlasticMaze-v0"), VectorEnvAdapter)


def test_bad_arguments_are_named():
    for env_id in ("PlasticMaze-v0", "CartPole-v1"):
        for n_envs in (0, 2.0, True, "2"):
            with pytest.raises(
                ValueError, match=f"n_envs must be a whole number, at least 1, got {n_envs!r}"
            ):
                make_vec_env(env_id, n_envs=n_envs)
    with pytest.raises(ValueError, match="seed must be 0 or more, or None, got -1"):
        make_vec_env("PlasticMaze-v0", seed=-1)
    with pytest.raises(ValueError, match="size must be an odd number"):
        make_vec_env("PlasticMaze-v0", size=4)
    with pytest.raises(gym.error.Error, match="PlasticMazes"):
        make_vec_env("PlasticMazes-v0")


def test_attributes_and_methods_of_the_batch():
    env = make_vec_env("PlasticMaze-v0", n_envs=3, render_mode="ansi", **SMALL)
    env.reset()
    assert env.get_attr("episode_length") == [30, 30, 30]
    assert env.get_attr("render_mode", [0, 2]) == ["ansi", "ansi"]
    assert env.get_attr("config", 1)[0].size == 3
    assert env.has_attr("dynamics")
    assert not env.has_attr("no_such_thing")
    texts = env.env_method("render")
    assert [text.splitlines()[0] for text in texts] == ["step 0/30  rewards 0"] * 3
    env.set_attr("note", "kept")
    assert env.get_attr("note") == ["kept"] * 3
    with pytest.raises(ValueError, match="the 3 environments are one batch: set an attribute for all"):
        env.set_attr("note", "x", indices=[0])
    with pytest.raises(ValueError, match="call a method for all"):
        env.env_method("render", indices=1)
    assert env.env_is_wrapped(Monitor) == [True] * 3
    assert env.env_is_wrapped(TimeLimit, [0]) == [False]


def test_only_what_is_there_for_each_environment_is_dealt_out():
    env = make_vec_env("PlasticMaze-v0", n_envs=2, seed=0, **SMALL)
    env.reset()
    env.env.unwrapped.pair = lambda: ("one", "other")  # of the batch, though as long as it
    assert env.env_method("pair") == [("one", "other")] * 2
    for name, words in (("reset", ()), ("step", (np.zeros(2, int),))):
        with pytest.raises(ValueError, match=rf"call {name}\(\) instead"):
            env.env_method(name, *words)


def test_what_a_batch_of_single_environments_calls_is_dealt_out():
    makers = [lambda size=size: PlasticMazeEnv(size=size) for size in (3, 5)]
    env = VectorEnvAdapter(SyncVectorEnv(makers[:1] * 2, autoreset_mode=AutoresetMode.SAME_STEP))
    env.env.envs = tuple(make() for make in makers)
    assert [config.size for config in env.env_method("get_attr", "config")] == [3, 5]
    assert [config.size for config in env.env_method("call", "config")] == [3, 5]


def test_environments_that_are_not_there_are_named():
    env = make_vec_env("PlasticMaze-v0", n_envs=3, **SMALL)
    assert env.get_attr("episode_length", [-1, np.int64(0)]) == [30, 30]
    for index in (7, -4):
        says = f"there are 3 environments, 0 to 2: none is {index}"
        with pytest.raises(IndexError, match=says):
            env.get_attr("episode_length", [0, index])
        with pytest.raises(IndexError, match=says):
            env.env_is_wrapped(Monitor, index)
        with pytest.raises(IndexError, match=says):
            env.set_attr("note", "x", [0, 1, 2, index])


def test_seeds_are_used_once_and_options_are_passed_on():
    env = make_vec_env("PlasticMaze-v0", n_envs=2, seed=1)
    env.reset()
    goals = env.get_attr("state")[0].goal
    env.reset()
    later = [env.get_attr("state")[0].goal for _ in range(20) if env.reset() is not None]
    assert any((goal != goals).any() for goal in later)
    env.seed(1)
    env.reset()
    np.testing.assert_array_equal(env.get_attr("state")[0].goal, goals)
    env.set_options({"reset_mask": np.ones(2, bool)})
    with pytest.raises(ValueError, match="reset_mask is not supported"):
        env.reset()
    env.set_options([{"a": 1}, {"a": 2}])
    with pytest.raises(ValueError, match="the same options for all"):
        env.reset()


def test_sb3s_wrappers_and_algorithms_run_on_it(tmp_path):
    env = VecNormalize(make_vec_env("PlasticMaze-v0", n_envs=4, seed=0, **SMALL))
    model = A2C("MlpPolicy", env, n_steps=8, seed=0).learn(256)
    assert [episode["l"] for episode in model.ep_info_buffer] == [30] * len(model.ep_info_buffer)
    assert len(model.ep_info_buffer) == 8
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # evaluate_policy warns when no Monitor is there
        returns, lengths = evaluate_policy(
            model, make_vec_env("PlasticMaze-v0", 2, 0, **SMALL), 4, return_episode_rewards=True
        )
    assert lengths == [30] * 4
    assert len(returns) == 4
    with pytest.warns(UserWarning, match="already wrapped with a `Monitor`"):
        monitored = VecMonitor(make_vec_env("PlasticMaze-v0", 2, 0, **SMALL), str(tmp_path / "log"))
    monitored.reset()
    for _ in range(30):
        infos = monitored.step(np.zeros(2, int))[3]
    assert infos[1]["episode"]["l"] == 30
    monitored.close()


def test_pictures_of_all_environments_are_tiled():
    env = make_vec_env("PlasticMaze-v0", n_envs=4, render_mode="rgb_array", render_size=64)
    env.reset()
    assert [frame.shape for frame in env.get_images()] == [(64, 64, 3)] * 4
    assert env.render().shape == (128, 128, 3)


def test_sb3s_video_recorder(tmp_path):
    pytest.importorskip("moviepy", reason="videos need the extra 'render'")
    env = make_vec_env("PlasticMaze-v0", n_envs=2, seed=0, render_mode="rgb_array", render_size=64)
    env = VecVideoRecorder(env, str(tmp_path), lambda step: step == 0, video_length=5)
    env.reset()
    for _ in range(6):
        env.step(np.zeros(2, int))
    env.close()
    assert [path.stat().st_size > 0 for path in tmp_path.glob("*.mp4")] == [True]


def test_a_plain_maze_in_sb3s_dummy_env_has_its_episode_length():
    env = DummyVecEnv([PlasticMazeEnv])
    assert env.get_attr("episode_length") == [250]


class Toy(gym.Env):
    """Pays its step's number, an integer, and ends after 3 steps."""

    render_mode = None
    action_space = gym.spaces.Discrete(2)
    observation_space = gym.spaces.Box(0, 99, (1,), np.float32)
    weight = 1
    step_number = 0

    def observed(self):
        return np.full(1, self.step_number, np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.step_number = 0
        return self.observed(), {}

    def step(self, action):
        self.step_number += 1
        return self.observed(), self.weight * self.step_number, self.step_number == 3, False, {}

    def weighed(self, by):
        return self.weight * by


class DictToy(Toy):
    observation_space = gym.spaces.Dict({"a": Toy.observation_space, "b": gym.spaces.Discrete(5)})

    def observed(self):
        return {"a": super().observed(), "b": self.step_number}


class TupleToy(Toy):
    observation_space = gym.spaces.Tuple((Toy.observation_space, gym.spaces.Discrete(5)))

    def observed(self):
        return (super().observed(), self.step_number)


def toys(kind=Toy, count=2, batch=SyncVectorEnv):
    return batch([kind] * count, autoreset_mode=AutoresetMode.SAME_STEP)


def listed(observation):
    """As plain values, so that they can be compared."""
    if isinstance(observation, dict):
        return {name: listed(one) for name, one in observation.items()}
    if isinstance(observation, tuple):
        return [listed(one) for one in observation]
    return np.asarray(observation).tolist()


@pytest.mark.parametrize("batch", [SyncVectorEnv, AsyncVectorEnv])
@pytest.mark.parametrize("kind", [Toy, DictToy, TupleToy])
def test_batches_of_single_environments_agree_with_sb3s_own(kind, batch):
    ours, theirs = VectorEnvAdapter(toys(kind, batch=batch)), DummyVecEnv([lambda: Monitor(kind())] * 2)
    try:
        ours.seed(0)
        assert listed(ours.reset()) == listed(theirs.reset())
        for _ in range(7):
            actions = np.zeros(2, np.int64)
            (obs, reward, done, infos), (obs_, reward_, done_, infos_) = (
                ours.step(actions),
                theirs.step(actions),
            )
            assert listed(obs) == listed(obs_)
            assert (reward.tolist(), reward.dtype) == (reward_.tolist(), reward_.dtype)
            assert (done.tolist(), done.dtype) == (done_.tolist(), done_.dtype)
            for info, info_ in zip(infos, infos_, strict=True):
                assert ("terminal_observation" in info) == ("terminal_observation" in info_)
                if "terminal_observation" in info:
                    assert listed(info["terminal_observation"]) == listed(info_["terminal_observation"])
                    assert [info["episode"][k] for k in "rl"] == [info_["episode"][k] for k in "rl"]
    finally:
        ours.close()


class Bare(VectorEnv):
    """A batch that tells no more than it must, in plain lists or integers where it can."""

    metadata = {"autoreset_mode": AutoresetMode.SAME_STEP}  # noqa: RUF012
    render_mode = None
    num_envs = 2
    single_observation_space = gym.spaces.Dict({"a": gym.spaces.Box(0, 99, (1,), np.float32)})
    single_action_space = gym.spaces.Discrete(2)

    def __init__(self, infos):
        self.infos = infos
        self.number = 0

    def observed(self):
        return {"a": np.full((2, 1), self.number, np.float32)}

    def reset(self, *, seed=None, options=None):
        return self.observed(), {}

    def step(self, actions):
        self.number += 1
        return self.observed(), np.array([1, 2]), [self.number % 2 == 0, False], [False, False], self.infos()


def test_a_batch_that_tells_little():
    env = VectorEnvAdapter(Bare(dict))
    env.reset()
    assert env.step(np.zeros(2, int))[3] == [{}, {}]
    _, reward, done, infos = env.step(np.zeros(2, int))
    assert (reward.dtype, reward.tolist()) == (np.float32, [1, 2])
    assert (done.dtype, done.tolist()) == (bool, [True, False])
    assert infos[1] == {}
    assert [infos[0]["episode"][key] for key in "rl"] == [2.0, 2]
    assert infos[0]["TimeLimit.truncated"] is False
    assert "terminal_observation" not in infos[0]


def test_last_observations_may_be_stacked():
    env = VectorEnvAdapter(Bare(lambda: {"final_obs": {"a": np.array([[7.0], [8.0]])}}))
    env.reset()
    env.step(np.zeros(2, int))
    assert listed(env.step(np.zeros(2, int))[3][0]["terminal_observation"]) == {"a": [7.0]}


def test_infos_without_a_mask_are_there_for_all():
    shared = {"speed": np.array([1.5, 2.5]), "nested": {"n": [3, 4]}, "scalar": 5.0, "others": np.zeros(3)}
    env = VectorEnvAdapter(Bare(lambda: {**shared, "_private": np.ones(2), "half": [6, 7], "_half": [0, 1]}))
    env.reset()
    infos = env.step(np.zeros(2, int))[3]
    assert infos == [{"speed": 1.5, "nested": {"n": 3}}, {"speed": 2.5, "nested": {"n": 4}, "half": 7}]


def test_gymnasiums_statistics_around_and_inside():
    env = VectorEnvAdapter(RecordEpisodeStatistics(toys()))
    env.reset()
    for _ in range(3):
        infos = env.step(np.zeros(2, int))[3]
    assert [[info["episode"][key] for key in "rl"] for info in infos] == [[6.0, 3]] * 2
    assert env.reset_infos[0]["episode"]["r"] == 6.0

    env = VectorEnvAdapter(toys(lambda: TransformReward(Monitor(Toy()), lambda reward: 10 * reward)))
    env.reset()
    for _ in range(3):
        _, reward, _, infos = env.step(np.zeros(2, int))
    assert reward.tolist() == [30, 30]
    assert infos[0]["episode"]["r"] == 6  # as SB3: what Monitor saw


@pytest.mark.parametrize("batch", [SyncVectorEnv, AsyncVectorEnv])
def test_attributes_and_methods_of_single_environments(batch):
    env = VectorEnvAdapter(toys(batch=batch))
    try:
        assert env.get_attr("weight") == [1, 1]
        assert env.get_attr("weight", [1]) == [1]
        env.set_attr("weight", 3)
        assert env.get_attr("weight") == [3, 3]
        assert env.env_method("weighed", 2) == [6, 6]
        assert not env.has_attr("length")
        env.reset()  # all workers are still there
        assert env.step(np.zeros(2, int))[1].tolist() == [3, 3]
    finally:
        env.close()


class Masks(Toy):
    def action_masks(self):
        return np.array([True, self.step_number > 1])


class Unready(Toy):
    def action_masks(self):
        raise AssertionError("called before there was an episode")


@pytest.mark.parametrize("batch", [SyncVectorEnv, AsyncVectorEnv])
def test_methods_of_single_environments_are_found_without_a_call(batch):
    env = VectorEnvAdapter(toys(Unready, batch=batch))
    try:
        assert env.has_attr("action_masks")
        assert not env.has_attr("no_such_thing")
    finally:
        env.close()


def test_masks_of_a_batch_are_dealt_out():
    class Batch(VectorWrapper):
        def action_masks(self):
            return np.array([[True, True], [False, True]])

    batched = VectorEnvAdapter(VectorWrapper(Batch(toys())))
    assert batched.has_attr("action_masks")
    assert [masks.tolist() for masks in batched.env_method("action_masks")] == [[True, True], [False, True]]
    singles = VectorEnvAdapter(VectorWrapper(toys(Masks)))
    singles.reset()
    assert [masks.tolist() for masks in singles.env_method("action_masks")] == [[True, False]] * 2


def test_seeds_may_be_numpys():
    env = VectorEnvAdapter(toys())
    for seed in (np.int64(3), None):
        env.seed(seed)
        assert env.reset().shape == (2, 1)
    one, other = (
        make_vec_env("PlasticMaze-v0", np.int64(2), kind(5), start_index=kind(1)) for kind in (int, np.int32)
    )
    np.testing.assert_array_equal(one.reset(), other.reset())
    assert make_vec_env("CartPole-v1", np.int32(2), np.int64(5)).reset().shape == (2, 4)


SB3_ARGUMENTS = {
    "nothing": {},
    "defaults": {
        **dict.fromkeys(["monitor_dir", "wrapper_class", "env_kwargs", "vec_env_cls", "vec_env_kwargs"]),
        **dict.fromkeys(["monitor_kwargs", "wrapper_kwargs"]),
    },
    "empty": {"vec_env_kwargs": {}, "monitor_kwargs": {}, "wrapper_kwargs": {}},
    "start_index": {"start_index": 7},
    "wrapper": {"wrapper_class": TimeLimit, "wrapper_kwargs": {"max_episode_steps": 4}},
    "dummy": {"vec_env_cls": DummyVecEnv},
    "infos": {"monitor_kwargs": {"info_keywords": ("rewards_found",)}},
}


@pytest.mark.parametrize("name", SB3_ARGUMENTS)
def test_sb3s_arguments_do_what_they_do_there(name):
    arguments = SB3_ARGUMENTS[name]
    mine = (
        {"env_kwargs": SMALL, **arguments} if arguments.get("env_kwargs", SMALL) else {**arguments, **SMALL}
    )
    ours = make_vec_env("PlasticMaze-v0", n_envs=3, seed=5, **mine)
    theirs = sb3_make_vec_env("PlasticMaze-v0", n_envs=3, seed=5, **{**arguments, "env_kwargs": SMALL})
    assert isinstance(ours, VectorEnvAdapter) == (name in ("nothing", "defaults", "empty", "start_index"))
    np.testing.assert_array_equal(ours.reset(), theirs.reset())
    for _ in range(70):
        action = np.array([ours.action_space.sample() for _ in range(3)])
        assert action.tolist() == [theirs.action_space.sample() for _ in range(3)]
        (obs, reward, done, infos), (obs_, reward_, done_, infos_) = ours.step(action), theirs.step(action)
        np.testing.assert_array_equal(obs, obs_)
        np.testing.assert_array_equal(reward, reward_)
        np.testing.assert_array_equal(done, done_)
        for info, info_ in zip(infos, infos_, strict=True):
            assert ({**info.get("episode", {}), "t": 0}) == ({**info_.get("episode", {}), "t": 0})


def test_monitor_files_are_written(tmp_path):
    env = make_vec_env("PlasticMaze-v0", 2, 0, monitor_dir=tmp_path / "logs", start_index=3, **SMALL)
    env.reset()
    for _ in range(30):
        env.step(np.zeros(2, int))
    env.close()
    assert sorted(path.name for path in (tmp_path / "logs").iterdir()) == ["3.monitor.csv", "4.monitor.csv"]
    assert (tmp_path / "logs" / "3.monitor.csv").read_text().splitlines()[2].split(",")[1] == "30"


def test_a_class_or_function_makes_the_environments():
    for make in (PlasticMazeEnv, lambda **options: PlasticMazeEnv(**options)):
        env = make_vec_env(make, 2, 7, size=5)
        assert isinstance(env, DummyVecEnv)
        np.testing.assert_array_equal(env.reset(), make_vec_env("PlasticMaze-v0", 2, 7, size=5).reset())


def test_the_latest_version_is_meant_where_none_is_given():
    with pytest.warns(UserWarning, match="latest versioned environment `CartPole-v1`"):
        assert make_vec_env("CartPole", 2).num_envs == 2


def test_an_argument_of_the_environment_is_given_once():
    with pytest.raises(
        TypeError, match="got reward, size twice, in env_kwargs and as an argument: give it once"
    ):
        make_vec_env("PlasticMaze-v0", env_kwargs={"size": 3, "reward": 1.0}, size=5, reward=2.0)
    env = make_vec_env("PlasticMaze-v0", env_kwargs={"size": 3}, episode_length=9)
    assert (env.get_attr("config")[0].size, env.get_attr("episode_length")) == (3, [9])


class Started(Exception):
    pass


class Processes(SubprocVecEnv):
    def __init__(self, env_fns):
        raise Started


def test_processes_are_left_to_what_is_no_batch():
    with pytest.raises(TypeError, match=r"leave out vec_env_cls, or call .*env_util\.make_vec_env"):
        make_vec_env("PlasticMaze-v0", 2, vec_env_cls=Processes)
    for env_id, more in (("CartPole-v1", {}), (Toy, {}), ("PlasticMaze-v0", {"wrapper_class": Monitor})):
        with pytest.raises(Started):
            make_vec_env(env_id, 2, vec_env_cls=Processes, **more)


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_observations_are_the_callers_also_where_the_batch_writes_into_its_own(mode):
    batch = gym.make_vec(
        "CartPole-v1",
        2,
        vectorization_mode=mode,
        vector_kwargs={"autoreset_mode": AutoresetMode.SAME_STEP, "copy": False},
    )
    env = VectorEnvAdapter(batch)
    env.seed(0)
    first = env.reset()
    kept = first.copy()
    second = env.step(np.array([0, 1]))[0]
    third = env.step(np.array([0, 1]))[0]
    assert np.array_equal(first, kept)
    assert not np.array_equal(second, third)
    env.close()
