"""Recomputation of all traces of a sample from its first trace and its activities."""

import numpy as np

from plasticrl.ops.numba.backward_data import Problem, Scratch
from plasticrl.ops.numba.forward import kept
from plasticrl.ops.numba.sizes import RNN
from plasticrl.ops.numba.vectors import (
    WIDTH,
    Pointer,
    Range,
    Vector,
    clip,
    flags,
    floats,
    fma,
    inlined,
    kernel,
    load,
    load_first,
    mul,
    splat,
    store,
    sub,
)


@inlined
def is_reset(p: Problem, t: int, b: int) -> bool:
    """Return True if an episode starts at step t."""
    return p.reset != 0 and flags(p.reset)[t * p.sizes.batch + b] != 0


@kernel
def fill(target: Pointer, at: int, count: int) -> None:
    """Fill with zeros; ``count`` is a multiple of the vector width."""
    for i in range(at, at + count, WIDTH):
        store(target, i, splat(0.0))


@inlined
def stored_value(p: Problem, sample: int, i: int, count: int) -> Vector:
    """Return the values that the trace stored: the output of an RNN, the candidates of the others."""
    if p.sizes.cell == RNN:
        return load_first(floats(p.outputs), sample * p.sizes.n + i, count)
    return load_first(floats(p.record), sample * p.sizes.recorded + 2 * p.sizes.n + i, count)


@inlined
def recalled(p: Problem, sample: int, i: int, count: int) -> Vector:
    """Return the values that the key recalled; 0 for a rule that does not read them."""
    if p.rule.correction == 0:
        return splat(0.0)
    return load_first(floats(p.record), sample * p.sizes.recorded + p.sizes.values + i, count)


@inlined
def modulation(p: Problem, sample: int, i: int, count: int) -> Vector:
    """Return the modulation; 1 without any."""
    at = (sample + 1) * p.sizes.recorded - p.sizes.modulated
    if p.sizes.modulated == 0:
        return splat(1.0)
    if p.sizes.modulated == 1:
        return splat(floats(p.record)[at])
    return load_first(floats(p.record), at + i, count)


@kernel
def collect(p: Problem, s: Scratch, b: int, rows: Range) -> None:
    """Collect this sample's activities, and compute the coefficients of its trace updates."""
    outputs, rule, n = floats(p.outputs), p.rule, p.sizes.n
    for t in range(p.sizes.steps):
        sample = t * p.sizes.batch + b
        for i in range(rows[0], min(rows[1], n), WIDTH):
            to, count = (t + 1) * p.sizes.m + i, min(WIDTH, n - i)
            x = splat(0.0)
            if not is_reset(p, t, b):
                if t == 0:
                    x = load_first(floats(p.hidden), b * n + i, count)
                else:
                    x = load_first(outputs, (sample - p.sizes.batch) * n + i, count)
            store(floats(s.pre), to, x)
            if p.alpha:
                v, rate = stored_value(p, sample, i, count), modulation(p, sample, i, count)
                rate = mul(splat(rule.eta), rate)
                stored = sub(v, mul(splat(rule.correction), recalled(p, sample, i, count)))
                store(floats(s.gain), to, mul(mul(splat(rule.scale), rate), stored))
                store(floats(s.keep), to, kept(rule, rate, v))


@kernel
def unroll(p: Problem, s: Scratch, limit: np.float32 | None, b: int, block: int, rows: Range) -> None:
    """Compute the history of one block of steps."""
    square, start = p.sizes.m * p.sizes.m, block * s.block
    for i in range(rows[0] * p.sizes.m, rows[1] * p.sizes.m, WIDTH):
        store(floats(s.history), i, load(floats(s.checkpoints), block * square + i))
    count = min(s.block, p.sizes.steps - start) - 1
    advance(p, s, limit, b, rows, start, count, s.checkpoints, block * square, s.history, square, square)


@kernel
def advance(
    p: Problem,
    s: Scratch,
    limit: np.float32 | None,
    b: int,
    rows: Range,
    start: int,
    count: int,
    source: int,
    old: int,
    target: int,
    new: int,
    stride: int,
) -> None:
    """Carry traces over ``count`` steps, and write each to ``target``, ``stride`` after the previous one.

    Four vectors of a row stay in registers for all steps.
    """
    m, source, target, pre, gain, keep = (
        p.sizes.m,
        floats(source),
        floats(target),
        floats(s.pre),
        floats(s.gain),
        floats(s.keep),
    )
    many = m - m % (4 * WIDTH)
    for i in range(rows[0], min(rows[1], p.sizes.n)):
        row = i * m
        for j in range(0, many, 4 * WIDTH):
            at = old + row + j
            h0, h1 = load(source, at), load(source, at + WIDTH)
            h2, h3 = load(source, at + 2 * WIDTH), load(source, at + 3 * WIDTH)
            for k in range(count):
                x, to = (start + k + 1) * m, new + k * stride + row + j
                fade, grow = splat(keep[x + i]), splat(gain[x + i])
                wiped = is_reset(p, start + k + 1, b)
                x += j
                h0 = _updated(h0, fade, grow, load(pre, x), limit, wiped)
                h1 = _updated(h1, fade, grow, load(pre, x + WIDTH), limit, wiped)
                h2 = _updated(h2, fade, grow, load(pre, x + 2 * WIDTH), limit, wiped)
                h3 = _updated(h3, fade, grow, load(pre, x + 3 * WIDTH), limit, wiped)
                store(target, to, h0)
                store(target, to + WIDTH, h1)
                store(target, to + 2 * WIDTH, h2)
                store(target, to + 3 * WIDTH, h3)
        for j in range(many, m, WIDTH):
            h = load(source, old + row + j)
            for k in range(count):
                x = (start + k + 1) * m
                wiped = is_reset(p, start + k + 1, b)
                h = _updated(h, splat(keep[x + i]), splat(gain[x + i]), load(pre, x + j), limit, wiped)
                store(target, new + k * stride + row + j, h)


@kernel
def _updated(
    h: Vector, keep: Vector, gain: Vector, x: Vector, limit: np.float32 | None, wiped: bool
) -> Vector:
    h = fma(keep, h, mul(gain, x))
    if limit is not None:
        h = clip(h, splat(limit))
    return splat(0.0) if wiped else h
