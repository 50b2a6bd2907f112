"""The belief agent: its belief is checked by following every hypothesis one by one, its score by playing."""

from collections import Counter
from itertools import permutations

import numpy as np
import pytest

from plasticrl.envs import (
    BeliefAgent,
    MazeConfig,
    PlasticMazeVectorEnv,
    belief_points,
    belief_score,
    belief_share,
    maze_bracket,
)
from plasticrl.envs.maze.belief import play_belief_agent

SMALL = [
    MazeConfig(size=5, episode_length=60),
    MazeConfig(size=5, episode_length=60, recenter=True, observe_action=False),
    MazeConfig(size=5, episode_length=60, reward_on_border=True, observe_time=True, wall_penalty=0.0),
    MazeConfig(size=5, episode_length=60, layout_seed=1),
    MazeConfig(size=5, episode_length=60, relocate_every=7),
    MazeConfig(size=5, episode_length=40, relocate_every=1, reward_on_border=True, layout_seed=2),
    MazeConfig(size=3, episode_length=40, relocate_every=3, recenter=True),
]


class Enumerated:
    """The chances of all pairs of squares, of which the rules of the maze are written out for each."""

    def __init__(self, env):
        self.config, self.layout, self.step = env.config, env.dynamics.layout, 0
        self.goals = env.dynamics.goals.tolist()
        self.chance = Counter({(self.layout.start, goal): 1 / len(self.goals) for goal in self.goals})

    def see(self, action, observation):
        self.step += 1
        after = Counter()
        for (square, goal), chance in self.chance.items():
            there = int(self.layout.next_square[square, action])
            reward, places = 0.0, [there]
            if there == goal:
                reward = self.config.reward
                others = [one for one in range(self.layout.n_squares) if one != goal]
                places = [self.layout.start] if self.config.recenter else others
            elif there == square:
                reward = -self.config.wall_penalty
            for place in places:
                if (
                    np.float32(reward) == observation[9]
                    and (self.layout.windows[place] == observation[:9]).all()
                ):
                    after[place, goal] += chance / len(places)
        if self.config.relocate_every and self.step % self.config.relocate_every == 0:
            moved = Counter()
            for (square, goal), chance in after.items():
                for old, new in permutations(self.goals, 2):
                    if old == goal:
                        moved[square, new] += chance / (len(self.goals) - 1)
            after = moved
        total = sum(after.values())
        self.chance = Counter({pair: chance / total for pair, chance in after.items()})


def believed(state, episode):
    """The pairs of squares of an episode that the agent holds possible, with their chances."""
    mine = state.belief.episode == episode
    pairs = zip(state.belief.square[mine].tolist(), state.belief.goal[mine].tolist(), strict=True)
    return dict(zip(pairs, state.belief.chance[mine].tolist(), strict=True))


@pytest.mark.parametrize("wanders", [False, True], ids=["agent", "random"])
@pytest.mark.parametrize("config", SMALL, ids=str)
def test_the_belief_is_that_of_everyone(config, wanders):
    """Where the actions are the agent's own, and where they are random ones, which run into walls."""
    count = 6
    env = PlasticMazeVectorEnv(count, **vars(config))
    agent, state, rng = BeliefAgent(config), None, np.random.default_rng(0)
    observation, _ = env.reset(seed=1)
    everyone = [Enumerated(env) for _ in range(count)]
    for _ in range(config.episode_length - 1):
        action, state = agent.predict(observation, state)
        for episode, one in enumerate(everyone):
            found = believed(state, episode)
            assert found.keys() == one.chance.keys()
            assert found == pytest.approx(dict(one.chance), abs=1e-12)
            assert sum(found.values()) == pytest.approx(1, abs=1e-12)
            assert found[env.state.square[episode], env.state.goal[episode]] > 0
        if wanders:
            action = rng.integers(4, size=count)
            state = state._replace(action=action)
        observation, *_ = env.step(action)
        for one, did, seen in zip(everyone, action, observation, strict=True):
            one.see(did, seen)


