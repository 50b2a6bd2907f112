"""Products of vectors with a matrix in panels, as sums of the matrix's rows, and sums across lanes.

A panel holds some columns of all rows, one row after the other, so that a sum reads memory in order, as the
processor fetches it ahead. Vectors of several samples share one pass over a panel, four or two at a time.
"""

from typing import Any

from llvmlite import ir  # type: ignore[import-untyped]

from plasticrl.ops.numba.vectors import (
    FLOAT_ALIGN,
    WIDTH,
    Pointer,
    Range,
    Vector,
    address_of,
    floats,
    fma,
    inlined,
    kernel,
    load_like,
    operation,
    splat_like,
    store,
    types,
    zeros_1,
    zeros_2,
    zeros_4,
)

PANEL = (4 if WIDTH == 16 else 2) * WIDTH  # columns that sums of four samples keep in registers


@operation
def store_totals(typing: Any, array: Any, i: Any, a: Any, b: Any, c: Any, d: Any) -> Any:
    """Write the sums of the lanes of four vectors to ``array[i : i + 4]``.

    Together they need 13 operations where a sum of its own takes 8.
    """

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        a, b, c, d = args[2:]
        low, high = (_interleaved(builder, x, y, 1) for x, y in ((a, b), (c, d)))
        sums = _interleaved(builder, low, high, 2)  # of a, b, c, d in every four lanes
        while sums.type.count > 4:
            half = sums.type.count // 2
            sums = builder.fadd(*(_chosen(builder, sums, sums, range(k, k + half)) for k in (0, half)))
        address = address_of(context, builder, sig, args, sums.type)
        builder.store(sums, address, align=FLOAT_ALIGN)
        return context.get_dummy_value()

    return types.void(array, i, a, b, c, d), generate


@operation
def store_transposed(typing: Any, array: Any, i: Any, step: Any, source: Any, j: Any, row: Any) -> Any:
    """Write the transpose of a block of ``WIDTH`` rows and columns.

    Its rows are ``row`` apart, from ``source[j]`` on; the transpose is written with rows ``step`` apart, from
    ``array[i]`` on.
    """

    def generate(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        def place(first: Any, apart: Any, k: int) -> Any:
            return builder.add(first, builder.mul(apart, ir.Constant(apart.type, k)))

        target, source = (sig.return_type(sig.args[k], types.intp) for k in (0, 3))
        to, apart, at, beside = (
            context.cast(builder, args[k], sig.args[k], types.intp) for k in (1, 2, 4, 5)
        )
        rows = [
            builder.load(
                address_of(context, builder, source, (args[3], place(at, beside, k))), align=FLOAT_ALIGN
            )
            for k in range(WIDTH)
        ]
        size = 1
        while size < WIDTH:  # exchange the off-diagonal blocks of this size
            for k in range(WIDTH):
                if not k & size:
                    a, b = rows[k], rows[k + size]
                    upper = [WIDTH + x - size if x & size else x for x in range(WIDTH)]
                    lower = [WIDTH + x if x & size else x + size for x in range(WIDTH)]
                    rows[k], rows[k + size] = (_chosen(builder, a, b, lanes) for lanes in (upper, lower))
            size *= 2
        for k, row in enumerate(rows):
            address = address_of(context, builder, target, (args[0], place(to, apart, k)))
            builder.store(row, address, align=FLOAT_ALIGN)
        return context.get_dummy_value()

    return types.void(array, i, step, source, j, row), generate


def _interleaved(builder: Any, a: Any, b: Any, size: int) -> Any:
    """Add the two halves of every four lanes, a's and b's turn by turn, ``size`` lanes each."""
    low = [
        start + side * WIDTH + lane
        for start in range(0, WIDTH, 4)
        for part in range(0, 2, size)
        for side in range(2)
        for lane in range(part, part + size)
    ]
    return builder.fadd(_chosen(builder, a, b, low), _chosen(builder, a, b, [lane + 2 for lane in low]))


def _chosen(builder: Any, a: Any, b: Any, lanes: Any) -> Any:
    """Return these lanes of a, followed by b."""
    places = ir.Constant(ir.VectorType(ir.IntType(32), len(lanes)), list(lanes))
    return builder.shuffle_vector(a, b, places)


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
