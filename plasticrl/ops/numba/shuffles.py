"""Operations that move numbers across the lanes of vectors: sums of several, and transposes."""

from importlib import import_module
from typing import Any

from llvmlite import ir  # type: ignore[import-untyped]

from plasticrl.ops.numba.vectors import FLOAT_ALIGN, WIDTH, address_of, operation

types: Any = import_module("numba.core.types")  # as Any: numba's internals are not annotated


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
