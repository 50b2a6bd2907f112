import subprocess
import sys

import gymnasium as gym
import pytest

import plasticrl.envs
from plasticrl.envs.registration import register_envs


@pytest.mark.parametrize(
    "code",
    [
        "import plasticrl",
        "import plasticrl.envs",
        "import gymnasium; gym = gymnasium.make('plasticrl:PlasticMaze-v0'); gym.reset(); gym.step(0)",
        "import gymnasium; gymnasium.make_vec('plasticrl:PlasticMaze-v0', num_envs=2).reset()",
        "from plasticrl.envs import PlasticMazeEnv, maze_bracket, MazeConfig; maze_bracket(MazeConfig())",
    ],
)
def test_the_mazes_need_neither_torch_nor_sb3_nor_pillow_nor_pygame(code):
    heavy = "{'torch', 'stable_baselines3', 'PIL', 'pygame', 'numba'}"
    check = f"{code}; import sys; print(sorted({heavy} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_registering_again_changes_nothing():
    before = dict(gym.registry)
    register_envs()
    assert gym.registry == before


@pytest.mark.parametrize("name", plasticrl.envs.__all__)
def test_public_names_load(name):
    assert getattr(plasticrl.envs, name).__name__ == name
    assert name in dir(plasticrl.envs)


def test_unknown_names_are_attribute_errors():
    with pytest.raises(AttributeError, match=r"'plasticrl\.envs' has no attribute 'Labyrinth'"):
        _ = plasticrl.envs.Labyrinth
