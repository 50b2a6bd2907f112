"""Sweeps over the trace of one sample in the forward pass: what it recalls, and its update.

An update waits for the next step's recall, which reads the same rows, so that a step passes over the trace
once.
"""

from typing import TypeAlias

import numpy as np

from plasticrl.ops.numba.products import store_totals
from plasticrl.ops.numba.vectors import (
    WIDTH,
    Pointer,
    Vector,
    add,
    clip,
    fma,
    inlined,
    kernel,
    load,
    load_first,
    mul,
    splat,
    store,
    store_first,
)

Four: TypeAlias = tuple[Vector, Vector, Vector, Vector]  # of four rows


@kernel
def recall_rows(
    alpha: Pointer,
    trace: Pointer,
    x: Pointer,
    old: Pointer | None,
    keep: Pointer,
    gain: Pointer,
    limit: np.float32 | None,
    recall: Pointer,
    recalled: Pointer | None,
    m: int,
    h: int,
    i: int,
    stride: int,
    place: int,
) -> None:
    """Write ``(alpha * trace) x`` of four rows from i on, ``stride`` apart (0 repeats the same row).

    Four rows at a time share the loads of x and keep enough sums in flight to hide their latency.

    Args:
        alpha: rows of m numbers.
        trace: rows of m numbers, from ``trace[h]`` on.
        x: the previous outputs.
        old: the outputs before these, with which the rows are updated first; None if they are up to date.
        keep: coefficient of each row's update.
        gain: coefficient of each row's update.
        limit: bound of the trace after an update, or None.
        recall: the results, from ``place`` on.
        recalled: written as ``recall``, with ``trace x``; or None.
        m: length of the rows.
        h: offset of the trace.
        i: the first row.
        stride: distance of the rows.
        place: offset of the results.
    """
    none = (splat(0.0), splat(0.0), splat(0.0), splat(0.0))
    sums, products, fade, grow = none, none, none, none
    if old is not None:
        fade, grow = _of_four(keep, i, stride), _of_four(gain, i, stride)
    row, apart, whole = i * m, stride * m, m - m % WIDTH
    for p in range(0, whole, WIDTH):
        sums, products = _add_columns(
            alpha, trace, x, old, fade, grow, limit, sums, products, row + p, h, apart, p, None
        )
    if whole < m:
        sums, products = _add_columns(
            alpha, trace, x, old, fade, grow, limit, sums, products, row + whole, h, apart, whole, m - whole
        )
    store_totals(recall, place, sums[0], sums[1], sums[2], sums[3])
    if recalled is not None:
        store_totals(recalled, place, products[0], products[1], products[2], products[3])


@inlined
def _of_four(values: Pointer, i: int, stride: int) -> Four:
    return (
        splat(values[i]),
        splat(values[i + stride]),
        splat(values[i + 2 * stride]),
        splat(values[i + 3 * stride]),
    )


@inlined
def _add_columns(
    alpha: Pointer,
    trace: Pointer,
    x: Pointer,
    old: Pointer | None,
    keep: Four,
    gain: Four,
    limit: np.float32 | None,
    sums: Four,
    products: Four,
    j: int,
    h: int,
    apart: int,
    p: int,
    count: int | None,
) -> tuple[Four, Four]:
    """Add a vector of columns from p on, or its first ``count``, to the sums with and without alpha."""
    pre, k = part(x, p, count), h + j
    a, b = part(trace, k, count), part(trace, k + apart, count)
    c, d = part(trace, k + 2 * apart, count), part(trace, k + 3 * apart, count)
    if old is not None:
        before = part(old, p, count)
        a, b = updated(a, keep[0], gain[0], before, limit), updated(b, keep[1], gain[1], before, limit)
        c, d = updated(c, keep[2], gain[2], before, limit), updated(d, keep[3], gain[3], before, limit)
        store_part(trace, k, a, count)
        store_part(trace, k + apart, b, count)
        store_part(trace, k + 2 * apart, c, count)
        store_part(trace, k + 3 * apart, d, count)
    a, b, c, d = mul(a, pre), mul(b, pre), mul(c, pre), mul(d, pre)
    products = (add(products[0], a), add(products[1], b), add(products[2], c), add(products[3], d))
    return (
        fma(part(alpha, j, count), a, sums[0]),
        fma(part(alpha, j + apart, count), b, sums[1]),
        fma(part(alpha, j + 2 * apart, count), c, sums[2]),
        fma(part(alpha, j + 3 * apart, count), d, sums[3]),
    ), products


@kernel
def update_rows(
    trace: Pointer,
    x: Pointer,
    i: int,
    j: int,
    m: int,
    keep_i: np.float32,
    gain_i: np.float32,
    keep_j: np.float32,
    gain_j: np.float32,
    limit: np.float32 | None,
) -> None:
    """Set two rows of the trace (may be equal), at i and j, to ``keep * trace + gain * x``, clipped."""
    ki, gi, kj, gj = splat(keep_i), splat(gain_i), splat(keep_j), splat(gain_j)
    whole = m - m % WIDTH
    for p in range(0, whole, WIDTH):
        pre = load(x, p)
        a, b = load(trace, i + p), load(trace, j + p)
        store(trace, i + p, updated(a, ki, gi, pre, limit))
        store(trace, j + p, updated(b, kj, gj, pre, limit))
    if whole < m:
        count = m - whole
        pre = load_first(x, whole, count)
        a, b = load_first(trace, i + whole, count), load_first(trace, j + whole, count)
        store_first(trace, i + whole, updated(a, ki, gi, pre, limit), count)
        store_first(trace, j + whole, updated(b, kj, gj, pre, limit), count)


@inlined
def updated(h: Vector, keep: Vector, gain: Vector, x: Vector, limit: np.float32 | None) -> Vector:
    """Return the trace after an update."""
    h = fma(keep, h, mul(gain, x))
    if limit is not None:
        h = clip(h, splat(limit))
    return h


@inlined
def part(array: Pointer, i: int, count: int | None) -> Vector:
    """Load a vector, or its first ``count`` lanes."""
    if count is None:
        return load(array, i)
    return load_first(array, i, count)


@inlined
def store_part(array: Pointer, i: int, value: Vector, count: int | None) -> None:
    """Write a vector, or its first ``count`` lanes."""
    if count is None:
        store(array, i, value)
    else:
        store_first(array, i, value, count)
