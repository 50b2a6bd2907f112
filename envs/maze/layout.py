"""The fixed part of a maze: its walls, its free squares and their connections."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from plasticrl.envs.maze.config import MazeConfig

ACTIONS = ("up", "down", "left", "right")
_MOVES = np.array([(-1, 0), (1, 0), (0, -1), (0, 1)])  # row and column change of each action


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
    walls = np.ones((size + 2, size + 2), dtype=np.bool_)
    walls[1:-1, 1:-1] = False
    walls[2:-2:2, 2:-2:2] = True
    centre = (size + 1) // 2
    walls[centre, centre] = False
    if seed is not None:
        walls = _scattered(walls, centre, seed)

    squares = np.argwhere(~walls)
    number = np.full(walls.shape, -1, dtype=np.intp)
    number[~walls] = np.arange(len(squares))
    targets = squares[:, None, :] + _MOVES  # (F, 4, 2)
    reached = number[targets[..., 0], targets[..., 1]]  # (F, 4), -1 at a wall
    neighbourhood = np.lib.stride_tricks.sliding_window_view(walls, (3, 3)).reshape(size, size, 9)
    layout = MazeLayout(
        size=size,
        walls=walls,
        squares=squares,
        start=int(number[centre, centre]),
        border=np.flatnonzero(((squares == 1) | (squares == size)).any(axis=1)),
        next_square=np.where(reached < 0, np.arange(len(squares))[:, None], reached),
        windows=neighbourhood[squares[:, 0] - 1, squares[:, 1] - 1].astype(np.float32),
    )
    for array in (layout.walls, layout.squares, layout.border, layout.next_square, layout.windows):
        array.flags.writeable = False  # shared by all environments with this layout
    return layout


def layout_of(config: MazeConfig) -> MazeLayout:
    """Return the layout of a maze with these settings."""
    return maze_layout(int(config.size), config.layout_seed)


def _scattered(regular: NDArray[np.bool_], centre: int, seed: int) -> NDArray[np.bool_]:
    """Place as many pillars on random squares, except those where a pillar would cut off a free square."""
    from scipy.ndimage import label

    size = len(regular) - 2
    walls: NDArray[np.bool_] = regular.copy()
    walls[1:-1, 1:-1] = False
    left = int(regular[1:-1, 1:-1].sum())
    numbers = iter(np.random.default_rng(seed).permutation(size * size).tolist())
    while left:  # terminates: far more than a quarter of the squares can hold pillars
        number = next(numbers)
        square = (number // size + 1, number % size + 1)
        if square == (centre, centre):
            continue
        walls[square] = True
        if label(~walls)[1] == 1:
            left -= 1
        else:
            walls[square] = False
    return walls
