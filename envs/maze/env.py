"""``PlasticMaze-v0``, its rules and its environments: find an invisible reward, remember it, and return."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from plasticrl.envs.common.lockstep import (
    FPS,
    SAME_STEP,
    Dynamics,
    Generators,
    LockstepEnv,
    LockstepVectorEnv,
    Transition,
    vector_maker,
)
from plasticrl.envs.common.state_dict import entry, generator_states, restored_generators, whole_numbers
from plasticrl.envs.maze.config import (
    ACTIONS,
    REWARD,
    IntArray,
    MazeConfig,
    MazeLayout,
    MazeOptions,
    MazeState,
    MazeTables,
    layout_of,
    maze_tables,
)
from plasticrl.envs.maze.rendering import MazeView

if TYPE_CHECKING:
    from typing_extensions import Unpack

LAYOUTS = 2**31  # numbers of random layouts, each the seed of one


class MazeDynamics(Dynamics[MazeState]):
    """The rules of a maze as pure functions of a batch of states.

    The next square, the reward and the whole observation of a step come from tables; only the rows that find
    the reward are handled one by one. The tables of random layouts are those of the latest batches.

    Args:
        config: the maze.

    Attributes:
        n_squares: number F of free squares.
        one_layout: the tables if all episodes have the same layout, else None.
        draws: random numbers with which an episode starts.
    """

    def __init__(self, config: MazeConfig) -> None:
        self.config = config
        tables = maze_tables(config, [config.layout_seed])
        self.n_squares = len(tables.windows)
        self.one_layout = None if config.random_layout else tables
        self.draws = 1 + config.random_layout
        self._latest: dict[bytes, MazeTables] = {}

        low = np.zeros_like(tables.start_observation[0])
        high = np.ones_like(low)
        low[REWARD] = min(0.0 - config.wall_penalty, config.reward, 0.0)
        high[REWARD] = max(0.0, config.reward)
        self.observation_space = gym.spaces.Box(low, high, dtype=np.float32)
        self.action_space = gym.spaces.Discrete(len(ACTIONS))
        self.episode_length = config.episode_length

    @property
    def layout(self) -> MazeLayout:
        """The layout of all episodes.

        Raises:
            ValueError: every episode has its own.
        """
        self._only()
        return layout_of(self.config)

    @property
    def goals(self) -> IntArray:
        """The squares of :attr:`layout` where the reward may lie, ascending.

        Raises:
            ValueError: every episode has its own layout.
        """
        goals: IntArray = self._only().goals[0]
        return goals

    def _only(self) -> MazeTables:
        if self.one_layout is None:
            raise ValueError(
                "random_layout gives every episode another layout, so there is none to know beforehand: "
                "choose one with layout_seed"
            )
        return self.one_layout

    def tables(self, layout: IntArray) -> MazeTables:
        """Return the tables of B episodes by the numbers of their layouts, (B,); or those of the only one."""
        if self.one_layout is not None:
            return self.one_layout
        key = layout.tobytes()
        if key not in self._latest:
            if len(self._latest) > 1:  # those of the episodes under way, and of the next ones
                del self._latest[next(iter(self._latest))]
            self._latest[key] = maze_tables(self.config, layout.tolist())
        return self._latest[key]

    def start(self, rngs: Generators) -> tuple[MazeState, NDArray[np.float32]]:
        """Start one episode per generator; return their states and first observations (B, D)."""
        uniform = np.array([rng.random() for rng in rngs for _ in range(self.draws)])
        return self.begin(uniform.reshape(len(rngs), self.draws))

    def begin(self, uniform: NDArray[np.float64]) -> tuple[MazeState, NDArray[np.float32]]:
        """Start B episodes with given random numbers; return their states and first observations (B, D).

        Args:
            uniform: (B, draws) in [0, 1): one for the layout if it is random, and one for the goal.
        """
        count = len(uniform)
        zero, none = np.zeros(count, dtype=np.intp), np.full(count, -1, dtype=np.intp)
        layout = (uniform[:, 0] * LAYOUTS).astype(np.intp) if self.config.random_layout else zero
        tables, which = self.tables(layout), self._which(np.arange(count))
        goal = tables.goals[which, (uniform[:, -1] * tables.n_goals[which]).astype(np.intp)]
        state = MazeState(tables.start[which], goal, zero, zero, zero, none, none, layout)
        return state, tables.start_observation[which]

    def _which(self, rows: IntArray) -> IntArray:
        """Return the places of episodes' layouts in the tables."""
        return rows if self.one_layout is None else np.zeros_like(rows)

    def step(self, state: MazeState, action: NDArray[Any], rngs: Generators) -> Transition:
        """Step every episode.

        The episode ends before the teleport: a find on the last step leaves the agent where it is. A moving
        reward moves last, and not at the end of an episode.

        Args:
            state: B episodes; not modified.
            action: (B,) integers 0 .. 3: up, down, left, right.
            rngs: the B generators. A find draws one number from its episode's generator, and a reward that
                moves draws another one.

        Raises:
            ValueError: the actions are not B integers in 0 .. 3.
        """
        config, tables = self.config, self.one_layout
        code = state.square * 4 + _checked(action, state.square.shape)
        if tables is None:
            tables = self.tables(state.layout)
            code += np.arange(len(code)) * (4 * self.n_squares)
        square = tables.next_square.take(code)
        reward = tables.rewards.take(code)
        observation = tables.observations.take(code, axis=0)
        step = state.step + 1
        ended = step >= config.episode_length
        finds, first, last = state.finds, state.first_find, state.last_find
        found = square == state.goal
        if np.count_nonzero(found):
            reward[found] = config.reward
            observation[found, REWARD] = config.reward
            finds = finds + found
            first = np.where(found & (first < 0), step, first)
            last = np.where(found, step, last)
            rows = np.flatnonzero(found & ~ended)
            place = square[rows] = self._respawn(tables, state.goal, rows, rngs)
            if self.one_layout is None:
                place = place + rows * self.n_squares
            observation[rows, :9] = tables.windows[place]
        if config.observe_time:
            observation[:, -1] = step / config.episode_length
        goal = state.goal
        if config.relocate_every is not None:
            moving = (step % config.relocate_every == 0) & ~ended
            goal = self._relocated(tables, goal, np.flatnonzero(moving), rngs)
        wall_hits = state.wall_hits + tables.hits.take(code)
        after = MazeState(square, goal, step, wall_hits, finds, first, last, state.layout)
        return Transition(after, observation, reward, ended)

    def _respawn(self, tables: MazeTables, goal: IntArray, rows: IntArray, rngs: Generators) -> IntArray:
        if self.config.recenter:
            return tables.start[self._which(rows)]
        square = _draw([rngs[row] for row in rows.tolist()], self.n_squares - 1)
        return square + (square >= goal[rows])  # uniform over the squares that are not the goal

    def _relocated(self, tables: MazeTables, goal: IntArray, rows: IntArray, rngs: Generators) -> IntArray:
        which = self._which(rows)
        number = _draw([rngs[row] for row in rows.tolist()], tables.n_goals[which] - 1)
        goals = tables.goals[which]
        number = number + (number >= (goals < goal[rows, None]).sum(axis=1))  # uniform over the other goals
        goal = goal.copy()
        goal[rows] = np.take_along_axis(goals, number[:, None], axis=1)[:, 0]
        return goal

    def steps_taken(self, state: MazeState) -> int:
        """Return the number of steps since the episodes began, which all began together."""
        return int(state.step[0])

    def summary(self, state: MazeState) -> dict[str, NDArray[Any]]:
        """Return the entries of ``info`` at the end of episodes, each of shape (B,).

        ``rewards_found``; ``wall_hits``; ``first_reward_step``, the step of the first find (-1 without one);
        ``mean_steps_later``, the mean number of steps from one find to the next (-1.0 with fewer than two).
        """
        span = (state.last_find - state.first_find) / np.maximum(state.finds - 1, 1)
        return {
            "rewards_found": state.finds,
            "wall_hits": state.wall_hits,
            "first_reward_step": state.first_find,
            "mean_steps_later": np.where(state.finds > 1, span, -1.0),
        }

    def state_dict(self, state: MazeState, rngs: Generators) -> dict[str, Any]:
        """Return the full state of B mazes."""
        mazes = {name: array.copy() for name, array in state._asdict().items()}
        if not self.config.random_layout:
            del mazes["layout"]
        return {"config": asdict(self.config), "generators": generator_states(rngs), "mazes": mazes}

    def restored(self, saved: Any, count: int, *, over: bool) -> tuple[MazeState, list[np.random.Generator]]:
        """Return the checked content of a :meth:`state_dict`; compiled code indexes by it without checks."""
        config, found = asdict(self.config), entry(saved, "config")
        early = {"random_layout": False}  # what early states lack
        if not isinstance(found, Mapping) or {**early, **found} != config:
            raise ValueError(f"the saved mazes have the settings {found}, these have {config}")
        mazes = entry(saved, "mazes")

        def field(name: str, least: int, most: Any) -> Any:
            return whole_numbers(name, entry(mazes, name), (count,), least, most)

        squares = self.n_squares - 1
        step = field("step", 0, self.episode_length - (not over))
        layout = np.zeros_like(step)
        if self.config.random_layout:
            layout = field("layout", 0, LAYOUTS - 1)
        state = MazeState(
            square=field("square", 0, squares),
            goal=field("goal", 0, squares),
            step=step,
            wall_hits=field("wall_hits", 0, step),
            finds=field("finds", 0, step),
            first_find=field("first_find", -1, step),
            last_find=field("last_find", -1, step),
            layout=layout,
        )
        goals = self.tables(layout).goals[self._which(np.arange(count))]
        if not (state.goal[:, None] == goals).any(axis=1).all():
            raise ValueError(f"goal must be squares where the reward may lie, got {state.goal.tolist()}")
        if (step != step[0]).any():
            raise ValueError(f"step must be the same for all mazes, got {step.tolist()}")
        return state, restored_generators(entry(saved, "generators"), count)


