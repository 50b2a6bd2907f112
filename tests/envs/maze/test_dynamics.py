import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plasticrl.envs import MazeConfig
from plasticrl.envs.maze.config import layout_of, maze_layout
from plasticrl.envs.maze.env import LAYOUTS, MazeDynamics

CONFIGS = st.builds(
    lambda layout, **others: MazeConfig(**layout, **others),
    size=st.sampled_from([3, 5, 7, 9, 11]),
    episode_length=st.integers(1, 40),
    reward=st.sampled_from([10.0, 1.0, 0.3, -2.0]),
    wall_penalty=st.sampled_from([0.0, 0.1, 3.0]),
    observe_action=st.booleans(),
    observe_time=st.booleans(),
    reward_on_border=st.booleans(),
    recenter=st.booleans(),
    relocate_every=st.none() | st.integers(1, 12),
    layout=st.sampled_from([{}, {"layout_seed": 1}, {"layout_seed": 2}, {"random_layout": True}]),
)


def generators(count, seed=0):
    return [np.random.default_rng([seed, row]) for row in range(count)]


def at(dynamics, row, column):
    """Number of the square at a row and column counted from 1."""
    return int(np.flatnonzero((dynamics.layout.squares == (row, column)).all(axis=1))[0])


def placed(dynamics, square, goal, **fields):
    """A batch of one at the given squares."""
    state, _ = dynamics.start(generators(1))
    fields = {"square": square, "goal": goal, **fields}
    return state._replace(**{name: np.array([value]) for name, value in fields.items()})


@settings(max_examples=60, deadline=None)
@given(config=CONFIGS, seed=st.integers(0, 2**32))
def test_every_episode_keeps_the_rules(config, seed):
    dynamics = MazeDynamics(config)
    rngs, actions = generators(8, seed), np.random.default_rng(seed)
    state, observation = dynamics.start(rngs)
    layouts = [layout_of(config, int(number)) for number in state.layout]
    start = np.array([layout.start for layout in layouts])
    assert len(set(state.layout.tolist())) == (8 if config.random_layout else 1)
    low, high = dynamics.observation_space.low, dynamics.observation_space.high
    goal, numbers = state.goal, state.layout
    assert (state.square == start).all()
    assert (goal != start).all()
    if config.reward_on_border:
        assert all(one in layout.border for one, layout in zip(goal, layouts, strict=True))
    paid, bumped = np.zeros(8, dtype=int), np.zeros(8, dtype=int)
    for step in range(1, config.episode_length + 1):
        action = actions.integers(0, 4, 8)
        target = np.array(
            [one.next_square[tuple(at)] for one, *at in zip(layouts, state.square, action, strict=True)]
        )
        before = state.square
        state, observation, reward, ended = dynamics.step(state, action, rngs)
        last = step == config.episode_length
        found, hit = target == goal, target == before
        bumped += hit
        paid += found
        expected = np.where(found, config.reward, np.where(hit, -config.wall_penalty, 0.0))
        assert np.array_equal(reward, expected)
        assert (ended == last).all()
        if config.relocate_every is None or step % config.relocate_every or last:
            assert np.array_equal(state.goal, goal)
        else:
            assert (state.goal != goal).all()
            assert (state.goal != start).all()
            if config.reward_on_border:
                assert all(one in layout.border for one, layout in zip(state.goal, layouts, strict=True))
        stays = ~found | last
        assert np.array_equal(state.square[stays], target[stays])
        moved = state.square[~stays]
        assert (moved != goal[~stays]).all()
        assert ((moved >= 0) & (moved < dynamics.n_squares)).all()
        if config.recenter:
            assert (moved == start[~stays]).all()
        assert np.array_equal(state.layout, numbers)
        goal = state.goal
        assert observation.dtype == np.float32
        assert ((low <= observation) & (observation <= high)).all()
        windows = [one.windows[square] for one, square in zip(layouts, state.square, strict=True)]
        assert np.array_equal(observation[:, :9], windows)
        assert (observation[:, 4] == 0).all(), "the agent stands in a wall"
        assert np.array_equal(observation[:, 9], expected.astype(np.float32))
        if config.observe_action:
            assert np.array_equal(observation[:, 10:14], np.eye(4)[action])
        if config.observe_time:
            assert np.allclose(observation[:, -1], step / config.episode_length)
    told = dynamics.summary(state)
    assert np.array_equal(told["rewards_found"], paid)
    assert np.array_equal(told["wall_hits"], bumped)


