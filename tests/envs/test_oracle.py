from collections import deque

import numpy as np
import pytest

from plasticrl.envs import (
    MazeConfig,
    PlasticMazeVectorEnv,
    maze_bracket,
    oracle_policy,
    oracle_share,
    random_policy,
)
from plasticrl.envs.maze_layout import maze_layout
from plasticrl.envs.oracle import expected_score, shortest_distances

CONFIGS = [
    MazeConfig(),
    MazeConfig(size=11, episode_length=200, wall_penalty=0.0),
    MazeConfig(size=5, reward_on_border=True, reward=3.0),
    MazeConfig(recenter=True, episode_length=60),
    MazeConfig(size=3, episode_length=1),
    MazeConfig(layout_seed=2),
]
MOVING = [
    MazeConfig(relocate_every=125),
    MazeConfig(size=5, episode_length=60, relocate_every=7, reward_on_border=True),
    MazeConfig(size=3, episode_length=20, relocate_every=1, recenter=True),
]


def breadth_first(walls, origin):
    """Steps to every reachable square from one, by a queue over the picture of the walls."""
    steps, queue = {origin: 0}, deque([origin])
    while queue:
        row, column = queue.popleft()
        for near in ((row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1)):
            if not walls[near] and near not in steps:
                steps[near] = steps[row, column] + 1
                queue.append(near)
    return steps


@pytest.mark.parametrize("size", [3, 5, 9, 11])
def test_distances_are_breadth_first(size):
    layout = maze_layout(size)
    distance = shortest_distances(layout)
    for goal, place in enumerate(layout.squares):
        steps = breadth_first(layout.walls, tuple(place))
        assert distance[goal].tolist() == [steps[tuple(square)] for square in layout.squares]


@pytest.mark.parametrize("size", [3, 9, 11])
def test_the_oracle_gets_one_step_nearer_each_time(size):
    layout = maze_layout(size)
    distance, action = shortest_distances(layout), oracle_policy(layout).argmax(axis=2)
    for goal in range(layout.n_squares):
        there = layout.next_square[np.arange(layout.n_squares), action[goal]]
        away = np.arange(layout.n_squares) != goal
        assert (distance[goal, there] == distance[goal] - 1)[away].all()


def oracle_by_renewal(config):
    """The oracle's expected score from travel times alone: each find restarts the walk somewhere else."""
    layout = maze_layout(config.size, config.layout_seed)
    start = tuple(layout.squares[layout.start])
    scores = []
    for place in map(tuple, layout.squares):
        inside = min(place) > 1 and max(place) < config.size
        if place == start or (config.reward_on_border and inside):
            continue
        steps = breadth_first(layout.walls, place)
        again = [steps[start]] if config.recenter else [n for square, n in steps.items() if square != place]
        finds = [0.0]  # expected finds within t steps after a respawn
        for t in range(1, config.episode_length + 1):
            finds.append(sum(1 + finds[t - n] for n in again if n <= t) / len(again))
        left = config.episode_length - steps[start]
        scores.append(config.reward * (1 + finds[left]) if left >= 0 else 0.0)
    return np.mean(scores)


@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_the_oracles_score_is_that_of_a_renewal_process(config):
    assert maze_bracket(config).oracle == pytest.approx(oracle_by_renewal(config), rel=1e-12)


@pytest.mark.parametrize("policy_of", [oracle_policy, random_policy])
@pytest.mark.parametrize("config", [*CONFIGS, *MOVING], ids=str)
def test_expected_scores_are_what_playing_gives(config, policy_of):
    count = 2000
    layout = maze_layout(config.size, config.layout_seed)
    policy = policy_of(layout)
    env = PlasticMazeVectorEnv(count, **vars(config))
    env.reset(seed=0)
    rng, score = np.random.default_rng(0), np.zeros(count)
    for _ in range(config.episode_length):
        chance = policy[env.state.goal, env.state.square].cumsum(axis=1)
        score += env.step((rng.random((count, 1)) > chance).sum(axis=1))[1]
    assert abs(score.mean() - expected_score(config, policy)) < 4 * score.std() / np.sqrt(count)


def test_the_published_bracket():
    bracket = maze_bracket(MazeConfig())
    assert bracket.oracle == pytest.approx(404, abs=2)
    assert bracket.random == pytest.approx(0, abs=0.2)


def test_one_step_by_hand():
    """In the open 3x3 maze, one step from the centre: 4 of 8 goals are next to it."""
    bracket = maze_bracket(MazeConfig(size=3, episode_length=1, reward=8.0))
    assert (bracket.oracle, bracket.random) == (pytest.approx(4.0), pytest.approx(1.0))


def test_a_reward_that_moves_by_hand():
    """In the open 3x3 maze it moves after the first of two steps: 4 of 8 goals are next to the centre."""
    config = MazeConfig(size=3, episode_length=2, reward=1.0, wall_penalty=0.0, relocate_every=1)
    layout = maze_layout(3)
    distance, goals = shortest_distances(layout), [g for g in range(9) if g != layout.start]
    second = 0.0
    for goal in goals:  # where it was at first
        near = distance[goal, layout.start] == 1
        # A find sends the agent to any of the other 8 squares; else it is one step nearer.
        there = layout.next_square[layout.start, oracle_policy(layout)[goal, layout.start].argmax()]
        squares = [s for s in range(9) if s != goal] if near else [there]
        within = [distance[g, s] <= 1 for g in goals if g != goal for s in squares]
        second += np.mean(within) / len(goals)
    assert maze_bracket(config).oracle == pytest.approx(4 / 8 + second)


def test_share():
    config = MazeConfig()
    bracket = maze_bracket(config)
    assert oracle_share(bracket.oracle, config) == 1
    assert oracle_share(bracket.random, config) == 0
    assert oracle_share((bracket.oracle + bracket.random) / 2, config) == pytest.approx(0.5)


@pytest.mark.parametrize("reward", [0.0, -1.0])
def test_a_maze_without_a_reward_has_no_bracket(reward):
    with pytest.raises(ValueError, match="positive reward, got reward="):
        maze_bracket(MazeConfig(reward=reward))
