import numpy as np
import pytest

from plasticrl.envs.maze.config import maze_layout

SIZES = [3, 5, 7, 9, 11, 15]


@pytest.mark.parametrize(("size", "pillars", "free"), [(9, 16, 65), (11, 24, 97), (7, 8, 41), (3, 0, 9)])
def test_counts(size, pillars, free):
    layout = maze_layout(size)
    assert layout.walls[1:-1, 1:-1].sum() == pillars
    assert layout.n_squares == free


def test_the_published_maze_square_by_square():
    corridor, pillared = "#.........#", "#.#.#.#.#.#"
    rows = ["#" * 11, *([corridor, pillared] * 4), corridor, "#" * 11]
    assert np.array_equal(maze_layout(9).walls, np.array([list(row) for row in rows]) == "#")


@pytest.mark.parametrize("size", SIZES)
def test_start_is_the_free_centre(size):
    layout = maze_layout(size)
    assert layout.squares[layout.start].tolist() == [(size + 1) // 2] * 2
    assert not layout.walls[tuple(layout.squares[layout.start])]


@pytest.mark.parametrize("seed", [None, 0, 1])
@pytest.mark.parametrize("size", SIZES)
def test_moves_and_windows_follow_the_walls(size, seed):
    layout = maze_layout(size, seed)
    changes = {0: (-1, 0), 1: (1, 0), 2: (0, -1), 3: (0, 1)}
    for number, (row, column) in enumerate(layout.squares):
        around = layout.walls[row - 1 : row + 2, column - 1 : column + 2]
        assert np.array_equal(layout.windows[number], around.astype(np.float32).ravel())
        for action, (down, right) in changes.items():
            target = row + down, column + right
            reached = tuple(layout.squares[layout.next_square[number, action]])
            assert reached == ((row, column) if layout.walls[target] else target)


@pytest.mark.parametrize("seed", [None, 0, 1])
@pytest.mark.parametrize("size", SIZES)
def test_border_is_the_outermost_ring(size, seed):
    layout = maze_layout(size, seed)
    assert len(layout.border) == (~layout.walls[1:-1, 1:-1]).sum() - (~layout.walls[2:-2, 2:-2]).sum()
    if seed is None:
        assert len(layout.border) == 4 * (size - 1)
    ring = layout.squares[layout.border]
    assert ((ring == 1) | (ring == size)).any(axis=1).all()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("seed", range(5))
def test_irregular_pillars_are_as_many_and_cut_nothing_off(size, seed):
    layout, regular = maze_layout(size, seed), maze_layout(size)
    assert layout.n_squares == regular.n_squares
    assert layout.walls[[0, -1]].all()
    assert layout.walls[:, [0, -1]].all()
    assert layout.squares[layout.start].tolist() == [(size + 1) // 2] * 2
    reached = {layout.start}
    while new := set(layout.next_square[list(reached)].ravel().tolist()) - reached:
        reached |= new
    assert len(reached) == layout.n_squares


def test_each_seed_has_its_own_maze():
    mazes = [maze_layout(9, seed).walls for seed in (None, *range(8))]
    assert len({walls.tobytes() for walls in mazes}) == 9
    maze_layout.cache_clear()
    assert np.array_equal(maze_layout(9, 3).walls, mazes[4])


def test_shared_arrays_cannot_be_written():
    with pytest.raises(ValueError, match="read-only"):
        maze_layout(9).walls[0, 0] = False
