"""The product of a vector with a matrix, as a sum of the matrix's rows."""

from plasticrl.ops.numba.vectors import (
    WIDTH,
    Pointer,
    Range,
    Vector,
    add,
    fma,
    inlined,
    kernel,
    load,
    splat,
    store,
)


@kernel
def add_rows(
    matrix: Pointer,
    length: int,
    columns: Range,
    factors: Pointer,
    own: int,
    rows: Range,
    target: Pointer,
    at: int,
) -> None:
    """Add rows of a matrix, each times its factor, to a vector.

    No sum runs across lanes, and eight independent sums hide the latency of their additions.

    Args:
        matrix: rows of ``length`` numbers.
        length: a multiple of the vector width.
        columns: the columns to add; multiples of the vector width.
        factors: row k is multiplied by ``factors[own + k]``.
        own: offset of the factors.
        rows: the rows to add.
        target: column c is added to ``target[at + c]``.
        at: offset of the target.
    """
    for first in range(columns[0], columns[1], 8 * WIDTH):
        if columns[1] - first > 4 * WIDTH:
            _add_eight(matrix, length, first, columns[1] - WIDTH, factors, own, rows, target, at)
        else:
            _add_four(matrix, length, first, columns[1] - WIDTH, factors, own, rows, target, at)


@inlined
def _columns(first: int, last: int) -> tuple[int, int, int, int]:
    """Return where four vectors of columns begin; missing ones repeat the last."""
    return (
        min(first, last),
        min(first + WIDTH, last),
        min(first + 2 * WIDTH, last),
        min(first + 3 * WIDTH, last),
    )


@inlined
def _sums(target: Pointer, at: int, first: int, last: int) -> tuple[Vector, Vector, Vector, Vector]:
    """Load four vectors of the target."""
    c0, c1, c2, c3 = _columns(first, last)
    return load(target, at + c0), load(target, at + c1), load(target, at + c2), load(target, at + c3)


@kernel
def _add_eight(
    matrix: Pointer,
    length: int,
    first: int,
    last: int,
    factors: Pointer,
    own: int,
    rows: Range,
    target: Pointer,
    at: int,
) -> None:
    """Add the rows in at most eight vectors of columns; missing ones repeat the last."""
    c0, c1, c2, c3 = _columns(first, last)
    c4, c5, c6, c7 = _columns(first + 4 * WIDTH, last)
    s0, s1, s2, s3 = _sums(target, at, first, last)
    s4, s5, s6, s7 = _sums(target, at, first + 4 * WIDTH, last)
    for k in range(rows[0], rows[1]):
        row, f = k * length, splat(factors[own + k])
        s0, s1 = fma(load(matrix, row + c0), f, s0), fma(load(matrix, row + c1), f, s1)
        s2, s3 = fma(load(matrix, row + c2), f, s2), fma(load(matrix, row + c3), f, s3)
        s4, s5 = fma(load(matrix, row + c4), f, s4), fma(load(matrix, row + c5), f, s5)
        s6, s7 = fma(load(matrix, row + c6), f, s6), fma(load(matrix, row + c7), f, s7)
    store(target, at + c0, s0)
    store(target, at + c1, s1)
    store(target, at + c2, s2)
    store(target, at + c3, s3)
    store(target, at + c4, s4)
    store(target, at + c5, s5)
    store(target, at + c6, s6)
    store(target, at + c7, s7)


@kernel
def _add_four(
    matrix: Pointer,
    length: int,
    first: int,
    last: int,
    factors: Pointer,
    own: int,
    rows: Range,
    target: Pointer,
    at: int,
) -> None:
    """Add the rows in at most four vectors of columns, even and odd rows apart; see :func:`_add_eight`."""
    c0, c1, c2, c3 = _columns(first, last)
    a0, a1, a2, a3 = _sums(target, at, first, last)
    b0, b1, b2, b3 = splat(0.0), splat(0.0), splat(0.0), splat(0.0)
    even = rows[1] - (rows[1] - rows[0]) % 2
    for k in range(rows[0], even, 2):
        row, f = k * length, splat(factors[own + k])
        a0, a1 = fma(load(matrix, row + c0), f, a0), fma(load(matrix, row + c1), f, a1)
        a2, a3 = fma(load(matrix, row + c2), f, a2), fma(load(matrix, row + c3), f, a3)
        row, f = row + length, splat(factors[own + k + 1])
        b0, b1 = fma(load(matrix, row + c0), f, b0), fma(load(matrix, row + c1), f, b1)
        b2, b3 = fma(load(matrix, row + c2), f, b2), fma(load(matrix, row + c3), f, b3)
    if even < rows[1]:
        row, f = even * length, splat(factors[own + even])
        b0, b1 = fma(load(matrix, row + c0), f, b0), fma(load(matrix, row + c1), f, b1)
        b2, b3 = fma(load(matrix, row + c2), f, b2), fma(load(matrix, row + c3), f, b3)
    store(target, at + c0, add(a0, b0))
    store(target, at + c1, add(a1, b1))
    store(target, at + c2, add(a2, b2))
    store(target, at + c3, add(a3, b3))
