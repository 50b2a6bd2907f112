"""The validated settings of the maze, ``PlasticMaze-v0``, their layouts, and these as lookup tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple, TypedDict

import numpy as np
from numpy.typing import NDArray

ACTIONS = ("up", "down", "left", "right")
_MOVES = np.array([(-1, 0), (1, 0), (0, -1), (0, 1)])  # row and column change of each action
REWARD = 9  # column of the previous reward in an observation, after the 3x3 window
_ACTION = slice(10, 14)  # columns of the previous action


class MazeOptions(TypedDict, total=False):
    """Keyword arguments of the maze environments: the fields of ``MazeConfig``."""

    size: int
    episode_length: int
    reward: float
    wall_penalty: float
    observe_action: bool
    observe_time: bool
    reward_on_border: bool
    recenter: bool
    relocate_every: int | None
    layout_seed: int | None
    random_layout: bool


@dataclass(frozen=True)
class MazeConfig:
    """Settings of the maze; the defaults are those of Miconi et al. (2018), section 4.4.

    Attributes:
        size: side of the maze inside its outer wall, in squares; odd, at least 3.
        episode_length: steps per episode, at least 1.
        reward: reward for reaching the reward square; finite.
        wall_penalty: penalty for walking into a wall; finite, not negative.
        observe_action: include the previous action in the observation, as a one-hot vector of 4.
        observe_time: append step / episode_length to the observation.
        reward_on_border: place the reward only on the outermost ring of squares instead of on any free
            square. It is never placed on the start square.
        recenter: move the agent back to the start after a find instead of to a random free square.
        relocate_every: number of steps after which the reward moves to another allowed square, repeatedly.
            None, as in the paper, keeps it in place for the whole episode. It may move to the agent's own
            square; the agent then finds it with any step that ends there, even one into a wall.
        layout_seed: seed of a maze with irregular pillars, see ``maze_layout``. None, as in the paper,
            places the pillars in rows.
        random_layout: draw another maze with irregular pillars for every episode; ``layout_seed`` must then
            be None.

    Raises:
        ValueError: a setting is outside its range; the message names it.
        TypeError: a setting has the wrong type; the message names it.
    """

    size: int = 9
    episode_length: int = 250
    reward: float = 10.0
    wall_penalty: float = 0.1
    observe_action: bool = True
    observe_time: bool = False
    reward_on_border: bool = False
    recenter: bool = False
    relocate_every: int | None = None
    layout_seed: int | None = None
    random_layout: bool = False

    def __post_init__(self) -> None:
        for name in ("size", "episode_length"):
            _check_type(name, getattr(self, name), (int, np.integer), "an integer")
        for name in ("relocate_every", "layout_seed"):
            if getattr(self, name) is not None:
                _check_type(name, getattr(self, name), (int, np.integer), "an integer or None")
        for name in ("reward", "wall_penalty"):
            _check_type(name, getattr(self, name), (int, float, np.integer, np.floating), "a number")
        for name in ("observe_action", "observe_time", "reward_on_border", "recenter", "random_layout"):
            if not isinstance(getattr(self, name), (bool, np.bool_)):
                raise TypeError(f"{name} must be True or False, got {getattr(self, name)!r}")
        if self.size < 3 or self.size % 2 == 0:
            raise ValueError(
                f"size must be an odd number of squares, at least 3 (such as 9), got {self.size}"
            )
        if self.episode_length < 1:
            raise ValueError(f"episode_length must be at least 1 step, got {self.episode_length}")
        if self.relocate_every is not None and self.relocate_every < 1:
            raise ValueError(f"relocate_every must be at least 1 step, or None, got {self.relocate_every}")
        if self.layout_seed is not None and self.layout_seed < 0:
            raise ValueError(f"layout_seed must be 0 or more, or None, got {self.layout_seed}")
        if self.random_layout and self.layout_seed is not None:
            raise ValueError(
                f"random_layout draws a maze for every episode: leave out layout_seed={self.layout_seed}"
            )
        # Rewards are part of the float32 observation: larger numbers would become infinite.
        largest = float(np.finfo(np.float32).max)
        if not abs(self.reward) <= largest:
            raise ValueError(f"reward must be a finite float32 number, got {self.reward}")
        if not 0 <= self.wall_penalty <= largest:
            raise ValueError(
                f"wall_penalty must be a finite float32 number, 0 or more, got {self.wall_penalty}"
            )

    def check_bracket(self) -> None:
        """Raise ValueError unless the reward is positive: else knowing its place does not help an agent.

        Raises:
            ValueError: it is not.
        """
        if self.reward <= 0:
            raise ValueError(f"a bracket needs a maze with a positive reward, got reward={self.reward}")


def _check_type(name: str, value: object, allowed: tuple[type, ...], words: str) -> None:
    if isinstance(value, bool) or not isinstance(value, allowed):
        raise TypeError(f"{name} must be {words}, got {value!r} of type {type(value).__name__}")


@dataclass(frozen=True, eq=False)
class MazeLayout:
    """Walls and connections; the F free squares are numbered 0 .. F-1, row by row.

    Attributes:
        size: side inside the outer wall.
        walls: (size + 2, size + 2) bool, the outer wall included.
        squares: (F, 2) row and column of each free square in ``walls``.
        start: number of the centre square.
        border: numbers of the squares of the outermost ring.
        next_square: (F, 4) the square that each action leads to; the same square if there is a wall.
        windows: (F, 9) float32, the 3x3 neighbourhood row by row, 1 for a wall.
    """

    size: int
    walls: NDArray[np.bool_]
    squares: NDArray[np.intp]
    start: int
    border: NDArray[np.intp]
    next_square: NDArray[np.intp]
    windows: NDArray[np.float32]

    @property
    def n_squares(self) -> int:
        """Number F of free squares."""
        return len(self.squares)


IntArray = NDArray[np.intp]


class MazeState(NamedTuple):
    """State of B episodes; every field has shape (B,)."""

    square: IntArray  # number of the agent's square in the layout
    goal: IntArray  # number of the reward's square
    step: IntArray  # steps taken
    wall_hits: IntArray  # steps that ran into a wall
    finds: IntArray  # rewards found
    first_find: IntArray  # step of the first find, -1 before it
    last_find: IntArray  # step of the latest find, -1 before the first
    layout: IntArray  # number of the layout; 0 if all episodes have the same


class MazeLayouts(NamedTuple):
    """L layouts of the same size, with as many free squares F, as arrays; see :class:`MazeLayout`."""

    walls: NDArray[np.bool_]  # (L, size + 2, size + 2)
    squares: IntArray  # (L, F, 2)
    start: IntArray  # (L,)
    on_border: NDArray[np.bool_]  # (L, F) squares of the outermost ring
    next_square: IntArray  # (L, F, 4)
    windows: NDArray[np.float32]  # (L, F, 9)


@lru_cache(maxsize=16)
def maze_layout(size: int, seed: int | None = None) -> MazeLayout:
    """Return the layout: pillars on the squares whose row and column, counted from 1, are both even.

    The centre is always free, because every episode starts there. If it would be a pillar (sizes 3, 7,
    11, ...), that pillar is left out. Size 9 has 16 pillars and 65 free squares, size 11 has 24 and 97.

    Args:
        size: side inside the outer wall, odd and at least 3.
        seed: place the same number of pillars on random squares instead, with every free square still
            reachable. A seed always gives the same maze. Size 3 has no pillars, and so only one maze.
    """
    walls, squares, start, on_border, next_square, windows = (
        array[0] for array in maze_layouts(size, [seed])
    )
    layout = MazeLayout(size, walls, squares, int(start), np.flatnonzero(on_border), next_square, windows)
    for array in (layout.walls, layout.squares, layout.border, layout.next_square, layout.windows):
        array.flags.writeable = False  # shared by all environments with this layout
    return layout


def maze_layouts(size: int, seeds: Sequence[int | None]) -> MazeLayouts:
    """Return the layouts of several seeds side by side; a thousand of size 9 take about 0.1 s."""
    count, centre = len(seeds), (size + 1) // 2
    walls = np.ones((count, size + 2, size + 2), dtype=np.bool_)
    walls[:, 1:-1, 1:-1] = False
    regular = [
        (row, column)
        for row in range(2, size, 2)
        for column in range(2, size, 2)
        if (row, column) != (centre,) * 2
    ]
    for row, seed in enumerate(seeds):
        pillars = regular if seed is None else _scattered(size, len(regular), seed)
        walls[row][tuple(np.array(pillars, dtype=np.intp).reshape(-1, 2).T)] = True

    squares = np.argwhere(~walls)[:, 1:].reshape(count, -1, 2)
    several = np.arange(squares.shape[1])
    number = np.full(walls.shape, -1, dtype=np.intp)
    number[~walls] = np.tile(several, count)
    targets = squares[:, :, None, :] + _MOVES  # (L, F, 4, 2)
    which = np.arange(count)[:, None]
    reached = number[which[..., None], targets[..., 0], targets[..., 1]]  # (L, F, 4), -1 at a wall
    near = np.lib.stride_tricks.sliding_window_view(walls, (3, 3), axis=(1, 2)).reshape(count, size, size, 9)
    return MazeLayouts(
        walls=walls,
        squares=squares,
        start=number[:, centre, centre].copy(),  # contiguous, for compiled code
        on_border=((squares == 1) | (squares == size)).any(axis=2),
        next_square=np.where(reached < 0, several[:, None], reached),
        windows=near[which, squares[..., 0] - 1, squares[..., 1] - 1].astype(np.float32),
    )


def layout_of(config: MazeConfig, number: int = 0) -> MazeLayout:
    """Return the layout of a maze with these settings.

    Args:
        config: the maze.
        number: number of the layout, if every episode has its own (``MazeState.layout``).
    """
    return maze_layout(int(config.size), number if config.random_layout else config.layout_seed)


class MazeTables(NamedTuple):
    """L layouts as tables, one after the other; F squares and at most G goals each, D observed numbers.

    Square and action determine everything except finds, so these tables hold whole observations.
    """

    next_square: IntArray  # (L * F * 4,) the square that each action leads to, by layout, square and action
    hits: IntArray  # (L * F * 4,) 1 where the action runs into a wall
    rewards: NDArray[np.float64]  # (L * F * 4,) without a find
    observations: NDArray[np.float32]  # (L * F * 4, D) after each action without a find
    windows: NDArray[np.float32]  # (L * F, 9)
    start: IntArray  # (L,) the start square
    start_observation: NDArray[np.float32]  # (L, D) the first one of an episode
    goals: IntArray  # (L, G) the squares where the reward may lie, ascending; F where there are fewer
    n_goals: IntArray  # (L,)


def maze_tables(config: MazeConfig, seeds: Sequence[int | None]) -> MazeTables:
    """Return the tables of mazes with these settings, but for the layouts, which are those of L seeds."""
    layouts = maze_layouts(int(config.size), seeds)
    count, n_squares = layouts.on_border.shape
    squares = np.arange(n_squares)
    hit = layouts.next_square == squares[:, None]  # (L, F, 4)
    rewards = np.where(hit, 0.0 - config.wall_penalty, 0.0)  # 0.0 - 0.0, never -0.0
    width = 10 + 4 * config.observe_action + config.observe_time
    observations = np.zeros((*hit.shape, width), dtype=np.float32)
    which = np.arange(count)[:, None]
    observations[..., :9] = layouts.windows[which[..., None], layouts.next_square]
    observations[..., REWARD] = rewards
    if config.observe_action:
        observations[..., _ACTION] = np.eye(4)
    start_observation = np.zeros((count, width), dtype=np.float32)
    start_observation[:, :9] = layouts.windows[which[:, 0], layouts.start]
    allowed = layouts.on_border if config.reward_on_border else np.ones_like(layouts.on_border)
    allowed = allowed & (squares != layouts.start[:, None])
    n_goals = allowed.sum(axis=1)
    goals = np.sort(np.where(allowed, squares, n_squares), axis=1)[:, : n_goals.max()]
    return MazeTables(
        layouts.next_square.ravel(),
        hit.ravel().astype(np.intp),
        rewards.ravel(),
        observations.reshape(-1, width),
        layouts.windows.reshape(-1, 9),
        layouts.start,
        start_observation,
        np.ascontiguousarray(goals),
        n_goals,
    )


def _scattered(size: int, count: int, seed: int) -> list[tuple[int, int]]:
    """Place pillars on random squares, except those where a pillar would cut off a free square.

    The squares are bits of one number, row by row with the outer wall, whose bits stay 0.

    Returns:
        Row and column of ``count`` pillars, counted from 1.
    """
    side = size + 2
    free = sum((1 << size) - 1 << row * side + 1 for row in range(1, size + 1))
    pillars = list[tuple[int, int]]()
    for number in np.random.default_rng(seed).permutation(size * size).tolist():
        if len(pillars) == count:  # reached: far more than a quarter of the squares can hold pillars
            break
        row, column = number // size + 1, number % size + 1
        square = 1 << row * side + column
        if number != size * size // 2 and not _cuts_off(free ^ square, square, side):
            free ^= square
            pillars.append((row, column))
    return pillars


def _cuts_off(free: int, square: int, side: int) -> bool:
    """Return True if the free neighbours of a square are not connected by free squares.

    Args:
        free: the free squares, as bits; connected together with ``square``.
        square: bit of a square that is not free.
        side: squares of a row.
    """
    near = _around(square, side) & free
    reached = near & -near
    while near & ~reached:
        wider = (reached | _around(reached, side)) & free
        if wider == reached:
            return True
        reached = wider
    return False


def _around(squares: int, side: int) -> int:
    return squares << 1 | squares >> 1 | squares << side | squares >> side