@pytest.mark.parametrize(("action", "time"), [(False, False), (True, False), (False, True), (True, True)])
def test_first_observation_tells_the_walls_and_nothing_else(action, time):
    dynamics = MazeDynamics(MazeConfig(observe_action=action, observe_time=time))
    _, observation = dynamics.start(generators(3))
    assert observation.shape == (3, 10 + 4 * action + time)
    corners = [1, 0, 1, 0, 0, 0, 1, 0, 1]  # the centre of a 9x9 maze lies between four pillars
    assert observation[0].tolist() == corners + [0] * (1 + 4 * action + time)


def test_a_find_moves_the_agent_and_shows_the_new_square():
    dynamics = MazeDynamics(MazeConfig())
    state = placed(dynamics, square=at(dynamics, 5, 5), goal=at(dynamics, 5, 6), step=9)
    after = dynamics.step(state, np.array([3]), generators(1))
    assert after.reward.tolist() == [10.0]
    assert after.state.square[0] != after.state.goal[0]
    assert np.array_equal(after.observation[0, :9], dynamics.layout.windows[after.state.square[0]])
    assert after.state.first_find.tolist() == after.state.last_find.tolist() == [10]


def test_the_end_comes_before_the_teleport():
    dynamics = MazeDynamics(MazeConfig(recenter=False))
    goal = at(dynamics, 5, 6)
    state = placed(dynamics, square=at(dynamics, 5, 5), goal=goal, step=249)
    rng = generators(1)
    untouched = generators(1)[0].random()
    after = dynamics.step(state, np.array([3]), rng)
    assert after.ended.tolist() == [True]
    assert after.reward.tolist() == [10.0]
    assert after.state.square.tolist() == [goal]
    assert rng[0].random() == untouched, "a find that ends the episode draws nothing"


def test_respawn_is_uniform_over_the_other_squares():
    dynamics = MazeDynamics(MazeConfig(size=3))
    goal, count = at(dynamics, 2, 3), 8000
    state, _ = dynamics.start(rngs := generators(count))
    state = state._replace(goal=np.full(count, goal))
    square = dynamics.step(state, np.full(count, 3), rngs).state.square
    share = np.bincount(square, minlength=9) / count
    assert share[goal] == 0
    assert np.abs(np.delete(share, goal) - 1 / 8).max() < 5 * np.sqrt(1 / 8 * 7 / 8 / count)


def test_the_goal_is_uniform_over_what_is_allowed():
    count = 8000
    for border, allowed in ((False, 24 - 4), (True, 16)):
        dynamics = MazeDynamics(MazeConfig(size=5, reward_on_border=border))
        goal = dynamics.start(generators(count))[0].goal
        share = np.bincount(goal, minlength=dynamics.layout.n_squares) / count
        share = share[share > 0]
        assert len(share) == allowed
        assert np.abs(share - 1 / allowed).max() < 5 * np.sqrt(1 / allowed / count)


def test_a_reward_moves_to_any_other_place_alike():
    dynamics = MazeDynamics(MazeConfig(size=5, reward_on_border=True, relocate_every=4))
    count = 8000
    state, _ = dynamics.start(rngs := generators(count))
    state = state._replace(goal=np.full(count, dynamics.goals[5]), step=np.full(count, 3))
    goal = dynamics.step(state, np.zeros(count, dtype=int), rngs).state.goal
    share = np.bincount(goal, minlength=dynamics.layout.n_squares)[dynamics.goals] / count
    assert share[5] == 0
    assert np.abs(np.delete(share, 5) - 1 / 15).max() < 5 * np.sqrt(1 / 15 * 14 / 15 / count)