@pytest.mark.parametrize("layout_seed", [None, 2])
def test_the_belief_collapses_on_the_truth(layout_seed):
    config = MazeConfig(layout_seed=layout_seed)
    env = PlasticMazeVectorEnv(20, **vars(config))
    agent, state = BeliefAgent(config), None
    observation, _ = env.reset(seed=3)
    certain = np.zeros(20)  # steps of each episode with a single hypothesis
    for _ in range(config.episode_length - 1):
        action, state = agent.predict(observation, state)
        for episode in range(20):
            found, goal = believed(state, episode), env.state.goal[episode]
            if env.state.finds[episode]:
                assert {where for _, where in found} == {goal}
                certain[episode] += len(found) == 1
        observation, *_ = env.step(action)
    assert (certain > 20).all(), "between finds it also learns where it is itself"


def test_what_is_hidden_has_no_effect():
    """Mazes that differ in the reward's square only are played alike until one of them is found."""
    config = MazeConfig()
    count = 64
    env = PlasticMazeVectorEnv(count, **vars(config))
    observation, _ = env.reset(seed=0)
    agent, state, alike = BeliefAgent(config), None, np.ones(count, dtype=np.bool_)
    assert len(set(env.state.goal.tolist())) > 20
    for _ in range(30):
        action, state = agent.predict(observation, state)
        assert len(set(action[alike].tolist())) == 1
        observation, reward, *_ = env.step(action)
        alike &= reward <= 0
    assert 1 < alike.sum() < count


def test_episodes_may_begin_at_different_times():
    config = MazeConfig(size=5, episode_length=50, relocate_every=9)
    agent = BeliefAgent(config)
    envs = [PlasticMazeVectorEnv(1, **vars(config)) for _ in range(3)]
    starts, alone = (0, 4, 11), [None, None, None]
    seen = [env.reset(seed=seed)[0] for seed, env in enumerate(envs)]
    state = None
    for step in range(40):
        begins = np.array([step in (0, start) for start in starts])
        for number, (env, start) in enumerate(zip(envs, starts, strict=True)):
            if step == start:
                seen[number], alone[number] = env.reset(seed=number)[0], None
        action, state = agent.predict(np.concatenate(seen), state, begins)
        for number, env in enumerate(envs):
            own, alone[number] = agent.predict(seen[number], alone[number])
            assert own[0] == action[number]
            assert believed(alone[number], 0) == believed(state, number)
            seen[number], *_ = env.step(own)


def test_other_observations_are_refused():
    agent = BeliefAgent(MazeConfig())
    observation, _ = PlasticMazeVectorEnv(1).reset(seed=0)
    _, state = agent.predict(observation)
    with pytest.raises(ValueError, match="not those of this maze"):
        agent.predict(np.ones_like(observation) * (np.arange(14) != 9), state)


def test_a_maze_without_a_reward_has_no_belief_agent():
    with pytest.raises(ValueError, match="positive reward, got reward="):
        BeliefAgent(MazeConfig(reward=0.0))


def test_its_score():
    points = play_belief_agent(MazeConfig(), 500, seed=1)
    assert points.mean() > 280
    assert points.mean() < maze_bracket(MazeConfig()).oracle


@pytest.mark.parametrize(
    "config",
    [
        MazeConfig(size=11, episode_length=200, wall_penalty=0.0),
        MazeConfig(layout_seed=2),
        MazeConfig(relocate_every=50),
        MazeConfig(reward_on_border=True),
    ],
    ids=str,
)
def test_it_is_between_the_other_brackets(config):
    bracket, score = maze_bracket(config), play_belief_agent(config, 100, seed=0).mean()
    assert bracket.random + 0.25 * (bracket.oracle - bracket.random) < score < bracket.oracle


def test_share():
    config = MazeConfig(size=5, episode_length=30)
    belief, random = belief_score(config).mean, maze_bracket(config).random
    assert belief_share(belief, config) == 1
    assert belief_share(random, config) == 0
    assert belief_share((belief + random) / 2, config) == pytest.approx(0.5)


def test_no_share_where_one_step_is_all():
    """All first steps are equally good: even perfect memory is no better than chance."""
    assert belief_share(1.0, MazeConfig(episode_length=1)) is None


@pytest.mark.parametrize("use", [BeliefAgent, belief_score])
def test_a_maze_that_it_cannot_know_is_refused(use):
    with pytest.raises(ValueError, match=r"random_layout gives every episode another layout.*layout_seed"):
        use(MazeConfig(random_layout=True))


def test_random_layouts_have_no_points_of_the_belief_agent():
    config = MazeConfig(size=5, episode_length=20, random_layout=True)
    assert belief_points(config) is None
    assert belief_share(3.0, config) is None
