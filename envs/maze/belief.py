"""The belief agent: perfect memory with simple planning, the third bracket of the maze.

It keeps the exact joint distribution of its own square and the reward's, given all that a network is shown,
and takes the action of the highest value. It is no upper bound: the value looks one step ahead.
"""

from __future__ import annotations

from contextlib import closing
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from plasticrl.envs.maze.config import REWARD, IntArray, MazeConfig
from plasticrl.envs.maze.env import MazeDynamics, PlasticMazeVectorEnv
from plasticrl.envs.maze.oracle import maze_bracket, shortest_distances
from plasticrl.ops.numba.compilation import kernel

_GAMMA, _CURIOSITY = 0.8, 0.1  # judged in the standard maze, that of ICLR, and one with a moving reward
_EPISODES, _SEED = 1000, 0  # of the score
_DIGITS = 9  # of the values that are compared: equal ones must not be ranked by their rounding
_CERTAIN = 3.0  # standard errors


class Belief(NamedTuple):
    """The hypotheses with a chance above 0, of B episodes; sorted by episode and square, (K,) each."""

    episode: IntArray
    square: IntArray  # the agent's
    goal: IntArray  # the reward's
    chance: NDArray[np.float64]  # its sum is 1 in each episode

    def rows(self, chosen: NDArray[np.bool_] | IntArray) -> Belief:
        """Return some of the hypotheses, by a mask or by their places."""
        return Belief(self.episode[chosen], self.square[chosen], self.goal[chosen], self.chance[chosen])

    def joined(self, other: Belief) -> Belief:
        """Return these hypotheses and others, sorted."""
        episode = np.concatenate([self.episode, other.episode])
        square = np.concatenate([self.square, other.square])
        goal = np.concatenate([self.goal, other.goal])
        chance = np.concatenate([self.chance, other.chance])
        return Belief(episode, square, goal, chance).rows(np.lexsort((square, episode)))


class BeliefFilter:
    """Bayes' rule for the maze.

    Args:
        config: the maze; its reward is positive, so that a find is seen, and its layout is known.

    Raises:
        ValueError: the reward is not positive, or layouts are random.
    """

    def __init__(self, config: MazeConfig) -> None:
        config.check_bracket()
        self.config, dynamics = config, MazeDynamics(config)
        self.layout = layout = dynamics.layout
        self.goals = dynamics.goals
        self._codes = _window_codes(layout.windows)
        self._rank = np.full(layout.n_squares, -1, dtype=np.intp)  # places of the goals in ``goals``
        self._rank[self.goals] = np.arange(len(self.goals))

    def start(self, episode: IntArray) -> Belief:
        """Return the belief at the start of these episodes (B,): the start square, and any goal."""
        several = len(self.goals)
        return Belief(
            np.repeat(episode, several),
            np.full(len(episode) * several, self.layout.start, dtype=np.intp),
            np.tile(self.goals, len(episode)),
            np.full(len(episode) * several, 1 / several),
        )

    def after(
        self, belief: Belief, action: IntArray, observation: NDArray[np.float32], moves: NDArray[np.bool_]
    ) -> Belief:
        """Return the belief after a step that did not end the episodes.

        Args:
            belief: before the step.
            action: (B,) what the agent did.
            observation: (B, D) what it was shown then.
            moves: (B,) True where the step is one after which the reward moves.

        Raises:
            ValueError: no hypothesis explains an observation: it is not of this maze.
        """
        found = observation[:, REWARD] > 0
        episode, square = belief.episode, self.layout.next_square[belief.square, action[belief.episode]]
        kept = (square == belief.goal) == found[episode]
        belief = belief._replace(square=square).rows(kept)
        if found.any():
            belief = self._respawned(belief, found)
        seen = self._codes[belief.square] == _window_codes(observation[:, :9])[belief.episode]
        belief = _normalized(belief.rows(seen), len(action))
        return self._moved(belief, moves) if moves.any() else belief

    def _respawned(self, belief: Belief, found: NDArray[np.bool_]) -> Belief:
        """Replace the agent's square by those to which a find may have moved it."""
        again = found[belief.episode]
        if self.config.recenter:
            return belief._replace(square=np.where(again, self.layout.start, belief.square))
        everywhere = self.layout.n_squares
        spread = belief.rows(np.repeat(np.flatnonzero(again), everywhere))
        spread = spread._replace(square=np.tile(np.arange(everywhere), np.count_nonzero(again)))
        elsewhere = spread.square != spread.goal  # all with the same chance
        return belief.rows(~again).joined(spread.rows(elsewhere))

    def _moved(self, belief: Belief, moves: NDArray[np.bool_]) -> Belief:
        """Move the reward in some episodes: to each other goal with the same chance."""
        moving = moves[belief.episode]
        stays, leaves = belief.rows(~moving), belief.rows(moving)
        changes = (np.diff(leaves.episode, prepend=-1) != 0) | (np.diff(leaves.square, prepend=-1) != 0)
        row, several = np.cumsum(changes) - 1, len(self.goals)  # a row: a square of an episode
        table = np.zeros((int(changes.sum()), several))
        table[row, self._rank[leaves.goal]] = leaves.chance
        table = (table.sum(axis=1, keepdims=True) - table) / (several - 1)
        at, rank = np.nonzero(table > 0)
        new = Belief(
            leaves.episode[changes][at], leaves.square[changes][at], self.goals[rank], table[at, rank]
        )
        return stays.joined(new)


