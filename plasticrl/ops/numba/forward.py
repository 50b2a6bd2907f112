"""The forward kernel."""

from typing import NamedTuple

import numpy as np

from plasticrl.ops.numba.kernel_data import LSTM, RNN, SIGMOID, Numbers, Sizes
from plasticrl.ops.numba.kernel_data import whole as whole_in_python
from plasticrl.ops.numba.products import add_rows
from plasticrl.ops.numba.recall import recall_rows, update_rows
from plasticrl.ops.numba.vectors import (
    WIDTH,
    Pointer,
    Range,
    Vector,
    add,
    address,
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
)

whole = inlined(whole_in_python)


class Addresses(NamedTuple):
    """Addresses of the contiguous tensors; 0 for None."""

    drive: int  # T B width
    w: int  # w transposed, in panels: n rows; the columns are groups of sums, each padded to whole vectors
    alpha: int  # n m
    hidden: int  # B n
    memory: int  # B n, updated in place
    trace: int  # B n m, updated in place
    reset: int  # T B
    clamp: int  # T B n
    outputs: int  # T B n
    record: int  # T B recorded, written if given
    update: int  # B 2 whole(n): keep and gain of the update that waits for the next step, if there is one


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
    """Run these steps of these samples and rows; if rows are split, threads meet after each step.

    Between steps, the trace lacks its last update, which follows with the next step. The last step of the
    scan leaves nothing open.
    """
    before = flush_denormals()
    width = whole(s.n)
    inputs, summed = s.group * width, s.group * total_columns(s)
    memory = np.zeros(inputs + width + summed + 6 * WIDTH, np.float32)
    x = floats(address(memory, 0))  # pointers, since arrays are counted at every call
    old, sums = floats(address(x, inputs)), floats(address(x, inputs + width))
    room = floats(address(sums, summed))
    for first in range(samples[0], samples[1], s.group):
        count = min(s.group, samples[1] - first)
        for t in range(steps[0], steps[1]):
            for k in range(count):
                _begin(a, s, t, first + k, rows, x, k * width)
            _sum_up(a, s, x, sums, t * s.batch + first, count, rows)
            for k in range(count):
                _run_step(a, rule, limit, s, t, first + k, rows, x, k, old, sums, room)
    memory[0] = 0  # keeps it alive until here
    restore_denormals(before)


@inlined
def _begin(a: Addresses, s: Sizes, t: int, b: int, rows: Range, x: Pointer, to: int) -> None:
    """Load the sample's input of this step, and clear its state if an episode starts."""
    load_input(a, s, t, b, x, to)
    if is_fresh(a, s, t, b):
        if a.alpha:
            _fill(floats(a.trace), (b * s.n + rows[0]) * s.m, (rows[1] - rows[0]) * s.m)
        if a.memory:
            _fill(floats(a.memory), b * s.n + rows[0], rows[1] - rows[0])


@inlined
def is_fresh(a: Addresses, s: Sizes, t: int, b: int) -> bool:
    """Return True if an episode starts at step t."""
    return a.reset != 0 and flags(a.reset)[t * s.batch + b] != 0


@inlined
def load_input(a: Addresses, s: Sizes, t: int, b: int, x: Pointer, to: int) -> None:
    """Write x, the previous output, as whole vectors."""
    n = s.n
    for i in range(0, n, WIDTH):
        count, value = min(WIDTH, n - i), splat(0.0)
        if not is_fresh(a, s, t, b):
            if t == 0:
                value = load_first(floats(a.hidden), b * n + i, count)
            else:
                value = load_first(floats(a.outputs), ((t - 1) * s.batch + b) * n + i, count)
        store(x, to + i, value)


