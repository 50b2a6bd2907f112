import tracemalloc
from collections import deque
from itertools import permutations, product

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
from plasticrl.envs.maze import oracle
from plasticrl.envs.maze.config import maze_layout
from plasticrl.envs.maze.oracle import shortest_distances

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


@pytest.mark.parametrize(("size", "seed"), [(3, None), (5, None), (9, 2), (11, None)])
def test_distances_are_breadth_first(size, seed):
    layout = maze_layout(size, seed)
    goals = np.arange(layout.n_squares)[::3]
    for goal, distance in zip(goals, shortest_distances(layout, goals).T, strict=True):
        steps = breadth_first(layout.walls, tuple(layout.squares[goal]))
        assert distance.tolist() == [steps[tuple(square)] for square in layout.squares]


@pytest.mark.parametrize("size", [3, 9, 11])
def test_the_oracle_gets_one_step_nearer_each_time(size):
    layout = maze_layout(size)
    everywhere = np.arange(layout.n_squares)
    distance, action = shortest_distances(layout, everywhere).T, oracle_policy(layout).argmax(axis=2)
    for goal in everywhere:
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


POLICIES = [("oracle", oracle_policy), ("random", random_policy)]


def by_following_everyone(config, policy):
    """The expected score from how probably an agent is where, one step after the other."""
    layout = maze_layout(config.size, config.layout_seed)
    squares = range(layout.n_squares)
    goals = [int(g) for g in (layout.border if config.reward_on_border else squares) if g != layout.start]
    chance, score = np.zeros((layout.n_squares,) * 2), 0.0
    chance[goals, layout.start] = 1 / len(goals)
    for step in range(1, config.episode_length + 1):
        after = np.zeros_like(chance)
        for goal, square, action in product(goals, squares, range(4)):
            share = chance[goal, square] * policy[goal, square, action]
            there = layout.next_square[square, action]
            if there != goal:
                score -= share * config.wall_penalty * (there == square)
                after[goal, there] += share
                continue
            score += share * config.reward
            again = [layout.start] if config.recenter else [s for s in squares if s != goal]
            after[goal, again] += share / len(again)
        if config.relocate_every and step % config.relocate_every == 0:
            chance = np.zeros_like(after)
            for old, new in permutations(goals, 2):
                chance[new] += after[old] / (len(goals) - 1)
        else:
            chance = after
    return score


@pytest.mark.parametrize("values_at_a_time", [1, 100, 2**16])
@pytest.mark.parametrize(("agent", "policy_of"), POLICIES)
@pytest.mark.parametrize("relocate_every", [None, 1, 4, 7, 8, 9])
@pytest.mark.parametrize(
    "options",
    [
        {"size": 3, "recenter": True},
        {"size": 5, "wall_penalty": 0.0},
        {"size": 5, "reward_on_border": True, "layout_seed": 1, "reward": 3.0},
        {"size": 7, "reward_on_border": True},
    ],
    ids=str,
)
def test_expected_scores_are_those_of_everyone(
    options, relocate_every, agent, policy_of, values_at_a_time, monkeypatch
):
    monkeypatch.setattr(oracle, "_VALUES_AT_A_TIME", values_at_a_time)
    maze_bracket.cache_clear()
    config = MazeConfig(episode_length=8, relocate_every=relocate_every, **options)
    expected = by_following_everyone(config, policy_of(maze_layout(config.size, config.layout_seed)))
    assert getattr(maze_bracket(config), agent) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("agent", "policy_of"), POLICIES)
@pytest.mark.parametrize("config", [*CONFIGS, *MOVING], ids=str)
def test_expected_scores_are_what_playing_gives(config, agent, policy_of):
    count = 2000
    policy = policy_of(maze_layout(config.size, config.layout_seed))
    env = PlasticMazeVectorEnv(count, **vars(config))
    env.reset(seed=0)
    rng, score = np.random.default_rng(0), np.zeros(count)
    for _ in range(config.episode_length):
        chance = policy[env.state.goal, env.state.square].cumsum(axis=1)
        score += env.step((rng.random((count, 1)) > chance).sum(axis=1))[1]
    expected = getattr(maze_bracket(config), agent)
    assert abs(score.mean() - expected) < 4 * score.std() / np.sqrt(count)


RANDOM = [
    MazeConfig(size=7, episode_length=80, random_layout=True),
    MazeConfig(size=5, episode_length=40, random_layout=True, reward_on_border=True, relocate_every=9),
]


@pytest.mark.parametrize(("agent", "policy_of"), POLICIES)
@pytest.mark.parametrize("config", RANDOM, ids=str)
def test_scores_over_random_layouts_are_what_playing_gives(config, agent, policy_of, monkeypatch):
    """Within the errors of both: each episode of the play has a layout of its own."""
    count = 600
    env = PlasticMazeVectorEnv(count, **vars(config))
    env.reset(seed=0)
    policies = [policy_of(maze_layout(config.size, int(number))) for number in env.state.layout]
    rng, score = np.random.default_rng(0), np.zeros(count)
    for _ in range(config.episode_length):
        at = zip(policies, env.state.goal, env.state.square, strict=True)
        chance = np.array([policy[goal, square] for policy, goal, square in at]).cumsum(axis=1)
        score += env.step((rng.random((count, 1)) > chance).sum(axis=1))[1]
    maze_bracket.cache_clear()
    expected = getattr(maze_bracket(config), agent)
    error = 0.02 * maze_bracket(config).oracle  # three times the bracket's own
    assert abs(score.mean() - expected) < 4 * score.std() / np.sqrt(count) + error


def test_the_bracket_of_random_layouts_is_the_mean_of_theirs(monkeypatch):
    monkeypatch.setattr(oracle, "_SQUARES", 3 * 65)
    maze_bracket.cache_clear()
    found = maze_bracket(MazeConfig(episode_length=20, random_layout=True))
    each = [maze_bracket(MazeConfig(episode_length=20, layout_seed=seed)) for seed in range(3)]
    assert found.oracle == pytest.approx(np.mean([one.oracle for one in each]), rel=1e-12)
    assert found.random == pytest.approx(np.mean([one.random for one in each]), rel=1e-12)
    maze_bracket.cache_clear()


def test_a_large_maze_takes_little_memory():
    """A table of one agent's action probabilities alone would take 50 MB, which no cache holds."""
    tracemalloc.start()
    maze_bracket(MazeConfig(size=41, episode_length=2))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20e6


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
    distance, goals = shortest_distances(layout, np.arange(9)).T, [g for g in range(9) if g != layout.start]
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
