"""Products of vectors with a matrix in panels, as sums of the matrix's rows.

A panel holds some columns of all rows, one row after the other, so that a sum reads memory in order, as the
processor fetches it ahead. Vectors of several samples share one pass over a panel, four or two at a time.
"""

from plasticrl.ops.numba.shuffles import store_transposed
from plasticrl.ops.numba.vectors import (
    WIDTH,
    Pointer,
    Range,
    Vector,
    floats,
    fma,
    inlined,
    kernel,
    load_like,
    splat_like,
    store,
    zeros_1,
    zeros_2,
    zeros_4,
)

PANEL = (4 if WIDTH == 16 else 2) * WIDTH  # columns that sums of four samples keep in registers


@kernel
def pack(source: int, row: int, column: int, height: int, width: int, group: int, target: int) -> None:
    """Write a matrix in panels; the target must be zero where a panel has no column.

    Args:
        source: address of the matrix: element (k, c) is ``k * row + c * column`` numbers from there.
        row: distance of its rows.
        column: distance of its columns.
        height: number of its rows.
        width: number of its columns.
        group: each group of so many columns begins at a multiple of the vector width.
        target: address of the panels.
    """
    old, new = floats(source), floats(target)
    padded = (group + WIDTH - 1) // WIDTH * WIDTH
    for start in range(0, width, group):
        end = min(start + group, width)
        for c in range(start, end, WIDTH):
            to = start // group * padded + c - start
            to, at, count, done = (
                to // PANEL * PANEL * height + to % PANEL,
                c * column,
                min(WIDTH, end - c),
                0,
            )
            if row == 1 and count == WIDTH:
                done = height - height % WIDTH
                for k in range(0, done, WIDTH):
                    store_transposed(new, to + k * PANEL, PANEL, old, at + k, column)
            for k in range(done, height):
                for lane in range(count):
                    new[to + k * PANEL + lane] = old[at + k * row + lane * column]


@kernel
def add_rows(
    matrix: Pointer,
    height: int,
    columns: Range,
    factors: Pointer,
    own: int,
    factors_apart: int,
    rows: Range,
    target: Pointer,
    at: int,
    targets_apart: int,
    samples: int,
) -> None:
    """Add rows of a matrix, each times its factor, to a vector; for each of several samples.

    No sum runs across lanes, and each runs from the first row to the last, however samples and columns are
    divided.

    Args:
        matrix: in panels.
        height: number of its rows.
        columns: the columns to add; multiples of the vector width.
        factors: row k is multiplied by ``factors[own + k]`` for the first sample.
        own: offset of the factors.
        factors_apart: distance of the next sample's factors.
        rows: the rows to add.
        target: column c is added to ``target[at + c]`` for the first sample.
        at: offset of the target.
        targets_apart: distance of the next sample's target.
        samples: number of samples.
    """
    c = columns[0]
    while c < columns[1]:
        panel = c - c % PANEL
        left = min(columns[1], panel + PANEL) - c
        place, to, f, g = panel * height + c - panel, at + c, factors_apart, targets_apart
        if left >= 4 * WIDTH:
            _tiles(zeros_4(), matrix, place, factors, own, f, rows, target, to, g, samples)
            c += 4 * WIDTH
        elif left >= 2 * WIDTH:
            _tiles(zeros_2(), matrix, place, factors, own, f, rows, target, to, g, samples)
            c += 2 * WIDTH
        else:
            _tiles(zeros_1(), matrix, place, factors, own, f, rows, target, to, g, samples)
            c += WIDTH


@kernel
def _tiles(
    like: Vector, matrix: Pointer, place: int, factors: Pointer, own: int, apart: int,
    rows: Range, target: Pointer, to: int, beside: int, samples: int,
) -> None:  # fmt: skip
    """Add the rows in as many vectors of columns as ``like`` has."""
    k, fours = 0, samples - samples % 4
    while k < fours:
        _tile_of_four(like, matrix, place, factors, own, apart, rows, target, to, beside)
        own, to, k = own + 4 * apart, to + 4 * beside, k + 4
    if samples % 4 >= 2:
        _tile_of_two(like, matrix, place, factors, own, apart, rows, target, to, beside)
        own, to = own + 2 * apart, to + 2 * beside
    if samples % 2:
        s = load_like(like, target, to)
        for k in range(rows[0], rows[1]):
            row = load_like(like, matrix, place + k * PANEL)
            s = fma(row, splat_like(like, factors[own + k]), s)
        store(target, to, s)


@inlined
def _tile_of_two(
    like: Vector, matrix: Pointer, place: int, factors: Pointer, own: int, apart: int,
    rows: Range, target: Pointer, to: int, beside: int,
) -> None:  # fmt: skip
    s, t = load_like(like, target, to), load_like(like, target, to + beside)
    for k in range(rows[0], rows[1]):
        row, f = load_like(like, matrix, place + k * PANEL), own + k
        s = fma(row, splat_like(like, factors[f]), s)
        t = fma(row, splat_like(like, factors[f + apart]), t)
    store(target, to, s)
    store(target, to + beside, t)


@inlined
def _tile_of_four(
    like: Vector, matrix: Pointer, place: int, factors: Pointer, own: int, apart: int,
    rows: Range, target: Pointer, to: int, beside: int,
) -> None:  # fmt: skip
    s, t = load_like(like, target, to), load_like(like, target, to + beside)
    u, v = load_like(like, target, to + 2 * beside), load_like(like, target, to + 3 * beside)
    for k in range(rows[0], rows[1]):
        row, f = load_like(like, matrix, place + k * PANEL), own + k
        s = fma(row, splat_like(like, factors[f]), s)
        t = fma(row, splat_like(like, factors[f + apart]), t)
        u = fma(row, splat_like(like, factors[f + 2 * apart]), u)
        v = fma(row, splat_like(like, factors[f + 3 * apart]), v)
    store(target, to, s)
    store(target, to + beside, t)
    store(target, to + 2 * beside, u)
    store(target, to + 3 * beside, v)
