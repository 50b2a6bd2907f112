"""The sweep of the backward pass over the matrices of one sample, once for each step."""

import numpy as np

from plasticrl.ops.numba.kernel_data import Problem, Scratch
from plasticrl.ops.numba.products import store_totals
from plasticrl.ops.numba.trace import fill, is_reset, trace_before, walk
from plasticrl.ops.numba.vectors import (
    WIDTH,
    Pointer,
    Range,
    address,
    clip,
    floats,
    fma,
    inlined,
    keep_inside,
    kernel,
    load,
    mul,
    splat,
    store,
)


@inlined
def carry_back(
    p: Problem,
    s: Scratch,
    limit: np.float32 | None,
    b: int,
    t: int,
    rows: Range,
    part: int,
    room: Pointer,
) -> None:
    """Carry the trace's adjoint over step t; whether its decay must be known is decided here."""
    if p.rule.leak == 0 and p.rule.normalisation == 0:
        _sweep(p, s, limit, None, b, t, rows, part, room)
    else:
        _sweep(p, s, limit, floats(s.keep), b, t, rows, part, room)


@kernel
def _sweep(
    p: Problem,
    s: Scratch,
    limit: np.float32 | None,
    keep: Pointer | None,
    b: int,
    t: int,
    rows: Range,
    part: int,
    room: Pointer,
) -> None:
    """Carry the trace's adjoint over step t; add up that of x; prepare products of step t-1.

    Without ``keep``, all of its coefficients are 1, and the row sums of adjoint times trace are not needed.
    """
    m, mine = p.sizes.m, ((t % 2) * s.parts + part) * p.sizes.m
    traces, kept_at, start = trace_before(s, m, t)
    start, fresh = min(start, t - 1), False
    for q in range(start + 1, t):
        if is_reset(p, q, b):
            start, fresh = q, True
    edge = np.float32(np.inf)  # the first trace is not clipped
    if limit is not None:  # noqa: SIM102 (numba drops this branch at compile time only if written so)
        if t > 0:
            edge = limit
    totals = floats(address(room, 2 * m))
    for i in range(rows[0], rows[1], 2):
        at = i * m
        old = floats(address(traces, kept_at + at))
        if fresh:
            fill(room, 0, 2 * m)
            old = room
        if start < t - 1:
            walk(s, limit, keep, m, old, i, start, t - 1, room)
            old = room
        _sweep_rows(
            m,
            floats(address(floats(s.pre), (t + 1) * m)),
            floats(address(floats(s.pre), t * m)),
            floats(address(floats(s.d_pre), mine)),
            old,
            floats(address(floats(p.alpha), at)),
            floats(address(floats(s.adjoint), at)),
            floats(s.d_recall + 4 * ((t % s.block) * m + i)),
            floats(s.d_recalled + 4 * i),
            floats(s.gain + 4 * ((t + 1) * m + i)),
            None if keep is None else floats(s.keep + 4 * ((t + 1) * m + i)),
            limit,
            edge,
            totals,
        )
        floats(s.adjoint_pre)[i], floats(s.adjoint_pre)[i + 1] = totals[0], totals[1]
        if keep is not None:
            floats(s.adjoint_trace)[i], floats(s.adjoint_trace)[i + 1] = totals[2], totals[3]


@kernel
def _sweep_rows(
    m: int,
    x_now: Pointer,
    x_then: Pointer,
    d_x: Pointer,
    old: Pointer,
    alpha: Pointer,
    adjoint: Pointer,
    d_recall: Pointer,
    d_recalled: Pointer,
    gain: Pointer,
    keep: Pointer | None,
    limit: np.float32 | None,
    edge: np.float32,
    totals: Pointer,
) -> None:
    """Sweep over two rows, which share the loads of x and the sum into its adjoint.

    The pointers begin at the first of both. ``old`` is the trace a step before, whose coefficients lie m
    numbers before those of this one. Written to ``totals`` are the products of both rows with x of that step
    and with ``old``.
    """
    delta0, gain0, key0, grow0 = splat(d_recall[0]), splat(gain[0]), splat(d_recalled[0]), splat(gain[-m])
    delta1, gain1, key1, grow1 = splat(d_recall[1]), splat(gain[1]), splat(d_recalled[1]), splat(gain[1 - m])
    keep0, keep1, fade0, fade1 = splat(1.0), splat(1.0), splat(1.0), splat(1.0)
    if keep is not None:
        keep0, keep1 = splat(keep[0]), splat(keep[1])
        fade0, fade1 = splat(keep[-m]), splat(keep[1 - m])
    pre0, pre1, trace0, trace1 = splat(0.0), splat(0.0), splat(0.0), splat(0.0)
    for j in range(0, m, WIDTH):
        x, x_before, dx = load(x_now, j), load(x_then, j), load(d_x, j)
        old0, old1, g0, g1 = load(old, j), load(old, j + m), load(adjoint, j), load(adjoint, j + m)
        if keep is not None:
            raw0 = fma(fade0, old0, mul(grow0, x_before))
            raw1 = fma(fade1, old1, mul(grow1, x_before))
        else:
            raw0, raw1 = fma(grow0, x_before, old0), fma(grow1, x_before, old1)
        sent0, sent1 = fma(load(alpha, j), delta0, key0), fma(load(alpha, j + m), delta1, key1)
        h0, h1 = raw0, raw1
        if limit is not None:
            h0, h1 = clip(raw0, splat(edge)), clip(raw1, splat(edge))
        dx = fma(gain0, g0, fma(h0, sent0, dx))
        dx = fma(gain1, g1, fma(h1, sent1, dx))
        store(d_x, j, dx)
        if keep is not None:
            g0, g1 = mul(keep0, g0), mul(keep1, g1)
        g0, g1 = fma(sent0, x, g0), fma(sent1, x, g1)
        if limit is not None:
            g0, g1 = keep_inside(g0, raw0, splat(edge)), keep_inside(g1, raw1, splat(edge))
        store(adjoint, j, g0)
        store(adjoint, j + m, g1)
        pre0, pre1 = fma(g0, x_before, pre0), fma(g1, x_before, pre1)
        if keep is not None:
            trace0, trace1 = fma(g0, old0, trace0), fma(g1, old1, trace1)
    store_totals(totals, 0, pre0, pre1, trace0, trace1)