def test_summary_by_hand():
    dynamics = MazeDynamics(MazeConfig())
    state = placed(dynamics, 0, 1, step=250, finds=4, first_find=40, last_find=100, wall_hits=7)
    assert {name: value.item() for name, value in dynamics.summary(state).items()} == {
        "rewards_found": 4,
        "wall_hits": 7,
        "first_reward_step": 40,
        "mean_steps_later": 20.0,
    }


@pytest.mark.parametrize(("finds", "first"), [(0, -1), (1, 33)])
def test_summary_without_later_finds(finds, first):
    dynamics = MazeDynamics(MazeConfig())
    told = dynamics.summary(placed(dynamics, 0, 1, finds=finds, first_find=first, last_find=first))
    assert told["first_reward_step"].tolist() == [first]
    assert told["mean_steps_later"].tolist() == [-1.0]


def test_no_penalty_pays_plain_zero():
    dynamics = MazeDynamics(MazeConfig(wall_penalty=0.0))
    state = placed(dynamics, at(dynamics, 1, 1), at(dynamics, 9, 9))
    after = dynamics.step(state, np.array([0]), generators(1))
    assert after.state.wall_hits.tolist() == [1]
    assert not np.signbit(after.reward).any()
    assert not np.signbit(after.observation).any()


def test_a_step_changes_no_earlier_state():
    dynamics = MazeDynamics(MazeConfig(size=3, episode_length=60))
    rngs, actions = generators(16), np.random.default_rng(1)
    seen, copies = [], []
    state, _ = dynamics.start(rngs)
    for _ in range(60):
        seen.append(state)
        copies.append([field.copy() for field in state])
        state = dynamics.step(state, actions.integers(0, 4, 16), rngs).state
    for old, copy in zip(seen, copies, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(old, copy, strict=True))


@pytest.mark.parametrize(
    ("actions", "words"),
    [
        (np.array([0, 4]), r"one of 0 \(up\), 1 \(down\), 2 \(left\), 3 \(right\); got \[0, 4\]"),
        (np.array([-1, 0]), r"got \[-1, 0\]"),
        (np.array([2**40, 0]), "an action must be"),
        (np.array([0, 200], dtype=np.uint8), "an action must be"),
        (np.array([0.0, 1.0]), "actions must be integers.*float64"),
        (np.array([True, False]), "actions must be integers.*bool"),
        (np.array([0]), r"integers of shape \(2,\).*shape \(1,\)"),
        (np.array([[0], [1]]), r"shape \(2, 1\)"),
    ],
)
def test_bad_actions_are_named(actions, words):
    dynamics = MazeDynamics(MazeConfig())
    state, _ = dynamics.start(generators(2))
    with pytest.raises(ValueError, match=words):
        dynamics.step(state, actions, generators(2))


@pytest.mark.parametrize("kind", [np.int8, np.uint8, np.int32, np.int64, np.uint64])
def test_every_integer_type_is_an_action(kind):
    dynamics = MazeDynamics(MazeConfig())
    state, _ = dynamics.start(generators(4))
    squares = dynamics.step(state, np.arange(4, dtype=kind), generators(4)).state.square
    assert squares.tolist() == dynamics.layout.next_square[dynamics.layout.start].tolist()


def test_random_layouts_are_those_of_their_seeds_and_drawn_evenly():
    dynamics = MazeDynamics(MazeConfig(random_layout=True))
    rngs = generators(1000)
    state, observation = dynamics.start(rngs)
    again = np.array([rng.random() for rng in generators(1000)])
    assert np.array_equal(state.layout, (again * LAYOUTS).astype(int))
    assert len(set(state.layout.tolist())) == 1000
    assert abs(state.layout.mean() / LAYOUTS - 1 / 2) < 5 / np.sqrt(12 * 1000)
    for row in range(0, 1000, 100):
        layout = maze_layout(9, int(state.layout[row]))
        assert np.array_equal(observation[row, :9], layout.windows[layout.start])
    later, _ = dynamics.start(rngs)
    assert not np.isin(later.layout, state.layout).any()


def test_a_maze_with_random_layouts_has_no_layout_of_its_own():
    dynamics = MazeDynamics(MazeConfig(random_layout=True))
    for name in ("layout", "goals"):
        with pytest.raises(ValueError, match="random_layout gives every episode another layout"):
            getattr(dynamics, name)
