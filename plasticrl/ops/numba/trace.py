"""Recomputation of all traces of a sample from its first trace and its activities."""

import numpy as np

from plasticrl.ops.numba.forward import kept
from plasticrl.ops.numba.kernel_data import RNN, Problem, Scratch
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
    load_like,
    mul,
    splat,
    splat_like,
    store,
    sub,
    zeros_1,
    zeros_2,
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


@inlined
def trace_before(s: Scratch, m: int, t: int) -> tuple[Pointer, int, int]:
    """Return a kept trace of a step before step t, or of step 0: where it is, its offset, and the step."""
    block, place = max(t - 1, 0) // s.block, max(t - 1, 0) % s.block // s.stride
    if place == 0:
        return floats(s.checkpoints), block * m * m, block * s.block
    return floats(s.history), (place - 1) * m * m, block * s.block + place * s.stride


@kernel
def unroll(p: Problem, s: Scratch, limit: np.float32 | None, b: int, block: int, rows: Range) -> None:
    """Compute the history of one block of steps."""
    square, start = p.sizes.m * p.sizes.m, block * s.block
    count = (min(s.block, p.sizes.steps - start) - 1) // s.stride
    advance(p, s, limit, b, rows, start, s.stride, count, block * square, floats(s.history), 0)


@kernel
def advance(
    p: Problem,
    s: Scratch,
    limit: np.float32 | None,
    b: int,
    rows: Range,
    start: int,
    stride: int,
    count: int,
    old: int,
    target: Pointer,
    new: int,
) -> None:
    """Carry the checkpoint at ``old`` over ``count`` times ``stride`` steps; write the trace after each."""
    m, end = p.sizes.m, even(rows[1])
    twos = m - m % (2 * WIDTH)
    for i in range(rows[0], end, 2):
        for j in range(0, twos, 2 * WIDTH):
            _advance_tile(zeros_2(), p, s, limit, b, i, j, start, stride, count, old, target, new)
        for j in range(twos, m, WIDTH):
            _advance_tile(zeros_1(), p, s, limit, b, i, j, start, stride, count, old, target, new)


@inlined
def even(rows: int) -> int:
    """Round up to pairs of rows, which the kernels take together."""
    return rows + rows % 2


@kernel
def _advance_tile(
    like: Vector,
    p: Problem,
    s: Scratch,
    limit: np.float32 | None,
    b: int,
    i: int,
    j: int,
    start: int,
    stride: int,
    count: int,
    old: int,
    target: Pointer,
    new: int,
) -> None:
    """Carry as many vectors as ``like`` has, of two rows; they stay in registers for all steps."""
    m, pre, gain, keep = p.sizes.m, floats(s.pre), floats(s.gain), floats(s.keep)
    at = i * m + j
    h = load_like(like, floats(s.checkpoints), old + at)
    g = load_like(like, floats(s.checkpoints), old + at + m)
    t = start
    for k in range(count):
        for _ in range(stride):
            t += 1
            row = t * m
            if is_reset(p, t, b):
                h, g = like, like
            else:
                x = load_like(like, pre, row + j)
                h = following(like, h, keep, gain, row + i, x, limit)
                g = following(like, g, keep, gain, row + i + 1, x, limit)
        to = new + k * m * m + at
        store(target, to, h)
        store(target, to + m, g)


@kernel
def walk(
    s: Scratch,
    limit: np.float32 | None,
    keep: Pointer | None,
    m: int,
    source: Pointer,
    i: int,
    start: int,
    end: int,
    target: Pointer,
) -> None:
    """Write rows i and i + 1 of the trace before step ``end``, given those before step ``start``."""
    pre, gain = floats(s.pre), floats(s.gain)
    for t in range(start, end):
        row = (t + 1) * m
        for j in range(0, m, WIDTH):
            x, h, g = load(pre, row + j), load(source, j), load(source, m + j)
            store(target, j, following(x, h, keep, gain, row + i, x, limit))
            store(target, m + j, following(x, g, keep, gain, row + i + 1, x, limit))
        source = target


@inlined
def following(
    like: Vector, h: Vector, keep: Pointer | None, gain: Pointer, i: int, x: Vector, limit: np.float32 | None
) -> Vector:
    """Return the trace after the update with the i-th coefficients; all of ``keep`` are 1 if it is None."""
    if keep is None:
        h = fma(splat_like(like, gain[i]), x, h)
    else:
        h = fma(splat_like(like, keep[i]), h, mul(splat_like(like, gain[i]), x))
    if limit is not None:
        h = clip(h, splat_like(like, limit))
    return h


@kernel
def collect_alpha(
    p: Problem, s: Scratch, limit: np.float32 | None, d_alpha: Pointer, b: int, block: int, rows: Range
) -> None:
    """Add to the adjoint of alpha the part of a block of steps, whose adjoints of the recall are known.

    The traces are computed once more, in registers, which costs less than to sweep over the adjoint of alpha
    in every step.
    """
    m, end = p.sizes.m, even(rows[1])
    twos = m - m % (2 * WIDTH)
    for i in range(rows[0], end, 2):
        for j in range(0, twos, 2 * WIDTH):
            _collect_tile(zeros_2(), p, s, limit, d_alpha, b, block, i, j)
        for j in range(twos, m, WIDTH):
            _collect_tile(zeros_1(), p, s, limit, d_alpha, b, block, i, j)


@kernel
def _collect_tile(
    like: Vector,
    p: Problem,
    s: Scratch,
    limit: np.float32 | None,
    d_alpha: Pointer,
    b: int,
    block: int,
    i: int,
    j: int,
) -> None:
    m, pre, gain, keep, delta = p.sizes.m, floats(s.pre), floats(s.gain), floats(s.keep), floats(s.d_recall)
    at, old, start = i * m + j, block * m * m, block * s.block
    h = load_like(like, floats(s.checkpoints), old + at)
    g = load_like(like, floats(s.checkpoints), old + at + m)
    d, e = load_like(like, d_alpha, at), load_like(like, d_alpha, at + m)
    for t in range(start, min(start + s.block, p.sizes.steps)):
        if t > start and is_reset(p, t, b):
            h, g = like, like
        row, k = (t + 1) * m, t % s.block * m + i
        x = load_like(like, pre, row + j)
        d = fma(h, mul(splat_like(like, delta[k]), x), d)
        e = fma(g, mul(splat_like(like, delta[k + 1]), x), e)
        h = following(like, h, keep, gain, row + i, x, limit)
        g = following(like, g, keep, gain, row + i + 1, x, limit)
    store(d_alpha, at, d)
    store(d_alpha, at + m, e)
