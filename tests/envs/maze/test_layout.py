import numpy as np
import pytest
from scipy.ndimage import label

from plasticrl.envs.maze.config import maze_layout, maze_layouts

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


def pillars_by_labels(size, seed):
    """The same pillars, with the free regions counted by scipy after each."""
    walls = np.ones((size + 2, size + 2), dtype=bool)
    walls[1:-1, 1:-1] = False
    left, centre = int(maze_layout(size).walls[1:-1, 1:-1].sum()), (size + 1) // 2
    for number in np.random.default_rng(seed).permutation(size * size):
        square = number // size + 1, number % size + 1
        if left and square != (centre, centre):
            walls[square] = True
            walls[square] = label(~walls)[1] == 1
            left -= walls[square]
    return walls


@pytest.mark.parametrize("size", SIZES)
def test_a_pillar_stands_where_it_cuts_nothing_off(size):
    for seed in range(40):
        assert np.array_equal(maze_layout(size, seed).walls, pillars_by_labels(size, seed))


@pytest.mark.parametrize("size", SIZES)
def test_layouts_side_by_side_are_those_of_each_seed(size):
    seeds = [3, None, 0, 3]
    several = maze_layouts(size, seeds)
    for row, seed in enumerate(seeds):
        one = maze_layout(size, seed)
        for name in ("walls", "squares", "start", "next_square", "windows"):
            assert np.array_equal(getattr(several, name)[row], getattr(one, name))
        assert np.array_equal(np.flatnonzero(several.on_border[row]), one.border)


def test_each_seed_has_its_own_maze():
    mazes = [maze_layout(9, seed).walls for seed in (None, *range(8))]
    assert len({walls.tobytes() for walls in mazes}) == 9
    maze_layout.cache_clear()
    assert np.array_equal(maze_layout(9, 3).walls, mazes[4])


def test_shared_arrays_cannot_be_written():
    with pytest.raises(ValueError, match="read-only"):
        maze_layout(9).walls[0, 0] = False
