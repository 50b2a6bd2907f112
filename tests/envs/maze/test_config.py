from dataclasses import fields

import numpy as np
import pytest

from plasticrl.envs import MazeConfig
from plasticrl.envs.maze.config import MazeOptions


@pytest.mark.parametrize(
    ("setting", "error", "words"),
    [
        ({"size": 8}, ValueError, "size must be an odd number.*got 8"),
        ({"size": 1}, ValueError, "size must be.*at least 3.*got 1"),
        ({"size": 9.0}, TypeError, r"size must be an integer, got 9\.0"),
        ({"size": True}, TypeError, "size must be an integer"),
        ({"episode_length": 0}, ValueError, "episode_length must be at least 1 step, got 0"),
        ({"episode_length": "250"}, TypeError, "episode_length must be an integer"),
        ({"reward": float("nan")}, ValueError, "reward must be a finite float32 number, got nan"),
        ({"reward": float("inf")}, ValueError, "reward must be a finite"),
        ({"reward": 1e39}, ValueError, "reward must be a finite float32"),
        ({"reward": None}, TypeError, "reward must be a number"),
        ({"wall_penalty": -0.1}, ValueError, "wall_penalty must be.*0 or more, got -0.1"),
        ({"wall_penalty": float("nan")}, ValueError, "wall_penalty must be"),
        ({"observe_action": 1}, TypeError, "observe_action must be True or False, got 1"),
        ({"observe_time": "no"}, TypeError, "observe_time must be True or False"),
        ({"reward_on_border": None}, TypeError, "reward_on_border must be True or False"),
        ({"recenter": 0}, TypeError, "recenter must be True or False"),
        ({"relocate_every": 0}, ValueError, "relocate_every must be at least 1 step, or None, got 0"),
        ({"relocate_every": 2.5}, TypeError, "relocate_every must be an integer or None, got 2.5"),
        ({"layout_seed": -1}, ValueError, "layout_seed must be 0 or more, or None, got -1"),
        ({"layout_seed": True}, TypeError, "layout_seed must be an integer or None, got True"),
        ({"random_layout": 1}, TypeError, "random_layout must be True or False, got 1"),
        ({"random_layout": True, "layout_seed": 3}, ValueError, "random_layout.*leave out layout_seed=3"),
        ({"sizes": 9}, TypeError, "sizes"),
    ],
)
def test_bad_settings_are_named(setting, error, words):
    with pytest.raises(error, match=words):
        MazeConfig(**setting)


def test_numpy_numbers_are_numbers():
    config = MazeConfig(size=np.int64(5), reward=np.float32(2), wall_penalty=np.float64(0))
    assert config.size == 5
    assert config == MazeConfig(size=5, reward=2.0, wall_penalty=0.0)


def test_options_are_the_fields():
    assert set(MazeOptions.__annotations__) == {field.name for field in fields(MazeConfig)}
