"""The compiled maze against the one that numpy steps, for any maze and any walk."""

import numpy as np
import pytest
from gymnasium.utils import seeding

from plasticrl.envs.maze.env import PlasticMazeVectorEnv
from plasticrl.envs.maze.kernel import MazePosition, maze_of, maze_step, stretches

MAZES = [
    {},
    {"size": 3, "episode_length": 7},  # eight squares: finds on every kind of step, the last one too
    {"size": 3, "episode_length": 1},
    {"size": 5, "episode_length": 30, "recenter": True},
    {"size": 5, "episode_length": 30, "reward_on_border": True, "wall_penalty": 3.0},
    {"size": 3, "episode_length": 20, "reward": -2.0, "observe_time": True, "observe_action": False},
    {"size": 11, "episode_length": 50, "observe_time": False, "observe_action": True},
    {"size": 3, "episode_length": 30, "relocate_every": 1},
    {"size": 5, "episode_length": 30, "relocate_every": 10, "reward_on_border": True},
    {"size": 5, "episode_length": 30, "layout_seed": 3},
    {"size": 3, "episode_length": 30, "relocate_every": 4, "recenter": True, "observe_time": True},
    {"size": 5, "episode_length": 30, "random_layout": True},
    {"size": 5, "episode_length": 1, "random_layout": True},
    {"size": 7, "episode_length": 25, "random_layout": True, "relocate_every": 3, "reward_on_border": True},
    {"size": 5, "episode_length": 30, "random_layout": True, "recenter": True, "observe_time": True},
]


@pytest.mark.parametrize("maze", MAZES, ids=str)
def test_the_compiled_maze_steps_like_the_batched_one(maze):
    mazes, steps = 3, 120
    env, twin = PlasticMazeVectorEnv(mazes, **maze), PlasticMazeVectorEnv(mazes, **maze)
    observation, _ = env.reset(seed=4)
    twin.reset(seed=4)
    uniform, begins = env.upcoming(steps), 1 + env.config.random_layout
    drawn = seeding.np_random(5)[0].random(uniform.shape[1] + begins)
    assert (uniform[1] == drawn[begins:]).all()  # the layout, if any, and the goal took the first
    seen = np.empty((steps + 1, *observation.shape), dtype=np.float32)
    seen[0] = observation
    actions = np.random.default_rng(0).integers(0, 4, (steps, mazes))
    finds = 0
    for stretch in stretches(twin, uniform, seen):
        for step in range(*stretch.steps):
            assert (seen[step] == observation).all()
            state = np.stack([env.state.square, env.state.goal, env.state.step], axis=1)
            assert (stretch.positions[:, :3] == state).all()
            observation, reward, ended, *_ = env.step(actions[step])
            finds += (reward == env.config.reward).sum()
            for row in range(mazes):
                own, at = maze_of(stretch.mazes, row), MazePosition(*stretch.positions[row])
                at, paid, over = maze_step(own, at, actions[step, row], uniform[row], seen[step + 1, row])
                assert (paid, over) == (reward[row], ended[row])
                stretch.positions[row] = at
    assert (seen[steps] == observation).all()
    assert step == steps - 1
    assert finds or env.config.size > 5


def test_looking_ahead_takes_no_random_numbers():
    looked, not_looked = (PlasticMazeVectorEnv(2, size=3) for _ in range(2))
    for env in (looked, not_looked):
        env.reset(seed=1)
    first = looked.upcoming(5)
    assert (looked.upcoming(8)[:, :5] == first).all()
    for action in np.random.default_rng(0).integers(0, 4, (300, 2)):
        assert (looked.step(action)[0] == not_looked.step(action)[0]).all()