def _draw(rngs: Generators, n: int | IntArray) -> IntArray:
    """Draw one integer below n from each generator; ``random`` is several times faster than ``integers``."""
    uniform = np.array([rng.random() for rng in rngs], dtype=np.float64)
    return (uniform * n).astype(np.intp)


def _checked(action: NDArray[Any], shape: tuple[int, ...]) -> IntArray:
    action = np.asarray(action)
    if action.shape != shape or action.dtype.kind not in "iu":
        got = f"{action.dtype} of shape {action.shape}"
        raise ValueError(f"actions must be integers of shape {shape}, one for each episode, got {got}")
    if np.bitwise_or.reduce(action) >> 2:  # a bit above the lowest two is set: negative or above 3
        words = ", ".join(f"{number} ({name})" for number, name in enumerate(ACTIONS))
        raise ValueError(f"an action must be one of {words}; got {np.unique(action).tolist()}")
    return action.astype(np.intp, copy=False)


class PlasticMazeEnv(LockstepEnv[MazeState]):
    """The maze of Miconi et al. (2018), section 4.4, for one agent.

    Each episode hides a reward on one free square, never on the start. Stepping on it pays ``reward``
    and moves the agent to a random other free square (to the start with ``recenter``). Walking into a
    wall leaves the agent where it is and costs ``wall_penalty``. After ``episode_length`` steps the
    episode is ``terminated``, since the lifetime is over and there is nothing to bootstrap from; the
    environment is therefore registered without a time limit. A find on the last step does not move the
    agent. With ``random_layout`` each episode has other pillars, by a number that is drawn at its start:
    ``maze_layout(size, number)`` is its layout.

    Actions: 0 up, 1 down, 2 left, 3 right.

    Observation, a float32 vector: the 3x3 neighbourhood (9 numbers, 1 is a wall, row by row, the agent in
    the middle); the previous reward; with ``observe_action`` the previous action (4 numbers, one-hot,
    zeros at the start); with ``observe_time`` step / episode_length.

    ``info`` is empty except at the end of an episode, when it holds the values of
    ``MazeDynamics.summary``: ``rewards_found``, ``wall_hits``, ``first_reward_step``, ``mean_steps_later``.

    Args:
        render_mode: None, "rgb_array", "ansi" or "human" (needs ``pip install plasticrl[render]``).
        render_size: side of a rendered picture in pixels, even and at least 64.
        **maze: the fields of ``plasticrl.envs.MazeConfig``.

    Raises:
        ValueError, TypeError: an argument is not allowed; the message names it.
    """

    metadata = {"render_modes": ["human", "rgb_array", "ansi"], "render_fps": FPS}  # noqa: RUF012
    dynamics: MazeDynamics

    def __init__(
        self, *, render_mode: str | None = None, render_size: int = 384, **maze: Unpack[MazeOptions]
    ) -> None:
        self.config = MazeConfig(**maze)
        self._view = MazeView(self.config, _picture_size(render_size))
        super().__init__(MazeDynamics(self.config), self._view.render, render_mode)

    def close(self) -> None:
        """Close the window, if there is one."""
        self._view.close()


