"""The backward kernel."""

import numpy as np

from plasticrl.ops.numba.backward_data import Gradients, Problem, Scratch
from plasticrl.ops.numba.products import add_rows
from plasticrl.ops.numba.sizes import LSTM, RNN, SIGMOID
from plasticrl.ops.numba.trace import (
    advance,
    collect,
    fill,
    is_reset,
    modulation,
    recalled,
    stored_value,
    unroll,
)
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
    inlined,
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
    tanh,
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
    before, last = flush_denormals(), p.sizes.steps
    for b in range(samples[0], samples[1]):
        for t in range(steps[0], steps[1] - 1, -1):
            if t == last + 1:
                collect(p, s, b, rows)
            elif t == last:
                _begin(p, s, limit, b, rows)
                if p.d_last_trace:
                    _sweep(p, s, d, None, limit, t, rows, part)
            elif t >= 0:
                _step(p, s, d, b, t, rows, part)
                if p.alpha and t > 0 and t % s.block == 0:
                    unroll(p, s, limit, b, t // s.block - 1, rows)
                if is_reset(p, t, b):  # earlier steps have no effect on later ones
                    fill(floats(s.d_pre), ((t % 2) * s.parts + part) * p.sizes.m, p.sizes.m)
                    _forget(p, s, rows)
                else:
                    _send_back(p, s, t, rows, part)
                    if p.alpha and p.sizes.cell == RNN:
                        _sweep(p, s, d, floats(p.w), limit, t, rows, part)
                    elif p.alpha:
                        _sweep(p, s, d, None, limit, t, rows, part)
            else:
                _finish(p, s, d, b, rows)
    restore_denormals(before)


@inlined
def _forget(p: Problem, s: Scratch, rows: Range) -> None:
    if p.alpha:
        fill(floats(s.adjoint), rows[0] * p.sizes.m, (rows[1] - rows[0]) * p.sizes.m)
    for i in range(rows[0], rows[1]):
        floats(s.adjoint_pre)[i] = 0
        floats(s.adjoint_trace)[i] = 0
        floats(s.d_memory)[i] = 0


@kernel
def _begin(p: Problem, s: Scratch, limit: np.float32 | None, b: int, rows: Range) -> None:
    """Build the checkpoints and the traces of the last block, and load the adjoint of the last state."""
    n = p.sizes.n
    _forget(p, s, rows)
    for i in range(rows[0], rows[1]):
        floats(s.d_recall)[i] = 0  # padded rows, too, since NaN times 0 is NaN
        floats(s.d_recalled)[i] = 0
    if p.d_last_memory:
        for i in range(rows[0], min(rows[1], n)):
            floats(s.d_memory)[i] = floats(p.d_last_memory)[b * n + i]
    if not p.alpha:
        return
    fresh = is_reset(p, 0, b)
    for i in range(rows[0], min(rows[1], n)):
        for j in range(0, n, WIDTH):
            at, to, count = (b * n + i) * n + j, i * p.sizes.m + j, min(WIDTH, n - j)
            store(floats(s.checkpoints), to, splat(0.0) if fresh else load_first(floats(p.trace), at, count))
            if p.d_last_trace:
                store(floats(s.adjoint), to, load_first(floats(p.d_last_trace), at, count))
    last = (p.sizes.steps - 1) // s.block
    for k in range(last):
        old = k * p.sizes.m * p.sizes.m
        advance(
            p,
            s,
            limit,
            b,
            rows,
            k * s.block,
            s.block,
            s.checkpoints,
            old,
            s.checkpoints,
            old + p.sizes.m * p.sizes.m,
            0,
        )
    unroll(p, s, limit, b, last, rows)


@inlined
def _step(p: Problem, s: Scratch, d: Gradients, b: int, t: int, rows: Range, part: int) -> None:
    """Compute from the adjoints of the output and of the next trace those of drive, sums and recall.

    The direct part of the adjoint of x, that of a GRU's gate, is left where :func:`_send_back` adds to it.
    """
    n, sample = p.sizes.n, t * p.sizes.batch + b
    d_eta, d_modulation, shared = splat(0.0), splat(0.0), p.sizes.modulated == 1
    d_pre, d_drive, d_sums = floats(s.d_pre), floats(d.drive), floats(s.d_sums)
    own = part * (p.sizes.sums + WIDTH)
    first_modulation = p.sizes.sums - p.sizes.modulated
    fill(d_pre, ((t % 2) * s.parts + part) * p.sizes.m, p.sizes.m)
    for i in range(rows[0], min(rows[1], n), WIDTH):
        count = min(WIDTH, n - i)
        dy = load_first(floats(p.d_outputs), sample * n + i, count)
        if t == p.sizes.steps - 1:
            dy = add(dy, load_first(floats(p.d_last_hidden), b * n + i, count))
        else:
            for k in range(s.parts):
                dy = add(dy, load(d_pre, (((t + 1) % 2) * s.parts + k) * p.sizes.m + i))
        d_value = splat(0.0)
        if p.alpha:
            d_value, d_rate, d_lost = _rule_adjoint(p, s, sample, i, count)
            m = modulation(p, sample, i, count)
            d_eta = add(d_eta, sub(mul(m, d_rate), mul(splat(p.rule.leak), d_lost)))
            if p.sizes.modulated:
                raw = mul(mul(splat(p.rule.eta), d_rate), _slope(p.sizes.modulation == SIGMOID, m))
                if shared:
                    d_modulation = add(d_modulation, raw)
                else:
                    at = first_modulation + i
                    store_first(d_sums, own + at, raw, count)
                    store_first(d_drive, sample * p.sizes.width + at, raw, count)
        elif p.sizes.modulated > 1:
            at = first_modulation + i
            store_first(d_drive, sample * p.sizes.width + at, splat(0.0), count)
        _cell_adjoint(p, s, d, b, t, i, count, dy, d_value, part)
    if p.alpha:
        doubles(d.eta)[0] += total(d_eta)
    if shared:
        both = total(d_modulation)
        d_sums[own + first_modulation] = both
        floats(d.modulation)[sample] += both


@inlined
def _slope(logistic: bool, m: Vector) -> Vector:
    """Return the derivative of a sigmoid or of tanh at its value m."""
    return mul(m, sub(splat(1.0), m)) if logistic else sub(splat(1.0), mul(m, m))


@inlined
def _rule_adjoint(p: Problem, s: Scratch, sample: int, i: int, count: int) -> tuple[Vector, Vector, Vector]:
    """Write the adjoint of the recalled values; return that of the values, and of m and keep per eta."""
    rule = p.rule
    value, q = stored_value(p, sample, i, count), recalled(p, sample, i, count)
    d_gain, d_keep = mul(splat(rule.scale), load(floats(s.adjoint_pre), i)), load(floats(s.adjoint_trace), i)
    stored = sub(value, mul(splat(rule.correction), q))
    rate = mul(splat(rule.eta), modulation(p, sample, i, count))
    normalised = mul(splat(rule.normalisation), value)
    d_rate = sub(mul(stored, d_gain), mul(mul(normalised, value), d_keep))
    d_stored = mul(rate, d_gain)
    store_first(floats(s.d_recalled), i, mul(splat(-rule.scale * rule.correction), d_stored), count)
    return fma(mul(mul(splat(-2.0), rate), normalised), d_keep, d_stored), d_rate, d_keep


@inlined
def _cell_adjoint(
    p: Problem,
    s: Scratch,
    d: Gradients,
    b: int,
    t: int,
    i: int,
    count: int,
    dy: Vector,
    d_value: Vector,
    part: int,
) -> None:
    """Write the adjoints of drive, sums, recall and cell state of these neurons."""
    n, one, sizes = p.sizes.n, splat(1.0), p.sizes
    sample = t * sizes.batch + b
    own, at, place = part * (sizes.sums + WIDTH) + i, sample * sizes.width + i, sample * sizes.recorded + i
    d_drive, d_sums, d_recall, record = (
        floats(d.drive),
        floats(s.d_sums),
        floats(s.d_recall),
        floats(p.record),
    )
    y = load_first(floats(p.outputs), sample * n + i, count)
    if sizes.cell == RNN:
        total_adjoint = add(dy, d_value)
        delta = mul(total_adjoint, sub(one, mul(y, y)))
        store_first(d_recall, i, delta, count)
        store_first(d_drive, at, delta, count)
        if p.clamp:
            store_first(d_drive, at, total_adjoint, count)
            for k in range(count):
                if flags(p.clamp)[sample * n + i + k]:
                    d_recall[i + k] = 0
                else:
                    d_drive[at + k] = d_recall[i + k]
        for k in range(count):
            d_sums[own + k] = d_recall[i + k]
        return
    if sizes.cell == LSTM:
        input_gate, forget = load_first(record, place, count), load_first(record, place + n, count)
        g, o = load_first(record, place + 2 * n, count), load_first(record, place + 3 * n, count)
        squashed = tanh(load_first(record, place + 4 * n, count))
        old = splat(0.0)
        if not is_reset(p, t, b):
            if t == 0:
                old = load_first(floats(p.memory), b * n + i, count)
            else:
                old = load_first(record, place + 4 * n - sizes.batch * sizes.recorded, count)
        d_c = fma(mul(dy, o), sub(one, mul(squashed, squashed)), load(floats(s.d_memory), i))
        store_first(floats(s.d_memory), i, mul(d_c, forget), count)
        d_g = mul(fma(d_c, input_gate, d_value), sub(one, mul(g, g)))
        store_first(d_recall, i, d_g, count)
        _both(d_sums, own, d_drive, at, mul(mul(d_c, g), _slope(True, input_gate)), count)
        _both(d_sums, own + n, d_drive, at + n, mul(mul(d_c, old), _slope(True, forget)), count)
        _both(d_sums, own + 2 * n, d_drive, at + 2 * n, d_g, count)
        _both(d_sums, own + 3 * n, d_drive, at + 3 * n, mul(mul(dy, squashed), _slope(True, o)), count)
        return
    r, z = load_first(record, place, count), load_first(record, place + n, count)
    candidate, inner = load_first(record, place + 2 * n, count), load_first(record, place + 3 * n, count)
    x = load(floats(s.pre), (t + 1) * p.sizes.m + i)
    d_n = mul(fma(dy, sub(one, z), d_value), sub(one, mul(candidate, candidate)))
    store_first(d_recall, i, d_n, count)
    store_first(d_drive, at + sizes.sums, d_n, count)
    _both(d_sums, own, d_drive, at, mul(mul(d_n, inner), _slope(True, r)), count)
    _both(d_sums, own + n, d_drive, at + n, mul(mul(dy, sub(x, candidate)), _slope(True, z)), count)
    _both(d_sums, own + 2 * n, d_drive, at + 2 * n, mul(d_n, r), count)
    store_first(floats(s.d_pre), ((t % 2) * s.parts + part) * p.sizes.m + i, mul(dy, z), count)


@inlined
def _both(a: Pointer, i: int, b: Pointer, j: int, value: Vector, count: int) -> None:
    store_first(a, i, value, count)
    store_first(b, j, value, count)


@kernel
def _send_back(p: Problem, s: Scratch, t: int, rows: Range, part: int) -> None:
    """Add to the adjoint of x what these rows of w send back, if :func:`_sweep` does not."""
    sizes, mine = p.sizes, ((t % 2) * s.parts + part) * p.sizes.m
    own = part * (sizes.sums + WIDTH)
    w, d_pre, d_sums = floats(p.w), floats(s.d_pre), floats(s.d_sums)
    columns, last = (0, sizes.m), min(rows[1], sizes.n)
    neurons = sizes.sums - sizes.modulated  # then rows of the modulation
    first = sizes.n if p.alpha and sizes.cell == RNN else 0
    modulations = sizes.modulated if p.alpha else 0
    if last - rows[0] == sizes.n:
        add_rows(w, sizes.m, columns, d_sums, own, (first, neurons + modulations), d_pre, mine)
        return
    end = neurons + (0 if modulations == 1 else modulations)
    for group in range(first, end, sizes.n):
        add_rows(w, sizes.m, columns, d_sums, own, (group + rows[0], group + last), d_pre, mine)
    if modulations == 1:
        add_rows(w, sizes.m, columns, d_sums, own, (neurons, neurons + 1), d_pre, mine)


@kernel
def _sweep(
    p: Problem,
    s: Scratch,
    d: Gradients,
    w: Pointer | None,
    limit: np.float32 | None,
    t: int,
    rows: Range,
    part: int,
) -> None:
    """Carry the trace's adjoint over step t; add up those of alpha and x; prepare products of step t-1.

    With w, whose rows must be those of alpha, the adjoint of x includes its part.
    """
    m = p.sizes.m
    edge = np.float32(np.inf)  # the first trace is not clipped
    if limit is not None:  # noqa: SIM102 (numba drops this branch at compile time only if written so)
        if t > 0:
            edge = limit
    traces = floats(s.checkpoints if t == 0 else s.history)
    h = 0 if t == 0 else ((t - 1) % s.block) * m * m
    pre, gain, keep = floats(s.pre), floats(s.gain), floats(s.keep)
    d_recall, d_recalled, d_pre = floats(s.d_recall), floats(s.d_recalled), floats(s.d_pre)
    alpha, d_alpha, adjoint = floats(p.alpha), floats(d.alpha), floats(s.adjoint)
    adjoint_pre, adjoint_trace = floats(s.adjoint_pre), floats(s.adjoint_trace)
    mine = ((t % 2) * s.parts + part) * m
    now, then = (t + 1) * m, t * m
    for i in range(rows[0], rows[1], 2):  # two rows share the loads of x and the sum into its adjoint
        delta0, gain0, keep0 = splat(d_recall[i]), splat(gain[now + i]), splat(keep[now + i])
        delta1, gain1, keep1 = splat(d_recall[i + 1]), splat(gain[now + i + 1]), splat(keep[now + i + 1])
        grow0, fade0, key0 = splat(gain[then + i]), splat(keep[then + i]), splat(d_recalled[i])
        grow1, fade1, key1 = splat(gain[then + i + 1]), splat(keep[then + i + 1]), splat(d_recalled[i + 1])
        pre0, pre1, trace0, trace1 = splat(0.0), splat(0.0), splat(0.0), splat(0.0)
        for j in range(0, m, WIDTH):
            x, x_before, dx = load(pre, now + j), load(pre, then + j), load(d_pre, mine + j)
            k = i * m + j
            old = load(traces, h + k)
            raw = fma(fade0, old, mul(grow0, x_before))
            dx, g = _connection(
                w, alpha, d_alpha, adjoint, limit, edge, k, raw, x, dx, delta0, key0, gain0, keep0
            )
            pre0, trace0 = fma(g, x_before, pre0), fma(g, old, trace0)
            k += m
            old = load(traces, h + k)
            raw = fma(fade1, old, mul(grow1, x_before))
            dx, g = _connection(
                w, alpha, d_alpha, adjoint, limit, edge, k, raw, x, dx, delta1, key1, gain1, keep1
            )
            pre1, trace1 = fma(g, x_before, pre1), fma(g, old, trace1)
            store(d_pre, mine + j, dx)
        adjoint_pre[i], adjoint_pre[i + 1] = total(pre0), total(pre1)
        adjoint_trace[i], adjoint_trace[i + 1] = total(trace0), total(trace1)


@inlined
def _connection(
    w: Pointer | None,
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
    key: Vector,
    gain: Vector,
    keep: Vector,
) -> tuple[Vector, Vector]:
    """Process elements k of the matrices, given the unclipped trace; return the adjoints of x and trace."""
    trace = raw
    if limit is not None:
        trace = clip(raw, splat(edge))
    g, u = load(adjoint, k), mul(delta, x)
    sent = fma(load(alpha, k), delta, key)
    if w is not None:
        dx = fma(delta, load(w, k), dx)
    dx = fma(gain, g, fma(trace, sent, dx))
    store(d_alpha, k, fma(trace, u, load(d_alpha, k)))
    g = fma(sent, x, mul(keep, g))
    if limit is not None:
        g = keep_inside(g, raw, splat(edge))
    store(adjoint, k, g)
    return dx, g


@kernel
def _finish(p: Problem, s: Scratch, d: Gradients, b: int, rows: Range) -> None:
    n = p.sizes.n
    for i in range(rows[0], min(rows[1], n), WIDTH):
        dx, count = splat(0.0), min(WIDTH, n - i)
        for k in range(s.parts):
            dx = add(dx, load(floats(s.d_pre), k * p.sizes.m + i))
        store_first(floats(d.hidden), b * n + i, dx, count)
        if d.memory:
            store_first(floats(d.memory), b * n + i, load(floats(s.d_memory), i), count)
    if d.trace:
        for i in range(rows[0], min(rows[1], n)):
            for j in range(0, n, WIDTH):
                at, count = (b * n + i) * n + j, min(WIDTH, n - j)
                store_first(floats(d.trace), at, load(floats(s.adjoint), i * p.sizes.m + j), count)