def _window_codes(windows: NDArray[np.float32]) -> IntArray:
    """Return windows (N, 9) of walls as whole numbers (N,)."""
    codes: IntArray = (windows > 0.5) @ (1 << np.arange(9))
    return codes


def _normalized(belief: Belief, episodes: int) -> Belief:
    total = np.bincount(belief.episode, belief.chance, episodes)
    if not total.all():
        raise ValueError("the observations are not those of this maze: give the agent the maze's own config")
    return belief._replace(chance=belief.chance / total[belief.episode])


class PlanTables(NamedTuple):
    """A maze as arrays, for the plan; F squares."""

    next_square: NDArray[np.intp]  # (F, 4)
    distance: NDArray[np.intp]  # (F, F) steps from one square to another
    order: NDArray[np.intp]  # (F, F) for each square: all squares, the nearest first
    window: NDArray[np.intp]  # (F,) number of the 3x3 window; squares that look alike share it
    gamma: float  # discount of a find for each step until it
    curiosity: float  # weight of telling squares apart
    bump: float  # penalty for walking into a wall, in finds


@kernel
def action_values(
    tables: PlanTables,
    bounds: NDArray[np.intp],
    square: NDArray[np.intp],
    goal: NDArray[np.intp],
    chance: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return the value of each action, in discounted finds.

    From every square on which the agent may be, it is the largest sum of discounted chances along a shortest
    path that begins with the action, as if the step told the agent where it is. Added are the penalty for
    a wall, and the chance that the next window tells two squares apart that are drawn from the belief.

    Args:
        tables: the maze.
        bounds: (B + 1,) the hypotheses of episode b are ``bounds[b] : bounds[b + 1]``.
        square: (K,) the agent's square in each hypothesis, ascending within an episode.
        goal: (K,) the reward's square in each hypothesis.
        chance: (K,) its probability.

    Returns:
        (B, 4)
    """
    next_square, window = tables.next_square, tables.window
    episodes, squares = len(bounds) - 1, len(next_square)
    values = np.zeros((episodes, 4))
    reward_at, sums = np.zeros(squares), np.zeros(squares)
    alike = np.zeros((4, squares))
    for episode in range(episodes):
        alike[:] = 0.0
        first = bounds[episode]
        while first < bounds[episode + 1]:
            here, last, mass = square[first], first, 0.0
            while last < bounds[episode + 1] and square[last] == here:
                reward_at[goal[last]] = chance[last]
                mass += chance[last]
                last += 1
            for action in range(4):
                there = next_square[here, action]
                alike[action, window[there]] += mass
                if there == here:
                    values[episode, action] -= tables.bump * mass
                if last == first + 1:  # its reward has one place: no path is better than the shortest
                    best = tables.gamma ** tables.distance[there, goal[first]] * mass
                else:
                    best = _best_path(tables, there, reward_at, sums)
                values[episode, action] += tables.gamma * best
            for place in range(first, last):
                reward_at[goal[place]] = 0.0
            first = last
        for action in range(4):
            together = 0.0
            for number in range(squares):
                together += alike[action, number] ** 2
            values[episode, action] += tables.curiosity * (1.0 - together)
    return values


@kernel
def _best_path(
    tables: PlanTables, start: int, reward_at: NDArray[np.float64], sums: NDArray[np.float64]
) -> float:
    """Return the largest discounted sum of chances along a shortest path; both arrays are (F,).

    ``sums`` is overwritten.
    """
    best = 0.0
    for there in tables.order[start]:
        steps, before = tables.distance[start, there], 0.0
        for near in tables.next_square[there]:
            if tables.distance[start, near] < steps:
                before = max(before, sums[near])
        sums[there] = before + tables.gamma**steps * reward_at[there]
        best = max(best, sums[there])
    return best


class BeliefState(NamedTuple):
    """Memory of the agent, for B episodes."""

    belief: Belief
    action: IntArray  # (B,) the latest
    step: IntArray  # (B,) steps taken


class BeliefAgent:
    """The agent that keeps the exact belief and takes the action of the highest value.

    It sees observations only, has the interface of an SB3 agent, and draws no random numbers.

    Args:
        config: the maze.

    Raises:
        ValueError: the reward is not positive, or layouts are random.
    """

    def __init__(self, config: MazeConfig) -> None:
        self.config = config
        self.filter = BeliefFilter(config)
        layout = self.filter.layout
        distance = shortest_distances(layout, np.arange(layout.n_squares))
        self._tables = PlanTables(
            next_square=np.ascontiguousarray(layout.next_square),
            distance=distance,
            order=np.argsort(distance, axis=1, kind="stable"),
            window=np.unique(_window_codes(layout.windows), return_inverse=True)[1].astype(np.intp),
            gamma=_GAMMA,
            curiosity=_CURIOSITY,
            bump=float(config.wall_penalty / config.reward),
        )

    def predict(
        self,
        observation: Any,
        state: BeliefState | None = None,
        episode_start: NDArray[np.bool_] | None = None,
        deterministic: bool = True,
    ) -> tuple[IntArray, BeliefState]:
        """Return the actions (B,) and the state after them.

        Args:
            observation: (B, D) of the maze.
            state: what the previous step returned; None at the start of all episodes.
            episode_start: (B,) True where the observation is the first of an episode. None: nowhere, except
                without a state.
            deterministic: has no effect, since the agent always is.

        Raises:
            ValueError: an observation cannot be one of this maze.
        """
        count = len(observation)
        starts = np.full(count, state is None) if episode_start is None else np.asarray(episode_start, bool)
        step = np.zeros(count, dtype=np.intp)
        if state is None or starts.all():
            belief = self.filter.start(np.arange(count))
        else:
            step = np.where(starts, 0, state.step + 1)
            belief = self._continued(state, observation, starts, step)
        bounds = np.searchsorted(belief.episode, np.arange(count + 1))
        values = action_values(self._tables, bounds, belief.square, belief.goal, belief.chance)
        action: IntArray = values.round(_DIGITS).argmax(axis=1)
        return action, BeliefState(belief, action, step)

    def _continued(
        self, state: BeliefState, observation: Any, starts: NDArray[np.bool_], step: IntArray
    ) -> Belief:
        """Return the belief of episodes some of which begin."""
        every = self.config.relocate_every
        moves = np.zeros(len(step), dtype=np.bool_) if every is None else (step % every == 0)
        if not starts.any():
            return self.filter.after(state.belief, state.action, observation, moves)
        on, number = ~starts, np.cumsum(~starts) - 1  # the others, counted among themselves
        old = state.belief.rows(on[state.belief.episode])
        old = old._replace(episode=number[old.episode])
        old = self.filter.after(old, state.action[on], observation[on], moves[on])
        old = old._replace(episode=np.flatnonzero(on)[old.episode])
        new = self.filter.start(np.flatnonzero(starts))
        return old.joined(new)


class BeliefScore(NamedTuple):
    """Mean score per episode of the belief agent, and its standard error."""

    mean: float
    error: float


def play_belief_agent(config: MazeConfig, episodes: int, seed: int) -> NDArray[np.float64]:
    """Return the points of the belief agent in each of some episodes, (episodes,)."""
    agent, state = BeliefAgent(config), None
    points = np.zeros(episodes)
    with closing(PlasticMazeVectorEnv(episodes, **vars(config))) as env:
        observation, _ = env.reset(seed=seed)
        for _ in range(config.episode_length):
            action, state = agent.predict(observation, state)
            observation, reward, *_ = env.step(action)
            points += reward
    return points


@lru_cache(maxsize=64)
def belief_score(config: MazeConfig) -> BeliefScore:
    """Return the mean score of the belief agent over 1,000 fixed episodes.

    Each configuration is computed once.

    Raises:
        ValueError: the reward is not positive, or layouts are random.
    """
    points = play_belief_agent(config, _EPISODES, _SEED)
    return BeliefScore(float(points.mean()), float(points.std() / np.sqrt(len(points))))


def belief_points(config: MazeConfig) -> float | None:
    """Return the mean score of the belief agent; None if it is not clearly better than the random one.

    That is so in episodes of a single step. None, too, where layouts are random, which it cannot know.

    Raises:
        ValueError: the reward is not positive.
    """
    if config.random_layout:
        return None
    belief = belief_score(config)
    return belief.mean if belief.mean - maze_bracket(config).random > _CERTAIN * belief.error else None


def belief_share(score: float, config: MazeConfig) -> float | None:
    """Return a mean episode score on a scale from the random agent (0) to the belief agent (1).

    None if :func:`belief_points` is.

    Raises:
        ValueError: the reward is not positive.
    """
    random, belief = maze_bracket(config).random, belief_points(config)
    return None if belief is None else (score - random) / (belief - random)