class PlasticMazeVectorEnv(LockstepVectorEnv[MazeState]):
    """``num_envs`` mazes with the rules, spaces and arguments of ``PlasticMazeEnv``.

    See ``LockstepVectorEnv`` for seeds and for the end of an episode.

    Args:
        num_envs: number of mazes, at least 1.
        render_mode: None, "rgb_array" or "ansi".
        render_size: side of one rendered picture in pixels, even and at least 64.
        **maze: the fields of ``plasticrl.envs.MazeConfig``.

    Raises:
        ValueError, TypeError: an argument is not allowed; the message names it.
    """

    metadata = {  # noqa: RUF012
        "render_modes": ["rgb_array", "ansi"],
        "render_fps": FPS,
        "autoreset_mode": SAME_STEP,
    }
    dynamics: MazeDynamics

    def __init__(
        self,
        num_envs: int = 1,
        *,
        render_mode: str | None = None,
        render_size: int = 384,
        **maze: Unpack[MazeOptions],
    ) -> None:
        self.config = MazeConfig(**maze)
        draw = MazeView(self.config, _picture_size(render_size)).render
        super().__init__(MazeDynamics(self.config), draw, num_envs, render_mode)

    def upcoming(self, steps: int) -> NDArray[np.float64]:
        """Return the next random numbers of each maze, enough for ``steps`` steps, without drawing them.

        Returns:
            (num_envs, steps), or (num_envs, 2 * steps) if the reward moves or layouts are random, since a
            step may then use two.
        """
        one = self.config.relocate_every is None and not self.config.random_layout
        count = steps if one else 2 * steps
        numbers = np.empty((self.num_envs, count))
        for row, rng in enumerate(self._rngs):
            before = rng.bit_generator.state
            numbers[row] = rng.random(count)
            rng.bit_generator.state = before
        return numbers


def _picture_size(side: int) -> int:
    """Return the side of a picture in pixels; video formats need an even one.

    Raises:
        ValueError: it is odd, or below 64.
    """
    if side < 64 or side % 2:
        raise ValueError(f"render_size must be an even number of pixels, at least 64, got {side}")
    return side


make_maze_vector_env = vector_maker(PlasticMazeVectorEnv)
"""The entry point for ``gym.make_vec``."""
