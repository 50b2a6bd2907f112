"""The forward kernel."""

from typing import NamedTuple

import numpy as np

from plasticrl.ops.numba.products import add_rows
from plasticrl.ops.numba.sizes import LSTM, RNN, SIGMOID, Numbers, Sizes
from plasticrl.ops.numba.sizes import whole as whole_in_python
from plasticrl.ops.numba.vectors import (
    WIDTH,
    Pointer,
    Range,
    Vector,
    add,
    clip,
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
    sigmoid,
    splat,
    store,
    store_first,
    sub,
    tanh,
    total,
)

whole = inlined(whole_in_python)


class Addresses(NamedTuple):
    """Addresses of the contiguous tensors; 0 for None."""

    drive: int  # T B width
    w: int  # n m: the first sums, whose rows are those of alpha; 0 if the other matrix has them, too
    w_transposed: int  # n rows: groups of sums, each padded to whole vectors
    alpha: int  # n m
    hidden: int  # B n
    memory: int  # B n, updated in place
    trace: int  # B n m, updated in place
    reset: int  # T B
    clamp: int  # T B n
    outputs: int  # T B n
    record: int  # T B recorded, written if given


@kernel
def forward(
    a: Addresses,
    rule: Numbers,
    limit: np.float32 | None,
    s: Sizes,
    samples: Range,
    steps: Range,
    rows: Range,
) -> None:
    """Run these steps of these samples and rows; if rows are split, threads meet after each step."""
    hidden, trace = floats(a.hidden), floats(a.trace)
    outputs, memory, reset = floats(a.outputs), floats(a.memory), flags(a.reset)
    n, m = s.n, s.m
    before = flush_denormals()
    x = np.zeros(m, np.float32)
    sums = np.empty(total_columns(s), np.float32)
    recall, recalled = np.zeros(WIDTH + 3, np.float32), np.zeros(WIDTH + 3, np.float32)
    keep, gain = np.empty(WIDTH, np.float32), np.empty(WIDTH, np.float32)
    recalls = rule.correction != 0
    for b in range(samples[0], samples[1]):
        h = b * n * m
        for t in range(steps[0], steps[1]):
            sample = t * s.batch + b
            at = sample * n
            if a.reset and reset[sample]:
                _fill(x, 0, n)
                if a.alpha:
                    _fill(trace, h + rows[0] * m, (rows[1] - rows[0]) * m)
                if a.memory:
                    _fill(memory, b * n + rows[0], rows[1] - rows[0])
            elif t == 0:
                _copy(hidden, b * n, x, n)
            else:
                _copy(outputs, at - s.batch * n, x, n)
            if a.w_transposed:
                _sum_up(a, s, x, sums, sample, rows)
            shared = splat(1.0)
            if a.alpha and s.modulated == 1:
                shared = splat(_lane(_modulation(a, s, sums, sample, 0, 1), recall))
            for first in range(rows[0], rows[1], WIDTH):
                last = min(first + WIDTH, rows[1])
                count = last - first
                if a.alpha:
                    several = last - count % 4
                    for i in range(first, several, 4):
                        _recall_rows(a, m, recalls, x, recall, recalled, i, m, i - first, h)
                    for i in range(several, last):
                        _recall_rows(a, m, recalls, x, recall, recalled, i, 0, i - first, h)
                if s.cell == RNN:
                    argument = load(sums, first)
                    if a.w:
                        drive = load_first(floats(a.drive), sample * s.width + first, count)
                        argument = add(load(recall, 0), drive)
                    value = tanh(argument)
                    store_first(outputs, at + first, value, count)
                    if a.clamp:
                        store(gain, 0, value)
                        for i in range(count):
                            if flags(a.clamp)[at + first + i]:
                                gain[i] = floats(a.drive)[at + first + i]
                                outputs[at + first + i] = gain[i]
                        value = load(gain, 0)
                else:
                    value = _activate(a, s, x, sums, load(recall, 0), b, sample, first, count)
                if not a.alpha:
                    continue
                modulation = shared
                if s.modulated > 1:
                    modulation = _modulation(a, s, sums, sample, first, count)
                rate = mul(splat(rule.eta), modulation)
                stored = value
                if recalls:
                    q = mul(splat(rule.scale), load(recalled, 0))
                    stored = sub(value, mul(splat(rule.correction), q))
                    if a.record:
                        store_first(floats(a.record), sample * s.recorded + s.values + first, q, count)
                store(gain, 0, mul(mul(splat(rule.scale), rate), stored))
                store(keep, 0, kept(rule, rate, value))
                for i in range(0, count - 1, 2):
                    row = h + (first + i) * m
                    _update(trace, x, row, row + m, m, keep[i], gain[i], keep[i + 1], gain[i + 1], limit)
                if count % 2:
                    i = count - 1
                    row = h + (last - 1) * m
                    _update(trace, x, row, row, m, keep[i], gain[i], keep[i], gain[i], limit)
    restore_denormals(before)


