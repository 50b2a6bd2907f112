import subprocess
import sys
from types import ModuleType

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env as gymnasium_check_env
from stable_baselines3.common.env_checker import check_env as sb3_check_env

import plasticrl.envs
from plasticrl.envs import EpisodeVectorEnv, VectorEnvAdapter, make_task, make_vec_env
from plasticrl.envs.data.omniglot import OmniglotImages
from plasticrl.envs.registration import register_envs
from plasticrl.envs.supervised import one_shot as omniglot


@pytest.mark.parametrize(
    "code",
    [
        "import plasticrl",
        "import plasticrl.envs",
        "import gymnasium; gym = gymnasium.make('plasticrl:PlasticMaze-v0'); gym.reset(); gym.step(0)",
        "import gymnasium; gymnasium.make_vec('plasticrl:PlasticMaze-v0', num_envs=2).reset()",
        "from plasticrl.envs import PlasticMazeEnv, maze_bracket, MazeConfig; maze_bracket(MazeConfig())",
        "import gymnasium; gym = gymnasium.make('plasticrl:PlasticPatterns-v0'); gym.reset()",
        "import gymnasium; gymnasium.make_vec('plasticrl:PlasticPatterns-v0', num_envs=2).reset()",
        "import gymnasium; gymnasium.make_vec('plasticrl:PlasticRecall-v0', num_envs=2).reset()",
        "import gymnasium; gymnasium.make_vec('plasticrl:PlasticMazeRandom-v0', num_envs=2).reset()",
        "from plasticrl.envs import CueRewardVectorEnv; CueRewardVectorEnv(2).reset()",
    ],
)
def test_the_envs_need_neither_torch_nor_sb3_nor_pillow_nor_pygame(code):
    heavy = "{'torch', 'stable_baselines3', 'PIL', 'pygame', 'numba', 'pooch'}"
    check = f"{code}; import sys; print(sorted({heavy} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_registering_again_changes_nothing():
    before = dict(gym.registry)
    register_envs()
    assert gym.registry == before


@pytest.mark.parametrize("name", plasticrl.envs.__all__)
def test_public_names_load(name):
    value = getattr(plasticrl.envs, name)
    assert getattr(value, "__name__", name) == name
    assert not isinstance(value, ModuleType)  # a module of the same name would hide what it holds
    assert name in dir(plasticrl.envs)


def test_unknown_names_are_attribute_errors():
    with pytest.raises(AttributeError, match=r"plasticrl\.envs attribute Labyrinth$"):
        _ = plasticrl.envs.Labyrinth


@pytest.fixture
def tasks(miniature_cifar, monkeypatch):
    """Options for each registered task that make it small, on generated data."""

    def load_omniglot(size, data_dir):
        assert data_dir == "somewhere"
        pictures = np.random.default_rng(0).integers(0, 256, (1623, 20, size, size), dtype=np.uint8)
        return OmniglotImages(pictures, np.repeat("Greek", 1623))

    monkeypatch.setattr(omniglot, "load_omniglot", load_omniglot)
    return {
        "PlasticPatterns-v0": {"n_bits": 6, "n_patterns": 2},
        "PlasticImages-v0": {"split": "test", "steps_on": 2, "data_dir": miniature_cifar.trees},
        "PlasticOmniglot-v0": {"n_way": 3, "k_shot": 2, "size": 5, "data_dir": "somewhere"},
    }


TASK_IDS = ["PlasticPatterns-v0", "PlasticImages-v0", "PlasticOmniglot-v0"]


@pytest.mark.parametrize("check", [gymnasium_check_env, sb3_check_env])
@pytest.mark.parametrize("env_id", TASK_IDS)
def test_checkers_pass_on_the_registered_tasks(env_id, check, tasks):
    check(gym.make(env_id, **tasks[env_id]).unwrapped)


@pytest.mark.parametrize(
    ("env_id", "observed", "actions", "steps"),
    [
        ("PlasticPatterns-v0", 6, gym.spaces.Box(-1, 1, (6,)), 2 * 13 * 3 + 10),
        ("PlasticImages-v0", 1024, gym.spaces.Box(-1, 1, (1024,)), 3 * 5 * 3 + 3),
        ("PlasticOmniglot-v0", 28, gym.spaces.Discrete(3), 7),
    ],
)
def test_options_of_gym_make_reach_the_tasks(env_id, observed, actions, steps, tasks):
    env = gym.make(env_id, **tasks[env_id])
    assert env.observation_space.shape == (observed,)
    assert env.action_space == actions
    assert env.unwrapped.episode_length == steps
    assert env.spec.max_episode_steps is None
    batch = make_vec_env(env_id, n_envs=2, seed=0, **tasks[env_id])
    assert isinstance(batch, VectorEnvAdapter)
    assert isinstance(batch.env.unwrapped, EpisodeVectorEnv)
    np.testing.assert_array_equal(batch.reset()[0], env.reset(seed=0)[0])


def test_splits_are_those_asked_for(tasks, miniature_cifar):
    """The miniature has 6 images in each of the 4 files to train on, and 4 to test on."""
    options = {"data_dir": miniature_cifar.trees}
    assert len(make_task("images", **options).images) == 24
    assert len(make_task("images", split="test", **options).images) == 4
    options = {"size": 2, "data_dir": "somewhere"}
    assert len(make_task("omniglot", **options).images) == 1523
    assert len(make_task("omniglot", split="test", **options).images) == 100


def test_unknown_tasks_and_options_are_named():
    with pytest.raises(
        ValueError, match="unknown task 'faces': choose one of 'patterns', 'images', 'omniglot'"
    ):
        make_task("faces")
    with pytest.raises(TypeError, match="n_bytes"):
        gym.make("PlasticPatterns-v0", n_bytes=3)
    with pytest.raises(ValueError, match="n_bits must be a whole number, at least 2, got 0"):
        gym.make_vec("PlasticPatterns-v0", num_envs=2, n_bits=0)
