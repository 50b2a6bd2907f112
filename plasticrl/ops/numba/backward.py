"""The backward kernel."""

import numpy as np

from plasticrl.ops.numba.backward_data import Gradients, Problem, Scratch
from plasticrl.ops.numba.trace import advance, collect, fill, is_reset, unroll
from plasticrl.ops.numba.vectors import (
    WIDTH,
    Pointer,
    Range,
    Vector,
    add,
    clip,
    doubles,
    flags,
    floats,
    flush_denormals,
    fma,
    keep_inside,
    kernel,
    load,
    load_first,
    mul,
    restore_denormals,
    splat,
    store,
    store_first,
    sub,
    total,
)


@kernel
def backward(
    p: Problem,
    s: Scratch,
    d: Gradients,
    limit: np.float32 | None,
    samples: Range,
    steps: Range,
    rows: Range,
    part: int,
) -> None:
    """Run stages ``steps[0]`` down to ``steps[1]``, inclusive, for these samples and rows.

    Stage T+1 collects activities. Stage T builds checkpoints and adds the last state's adjoint. Stages
    T-1 .. 0 are the steps. Stage -1 writes the first state's adjoint. Threads that share a sample meet
    between stages.
    """
    before = flush_denormals()
    for b in range(samples[0], samples[1]):
        for t in range(steps[0], steps[1] - 1, -1):
            if t == p.steps + 1:
                collect(p, s, b, rows)
            elif t == p.steps:
                _begin(p, s, limit, b, rows)
                if p.d_last_trace:
                    _sweep(p, s, d, limit, t, rows, part)
            elif t >= 0:
                _output_adjoint(p, s, d, b, t, rows)
                if t > 0 and t % s.block == 0:
                    unroll(p, s, limit, b, t // s.block - 1, rows)
                fill(floats(s.d_pre), ((t % 2) * s.parts + part) * p.m, p.m)
                if is_reset(p, t, b):  # earlier steps have no effect on later ones
                    _forget(p, s, rows)
                else:
                    _sweep(p, s, d, limit, t, rows, part)
            else:
                _finish(p, s, d, b, rows)
    restore_denormals(before)


@kernel
def _forget(p: Problem, s: Scratch, rows: Range) -> None:
    fill(floats(s.adjoint), rows[0] * p.m, (rows[1] - rows[0]) * p.m)
    for i in range(rows[0], rows[1]):
        floats(s.adjoint_pre)[i] = 0
        floats(s.adjoint_trace)[i] = 0


@kernel
def _begin(p: Problem, s: Scratch, limit: np.float32 | None, b: int, rows: Range) -> None:
    """Build the checkpoints and the traces of the last block, and load the adjoint of the last trace."""
    fresh = is_reset(p, 0, b)
    _forget(p, s, rows)
    for i in range(rows[0], rows[1]):
        floats(s.delta)[i] = 0  # padded rows, too, since NaN times 0 is NaN
    for i in range(rows[0], min(rows[1], p.n)):
        for j in range(0, p.n, WIDTH):
            at, to, count = (b * p.n + i) * p.n + j, i * p.m + j, min(WIDTH, p.n - j)
            store(floats(s.checkpoints), to, splat(0.0) if fresh else load_first(floats(p.trace), at, count))
            if p.d_last_trace:
                store(floats(s.adjoint), to, load_first(floats(p.d_last_trace), at, count))
    last = (p.steps - 1) // s.block
    for k in range(last):
        old = k * p.m * p.m
        advance(
            p, s, limit, b, rows, k * s.block, s.block, s.checkpoints, old, s.checkpoints, old + p.m * p.m, 0
        )
    unroll(p, s, limit, b, last, rows)


@kernel
def _output_adjoint(p: Problem, s: Scratch, d: Gradients, b: int, t: int, rows: Range) -> None:
    """Compute from the adjoint of y(t) those of the drive and, in ``delta``, of tanh's argument."""
    at = (t * p.batch + b) * p.n
    eta, one, twice_eta = splat(p.eta), splat(1.0), splat(-2 * p.eta if p.oja else 0.0)
    delta, d_drive, d_pre = floats(s.delta), floats(d.drive), floats(s.d_pre)
    d_eta = splat(0.0)
    for i in range(rows[0], min(rows[1], p.n), WIDTH):
        count = min(WIDTH, p.n - i)
        y = load_first(floats(p.outputs), at + i, count)
        g_pre, g_trace = load(floats(s.adjoint_pre), i), load(floats(s.adjoint_trace), i)
        dy = fma(eta, g_pre, load_first(floats(p.d_outputs), at + i, count))
        dy = fma(mul(twice_eta, y), g_trace, dy)
        if t == p.steps - 1:
            dy = add(dy, load_first(floats(p.d_last_hidden), b * p.n + i, count))
        else:
            for k in range(s.parts):
                dy = add(dy, load(d_pre, (((t + 1) % 2) * s.parts + k) * p.m + i))
        square = mul(y, y)
        rate = square if p.oja else splat(p.decay)
        d_eta = add(d_eta, sub(mul(y, g_pre), mul(rate, g_trace)))
        d_argument = mul(dy, sub(one, square))
        store(delta, i, d_argument)
        store_first(d_drive, at + i, d_argument, count)
        if p.clamp:
            store_first(d_drive, at + i, dy, count)
            for k in range(i, i + count):
                if flags(p.clamp)[at + k]:
                    delta[k] = 0
                else:
                    d_drive[at + k] = delta[k]
    doubles(d.eta)[0] += total(d_eta)


@kernel
def _sweep(
    p: Problem, s: Scratch, d: Gradients, limit: np.float32 | None, t: int, rows: Range, part: int
) -> None:
    """Carry the trace's adjoint over step t; add up those of alpha and x; prepare products of step t-1."""
    m = p.m
    edge = np.float32(np.inf)  # the first trace is not clipped
    if limit is not None:  # noqa: SIM102 (numba drops this branch at compile time only if written so)
        if t > 0:
            edge = limit
    traces = floats(s.checkpoints if t == 0 else s.history)
    h = 0 if t == 0 else ((t - 1) % s.block) * m * m
    pre, gain, keep, delta, d_pre = (
        floats(s.pre),
        floats(s.gain),
        floats(s.keep),
        floats(s.delta),
        floats(s.d_pre),
    )
    w, alpha, d_alpha, adjoint = floats(p.w), floats(p.alpha), floats(d.alpha), floats(s.adjoint)
    adjoint_pre, adjoint_trace = floats(s.adjoint_pre), floats(s.adjoint_trace)
    mine = ((t % 2) * s.parts + part) * m
    now, then = (t + 1) * m, t * m
    for i in range(rows[0], rows[1], 2):  # two rows share the loads of x and the sum into its adjoint
        delta0, gain0, keep0 = splat(delta[i]), splat(gain[now + i]), splat(keep[now + i])
        delta1, gain1, keep1 = splat(delta[i + 1]), splat(gain[now + i + 1]), splat(keep[now + i + 1])
        grow0, fade0 = splat(gain[then + i]), splat(keep[then + i])
        grow1, fade1 = splat(gain[then + i + 1]), splat(keep[then + i + 1])
        pre0, pre1, trace0, trace1 = splat(0.0), splat(0.0), splat(0.0), splat(0.0)
        for j in range(0, m, WIDTH):
            x, x_before, dx = load(pre, now + j), load(pre, then + j), load(d_pre, mine + j)
            k = i * m + j
            old = load(traces, h + k)
            raw = fma(fade0, old, mul(grow0, x_before))
            dx, g = _cell(w, alpha, d_alpha, adjoint, limit, edge, k, raw, x, dx, delta0, gain0, keep0)
            pre0, trace0 = fma(g, x_before, pre0), fma(g, old, trace0)
            k += m
            old = load(traces, h + k)
            raw = fma(fade1, old, mul(grow1, x_before))
            dx, g = _cell(w, alpha, d_alpha, adjoint, limit, edge, k, raw, x, dx, delta1, gain1, keep1)
            pre1, trace1 = fma(g, x_before, pre1), fma(g, old, trace1)
            store(d_pre, mine + j, dx)
        adjoint_pre[i], adjoint_pre[i + 1] = total(pre0), total(pre1)
        adjoint_trace[i], adjoint_trace[i + 1] = total(trace0), total(trace1)


@kernel
def _cell(
    w: Pointer,
    alpha: Pointer,
    d_alpha: Pointer,
    adjoint: Pointer,
    limit: np.float32 | None,
    edge: np.float32,
    k: int,
    raw: Vector,
    x: Vector,
    dx: Vector,
    delta: Vector,
    gain: Vector,
    keep: Vector,
) -> tuple[Vector, Vector]:
    """Process elements k of the matrices, given the unclipped trace; return the adjoints of x and trace."""
    trace = raw
    if limit is not None:
        trace = clip(raw, splat(edge))
    g, a, u = load(adjoint, k), load(alpha, k), mul(delta, x)
    dx = fma(gain, g, fma(delta, fma(a, trace, load(w, k)), dx))
    store(d_alpha, k, fma(trace, u, load(d_alpha, k)))
    g = fma(a, u, mul(keep, g))
    if limit is not None:
        g = keep_inside(g, raw, splat(edge))
    store(adjoint, k, g)
    return dx, g


@kernel
def _finish(p: Problem, s: Scratch, d: Gradients, b: int, rows: Range) -> None:
    for i in range(rows[0], min(rows[1], p.n), WIDTH):
        dx, count = splat(0.0), min(WIDTH, p.n - i)
        for k in range(s.parts):
            dx = add(dx, load(floats(s.d_pre), k * p.m + i))
        store_first(floats(d.hidden), b * p.n + i, dx, count)
    if d.trace:
        for i in range(rows[0], min(rows[1], p.n)):
            for j in range(0, p.n, WIDTH):
                at, count = (b * p.n + i) * p.n + j, min(WIDTH, p.n - j)
                store_first(floats(d.trace), at, load(floats(s.adjoint), i * p.m + j), count)