@kernel
def _run_step(
    a: Addresses,
    rule: Numbers,
    limit: np.float32 | None,
    s: Sizes,
    t: int,
    b: int,
    rows: Range,
    inputs: Pointer,
    k: int,
    old: Pointer,
    all_sums: Pointer,
    room: Pointer,
) -> None:
    """Run one step of the k-th sample of the group, whose sums are known."""
    n, m, width, sample = s.n, s.m, whole(s.n), t * s.batch + b
    x, own = floats(address(inputs, k * width)), floats(address(all_sums, k * total_columns(s)))
    trace, outputs, h, at = floats(a.trace), floats(a.outputs), b * n * m, sample * n
    recall, recalled = floats(address(room, 0)), floats(address(room, 2 * WIDTH))
    keep, gain = floats(address(room, 4 * WIDTH)), floats(address(room, 5 * WIDTH))
    waiting = a.alpha != 0 and t > 0 and not is_fresh(a, s, t, b)
    if waiting:
        load_input(a, s, t - 1, b, old, 0)
    update, recalls = floats(a.update), rule.correction != 0
    shared = splat(1.0)
    if a.alpha and s.modulated == 1:
        shared = splat(_lane(_modulation(a, s, own, sample, 0, 1), recall))
    for first in range(rows[0], rows[1], WIDTH):
        last = min(first + WIDTH, rows[1])
        count = last - first
        if a.alpha:
            several = last - count % 4
            for i in range(first, several, 4):
                _recall(a, s, limit, recalls, waiting, x, old, recall, recalled, b, i, 1, i - first)
            for i in range(several, last):
                _recall(a, s, limit, recalls, waiting, x, old, recall, recalled, b, i, 0, i - first)
        if s.cell == RNN:
            value = tanh(add(load(own, first), load(recall, 0)))
            store_first(outputs, at + first, value, count)
            if a.clamp:
                store(gain, 0, value)
                for i in range(count):
                    if flags(a.clamp)[at + first + i]:
                        gain[i] = floats(a.drive)[at + first + i]
                        outputs[at + first + i] = gain[i]
                value = load(gain, 0)
        else:
            value = _activate(a, s, x, own, load(recall, 0), b, sample, first, count)
        if not a.alpha:
            continue
        modulation = shared
        if s.modulated > 1:
            modulation = _modulation(a, s, own, sample, first, count)
        rate = mul(splat(rule.eta), modulation)
        stored = value
        if recalls:
            q = mul(splat(rule.scale), load(recalled, 0))
            stored = sub(value, mul(splat(rule.correction), q))
            if a.record:
                store_first(floats(a.record), sample * s.recorded + s.values + first, q, count)
        fade, grow = kept(rule, rate, value), mul(mul(splat(rule.scale), rate), stored)
        if t < s.steps - 1:
            store(update, 2 * b * width + first, fade)
            store(update, (2 * b + 1) * width + first, grow)
            continue
        store(keep, 0, fade)
        store(gain, 0, grow)
        for i in range(0, count - 1, 2):
            row = h + (first + i) * m
            update_rows(trace, x, row, row + m, m, keep[i], gain[i], keep[i + 1], gain[i + 1], limit)
        if count % 2:
            i = count - 1
            row = h + (last - 1) * m
            update_rows(trace, x, row, row, m, keep[i], gain[i], keep[i], gain[i], limit)


@inlined
def _recall(
    a: Addresses, s: Sizes, limit: np.float32 | None, recalls: bool, waiting: bool, x: Pointer, old: Pointer,
    recall: Pointer, recalled: Pointer, b: int, i: int, stride: int, place: int,
) -> None:  # fmt: skip
    """Write what four rows recall, and what their keys recall if the rule reads it."""
    alpha, trace, m, h = floats(a.alpha), floats(a.trace), s.m, b * s.n * s.m
    keep = floats(a.update + 8 * b * whole(s.n))
    gain = floats(a.update + 4 * (2 * b + 1) * whole(s.n))
    if waiting:
        if recalls:
            recall_rows(alpha, trace, x, old, keep, gain, limit, recall, recalled, m, h, i, stride, place)
        else:
            recall_rows(alpha, trace, x, old, keep, gain, limit, recall, None, m, h, i, stride, place)
    elif recalls:
        recall_rows(alpha, trace, x, None, keep, gain, limit, recall, recalled, m, h, i, stride, place)
    else:
        recall_rows(alpha, trace, x, None, keep, gain, limit, recall, None, m, h, i, stride, place)


@inlined
def total_columns(s: Sizes) -> int:
    """Return the length of a row of the transposed w."""
    groups = (s.sums - s.modulated) // s.n
    return groups * whole(s.n) + whole(s.modulated)


@kernel
def _sum_up(a: Addresses, s: Sizes, x: Pointer, sums: Pointer, first: int, count: int, rows: Range) -> None:
    """Write drive and ``w x`` of these neurons, in padded groups, for each sample of a group."""
    w, drive, length, group = floats(a.w), floats(a.drive), total_columns(s), whole(s.n)
    shared, n = s.modulated == 1, s.n
    neurons = length - whole(s.modulated) if shared else length
    for b in range(count):
        at, to = (first + b) * s.width, b * length
        for k in range(neurons // group):
            for i in range(rows[0], rows[1], WIDTH):
                part = load_first(drive, at + k * s.n + i, min(WIDTH, rows[1] - i))
                store(sums, to + k * group + i, part)
        if shared:
            store(sums, to + neurons, load_first(drive, at + s.sums - 1, 1))
    if rows[1] - rows[0] == s.n:
        add_rows(w, n, (0, length), x, 0, group, (0, s.n), sums, 0, length, count)
        return
    for c in range(0, neurons, group):
        columns = (c + rows[0], c + whole(rows[1]))
        add_rows(w, n, columns, x, 0, group, (0, s.n), sums, 0, length, count)
    if shared:
        add_rows(w, n, (neurons, length), x, 0, group, (0, s.n), sums, 0, length, count)


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


@inlined
def _fill(target: Pointer, at: int, count: int) -> None:
    for i in range(at, at + count):
        target[i] = 0
