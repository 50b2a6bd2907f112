"""The backward kernel."""

import numpy as np

from plasticrl.ops.numba.kernel_data import LSTM, RNN, SIGMOID, Gradients, Problem, Scratch, of_sample
from plasticrl.ops.numba.products import add_rows
from plasticrl.ops.numba.sweep import carry_back
from plasticrl.ops.numba.trace import (
    advance,
    collect,
    collect_alpha,
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
    address,
    doubles,
    flags,
    floats,
    flush_denormals,
    fma,
    inlined,
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
    memory = np.empty(2 * p.sizes.m + 4, np.float32)
    room = floats(address(memory, 0))  # a pointer, since arrays are counted at every call
    for first in range(samples[0], samples[1], p.sizes.group):
        count = min(p.sizes.group, samples[1] - first)
        for t in range(steps[0], steps[1] - 1, -1):
            if 0 <= t < last:
                for k in range(count):
                    _step(p, of_sample(s, p.sizes, k), d, first + k, t, rows, part)
                _send_back(p, s, t, rows, part, count)
            for k in range(count):
                own, b, carried = of_sample(s, p.sizes, k), first + k, False
                if t == last + 1:
                    collect(p, own, b, rows)
                elif t == last:
                    _begin(p, own, limit, b, rows)
                    carried = p.d_last_trace != 0
                elif t >= 0:
                    if p.alpha and t % s.block == 0:
                        collect_alpha(p, own, limit, floats(d.alpha), b, t // s.block, rows)
                        if t > 0:
                            unroll(p, own, limit, b, t // s.block - 1, rows)
                    carried = p.alpha != 0
                    if is_reset(p, t, b):  # earlier steps have no effect on later ones
                        carried = False
                        fill(floats(own.d_pre), ((t % 2) * s.parts + part) * p.sizes.m, p.sizes.m)
                        _forget(p, own, rows)
                else:
                    _finish(p, own, d, b, rows)
                if carried:
                    carry_back(p, own, limit, b, t, rows, part, room)
    memory[0] = 0  # keeps it alive until here
    restore_denormals(before)


@kernel
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
        floats(s.d_recalled)[i] = 0  # padded rows, too, since NaN times 0 is NaN
        for k in range(s.block):
            floats(s.d_recall)[k * p.sizes.m + i] = 0
    if p.d_last_memory:
        for i in range(rows[0], min(rows[1], n)):
            floats(s.d_memory)[i] = floats(p.d_last_memory)[b * n + i]
    if not p.alpha:
        return
    fresh = is_reset(p, 0, b)
    if n % 2 and rows[1] > n:  # the last row of a pair
        fill(floats(s.checkpoints), n * p.sizes.m, p.sizes.m)
    for i in range(rows[0], min(rows[1], n)):
        for j in range(0, n, WIDTH):
            at, to, count = (b * n + i) * n + j, i * p.sizes.m + j, min(WIDTH, n - j)
            store(floats(s.checkpoints), to, splat(0.0) if fresh else load_first(floats(p.trace), at, count))
            if p.d_last_trace:
                store(floats(s.adjoint), to, load_first(floats(p.d_last_trace), at, count))
    last, square = (p.sizes.steps - 1) // s.block, p.sizes.m * p.sizes.m
    for k in range(last):
        new = (k + 1) * square
        advance(p, s, limit, b, rows, k * s.block, s.block, 1, k * square, floats(s.checkpoints), new)
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
    d_drive, d_sums, record = floats(d.drive), floats(s.d_sums), floats(p.record)
    d_recall = floats(s.d_recall + 4 * (t % s.block) * sizes.m)
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
def _send_back(p: Problem, s: Scratch, t: int, rows: Range, part: int, samples: int) -> None:
    """Add to the adjoint of x what these rows of w send back, for each sample of the group."""
    sizes, mine = p.sizes, ((t % 2) * s.parts + part) * p.sizes.m
    w, d_pre, d_sums = floats(p.w), floats(s.d_pre), floats(s.d_sums)
    length = sizes.sums + WIDTH
    own, apart, beside = part * length, s.parts * length, 2 * s.parts * sizes.m
    columns, last, height = (0, sizes.m), min(rows[1], sizes.n), sizes.sums
    neurons = sizes.sums - sizes.modulated  # then rows of the modulation
    modulations = sizes.modulated if p.alpha else 0
    if last - rows[0] == sizes.n:
        used = (0, neurons + modulations)
        add_rows(w, height, columns, d_sums, own, apart, used, d_pre, mine, beside, samples)
        return
    end = neurons + (0 if modulations == 1 else modulations)
    for group in range(0, end, sizes.n):
        used = (group + rows[0], group + last)
        add_rows(w, height, columns, d_sums, own, apart, used, d_pre, mine, beside, samples)
    if modulations == 1:
        used = (neurons, neurons + 1)
        add_rows(w, height, columns, d_sums, own, apart, used, d_pre, mine, beside, samples)


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