@inlined
def total_columns(s: Sizes) -> int:
    """Return the length of a row of the transposed w."""
    groups = (s.sums - s.modulated) // s.n
    return groups * whole(s.n) + whole(s.modulated)


@kernel
def _sum_up(a: Addresses, s: Sizes, x: Pointer, sums: Pointer, sample: int, rows: Range) -> None:
    """Write drive and ``w x`` of these neurons, in padded groups; without the first group if w has it."""
    w, drive, length, group = floats(a.w_transposed), floats(a.drive), total_columns(s), whole(s.n)
    shared = s.modulated == 1
    neurons = length - whole(s.modulated) if shared else length
    first, at = group if a.w else 0, sample * s.width
    for k in range(first // group, neurons // group):
        for i in range(rows[0], rows[1], WIDTH):
            store(sums, k * group + i, load_first(drive, at + k * s.n + i, min(WIDTH, rows[1] - i)))
    if shared:
        store(sums, neurons, load_first(drive, at + s.sums - 1, 1))
    if rows[1] - rows[0] == s.n:
        add_rows(w, length, (first, length), x, 0, (0, s.n), sums, 0)
        return
    for c in range(first, neurons, group):
        add_rows(w, length, (c + rows[0], c + whole(rows[1])), x, 0, (0, s.n), sums, 0)
    if shared:
        add_rows(w, length, (neurons, length), x, 0, (0, s.n), sums, 0)


@inlined
def _recall_rows(
    a: Addresses, m: int, recalls: bool, x: Pointer, recall: Pointer, recalled: Pointer,
    i: int, stride: int, place: int, h: int,
) -> None:  # fmt: skip
    """Write what four rows recall, and what their keys recall if the rule reads it."""
    alpha, trace = floats(a.alpha), floats(a.trace)
    if a.w:
        _recall(floats(a.w), alpha, trace, x, recall, i * m, stride, place, h, m)
    else:
        _recall(None, alpha, trace, x, recall, i * m, stride, place, h, m)
    if recalls:
        _recall(None, None, trace, x, recalled, i * m, stride, place, h, m)


@inlined
def kept(rule: Numbers, rate: Vector, value: Vector) -> Vector:
    """Return keep of a vector of rows."""
    lost = fma(mul(rate, splat(rule.normalisation)), mul(value, value), splat(rule.eta * rule.leak))
    return sub(splat(1.0), lost)


@inlined
def _modulation(a: Addresses, s: Sizes, sums: Pointer, sample: int, first: int, count: int) -> Vector:
    """Compute and record the modulation of these neurons."""
    argument = load(sums, total_columns(s) - whole(s.modulated) + first)
    result = sigmoid(argument) if s.modulation == SIGMOID else tanh(argument)
    if a.record:
        at = (sample + 1) * s.recorded - s.modulated + first
        store_first(floats(a.record), at, result, count)
    return result


@inlined
def _lane(a: Vector, room: Pointer) -> np.float32:
    """Return the first lane."""
    store(room, 0, a)
    first: np.float32 = room[0]
    return first


@kernel
def _activate(
    a: Addresses,
    s: Sizes,
    x: Pointer,
    sums: Pointer,
    recall: Vector,
    b: int,
    sample: int,
    first: int,
    count: int,
) -> Vector:
    """Write output, memory and record of these neurons, of a gated cell; return the values to store."""
    n, group, one, to = s.n, whole(s.n), splat(1.0), sample * s.n + first
    drive, outputs, record = floats(a.drive), floats(a.outputs), floats(a.record)
    place = sample * s.recorded + first
    if s.cell == LSTM:
        i = sigmoid(load(sums, first))
        f = sigmoid(load(sums, group + first))
        value = tanh(add(load(sums, 2 * group + first), recall))
        o = sigmoid(load(sums, 3 * group + first))
        c = fma(f, load_first(floats(a.memory), b * n + first, count), mul(i, value))
        store_first(floats(a.memory), b * n + first, c, count)
        store_first(outputs, to, mul(o, tanh(c)), count)
        if a.record:
            store_first(record, place, i, count)
            store_first(record, place + n, f, count)
            store_first(record, place + 2 * n, value, count)
            store_first(record, place + 3 * n, o, count)
            store_first(record, place + 4 * n, c, count)
        return value
    r = sigmoid(load(sums, first))
    z = sigmoid(load(sums, group + first))
    inner = load(sums, 2 * group + first)
    candidate = fma(r, inner, load_first(drive, sample * s.width + s.sums + first, count))
    value = tanh(add(candidate, recall))
    output = fma(z, load_first(x, first, count), mul(sub(one, z), value))
    store_first(outputs, to, output, count)
    if a.record:
        store_first(record, place, r, count)
        store_first(record, place + n, z, count)
        store_first(record, place + 2 * n, value, count)
        store_first(record, place + 3 * n, inner, count)
    return value


@kernel
def _recall(
    w: Pointer | None,
    alpha: Pointer | None,
    trace: Pointer,
    x: Pointer,
    out: Pointer,
    row: int,
    stride: int,
    place: int,
    h: int,
    m: int,
) -> None:
    """Write ``(w + alpha * trace) x`` of four rows, ``stride`` apart (0 repeats the same row).

    Without w it counts as 0, and without alpha as 1. Four rows at a time share the loads of x and keep enough
    sums in flight to hide their latency.
    """
    a, b, c, d = splat(0.0), splat(0.0), splat(0.0), splat(0.0)
    inner = m - m % WIDTH
    for p in range(0, inner, WIDTH):
        i, pre = row + p, load(x, p)
        a = fma(_weight(w, alpha, trace, i, h), pre, a)
        b = fma(_weight(w, alpha, trace, i + stride, h), pre, b)
        c = fma(_weight(w, alpha, trace, i + 2 * stride, h), pre, c)
        d = fma(_weight(w, alpha, trace, i + 3 * stride, h), pre, d)
    if inner < m:
        i, rest = row + inner, m - inner
        pre = load_first(x, inner, rest)
        a = fma(_tail(w, alpha, trace, i, h, rest), pre, a)
        b = fma(_tail(w, alpha, trace, i + stride, h, rest), pre, b)
        c = fma(_tail(w, alpha, trace, i + 2 * stride, h, rest), pre, c)
        d = fma(_tail(w, alpha, trace, i + 3 * stride, h, rest), pre, d)
    out[place + 0] = total(a)
    out[place + 1] = total(b)
    out[place + 2] = total(c)
    out[place + 3] = total(d)


@inlined
def _weight(w: Pointer | None, alpha: Pointer | None, trace: Pointer, i: int, h: int) -> Vector:
    plastic = load(trace, h + i)
    if alpha is None:
        return plastic
    if w is None:
        return mul(load(alpha, i), plastic)
    return fma(load(alpha, i), plastic, load(w, i))


@inlined
def _tail(w: Pointer | None, alpha: Pointer | None, trace: Pointer, i: int, h: int, rest: int) -> Vector:
    plastic = load_first(trace, h + i, rest)
    if alpha is None:
        return plastic
    if w is None:
        return mul(load_first(alpha, i, rest), plastic)
    return fma(load_first(alpha, i, rest), plastic, load_first(w, i, rest))


@inlined
def _copy(source: Pointer, at: int, target: Pointer, count: int) -> None:
    # A loop, since a slice assignment takes seconds to compile.
    for i in range(count):
        target[i] = source[at + i]


@inlined
def _fill(target: Pointer, at: int, count: int) -> None:
    for i in range(at, at + count):
        target[i] = 0


@kernel
def _update(
    trace: Pointer,
    x: Pointer,
    i: int,
    j: int,
    n: int,
    keep_i: np.float32,
    gain_i: np.float32,
    keep_j: np.float32,
    gain_j: np.float32,
    limit: np.float32 | None,
) -> None:
    """Set two rows of the trace (may be equal) to ``keep * trace + gain * x``, clipped at the limit."""
    ki, gi, kj, gj = splat(keep_i), splat(gain_i), splat(keep_j), splat(gain_j)
    whole = n - n % WIDTH
    for p in range(0, whole, WIDTH):
        pre = load(x, p)
        a, b = fma(ki, load(trace, i + p), mul(gi, pre)), fma(kj, load(trace, j + p), mul(gj, pre))
        if limit is not None:
            a, b = clip(a, splat(limit)), clip(b, splat(limit))
        store(trace, i + p, a)
        store(trace, j + p, b)
    if whole < n:
        p, rest = whole, n - whole
        pre = load_first(x, p, rest)
        a, b = (
            fma(ki, load_first(trace, i + p, rest), mul(gi, pre)),
            fma(kj, load_first(trace, j + p, rest), mul(gj, pre)),
        )
        if limit is not None:
            a, b = clip(a, splat(limit)), clip(b, splat(limit))
        store_first(trace, i + p, a, rest)
        store_first(trace, j + p, b, rest)
