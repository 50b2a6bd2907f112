"""The forward kernel."""

from typing import NamedTuple

import numpy as np

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


class Addresses(NamedTuple):
    """Addresses of the contiguous tensors; 0 for None."""

    drive: int  # T B n
    w: int  # n n
    alpha: int  # n n
    hidden: int  # B n
    trace: int  # B n n, updated in place
    reset: int  # T B
    clamp: int  # T B n
    outputs: int  # T B n


@kernel
def forward(
    addresses: Addresses,
    eta: np.float32,
    decay: tuple[bool, np.float32],
    limit: np.float32 | None,
    shape: tuple[int, int, int],
    samples: Range,
    steps: Range,
    rows: Range,
) -> None:
    """Run these steps of these samples and rows; if rows are split, threads meet after each step."""
    drive, w, alpha, hidden = (
        floats(addresses.drive), floats(addresses.w), floats(addresses.alpha), floats(addresses.hidden),
    )  # fmt: skip
    trace, outputs = floats(addresses.trace), floats(addresses.outputs)
    reset, clamp = flags(addresses.reset), flags(addresses.clamp)
    _, batch, n = shape
    oja, constant = decay
    square = n * n
    before = flush_denormals()
    x = np.empty(n, np.float32)
    y, keep, gain = np.zeros(WIDTH + 3, np.float32), np.empty(WIDTH, np.float32), np.empty(WIDTH, np.float32)
    for b in range(samples[0], samples[1]):
        h = b * square
        for t in range(steps[0], steps[1]):
            at = (t * batch + b) * n
            if addresses.reset and reset[t * batch + b]:
                _fill(x, 0, n)
                _fill(trace, h + rows[0] * n, (rows[1] - rows[0]) * n)
            elif t == 0:
                _copy(hidden, b * n, x, n)
            else:
                _copy(outputs, at - batch * n, x, n)
            for first in range(rows[0], rows[1], WIDTH):
                last = min(first + WIDTH, rows[1])
                several = last - (last - first) % 4
                for i in range(first, several, 4):
                    _fan_in(w, alpha, trace, x, y, i * n, n, i - first, h, n)
                for i in range(several, last):
                    _fan_in(w, alpha, trace, x, y, i * n, 0, i - first, h, n)
                m = last - first
                post = tanh(add(load(y, 0), load_first(drive, at + first, m)))
                store(y, 0, post)
                store_first(outputs, at + first, post, m)
                if addresses.clamp:
                    for i in range(m):
                        if clamp[at + first + i]:
                            y[i] = drive[at + first + i]
                            outputs[at + first + i] = y[i]
                post = load(y, 0)
                store(gain, 0, mul(splat(eta), post))
                store(keep, 0, sub(splat(1.0), mul(splat(eta), mul(post, post) if oja else splat(constant))))
                for i in range(0, m - 1, 2):
                    row = h + (first + i) * n
                    _update(trace, x, 0, row, row + n, n, keep[i], gain[i], keep[i + 1], gain[i + 1], limit)
                if m % 2:
                    row = h + (last - 1) * n
                    _update(
                        trace, x, 0, row, row, n, keep[m - 1], gain[m - 1], keep[m - 1], gain[m - 1], limit
                    )
    restore_denormals(before)


@kernel
def _fan_in(
    w: Pointer,
    alpha: Pointer,
    trace: Pointer,
    x: Pointer,
    out: Pointer,
    row: int,
    stride: int,
    place: int,
    h: int,
    n: int,
) -> None:
    """Write ``(w + alpha * trace) x`` of four rows, ``stride`` apart (0 repeats the same row).

    Four rows at a time share the loads of x and keep enough sums in flight to hide their latency.
    """
    a, b, c, d = splat(0.0), splat(0.0), splat(0.0), splat(0.0)
    whole = n - n % WIDTH
    for p in range(0, whole, WIDTH):
        i, pre = row + p, load(x, p)
        a = fma(fma(load(alpha, i), load(trace, h + i), load(w, i)), pre, a)
        i += stride
        b = fma(fma(load(alpha, i), load(trace, h + i), load(w, i)), pre, b)
        i += stride
        c = fma(fma(load(alpha, i), load(trace, h + i), load(w, i)), pre, c)
        i += stride
        d = fma(fma(load(alpha, i), load(trace, h + i), load(w, i)), pre, d)
    if whole < n:
        i, rest = row + whole, n - whole
        pre = load_first(x, whole, rest)
        a = fma(_tail(w, alpha, trace, i, h, rest), pre, a)
        b = fma(_tail(w, alpha, trace, i + stride, h, rest), pre, b)
        c = fma(_tail(w, alpha, trace, i + 2 * stride, h, rest), pre, c)
        d = fma(_tail(w, alpha, trace, i + 3 * stride, h, rest), pre, d)
    out[place + 0] = total(a)
    out[place + 1] = total(b)
    out[place + 2] = total(c)
    out[place + 3] = total(d)


@kernel
def _copy(source: Pointer, at: int, target: Pointer, count: int) -> None:
    # A loop, since a slice assignment takes seconds to compile.
    for i in range(count):
        target[i] = source[at + i]


@kernel
def _fill(target: Pointer, at: int, count: int) -> None:
    for i in range(at, at + count):
        target[i] = 0


@kernel
def _tail(w: Pointer, alpha: Pointer, trace: Pointer, i: int, h: int, rest: int) -> Vector:
    return fma(load_first(alpha, i, rest), load_first(trace, h + i, rest), load_first(w, i, rest))


@kernel
def _update(
    trace: Pointer,
    x: Pointer,
    at: int,
    i: int,
    j: int,
    n: int,
    keep_i: np.float32,
    gain_i: np.float32,
    keep_j: np.float32,
    gain_j: np.float32,
    limit: np.float32 | None,
) -> None:
    """Set two rows of the trace (may be equal) to ``keep * trace + gain * x[at:]``, clipped at the limit."""
    ki, gi, kj, gj = splat(keep_i), splat(gain_i), splat(keep_j), splat(gain_j)
    whole = n - n % WIDTH
    for p in range(0, whole, WIDTH):
        pre = load(x, at + p)
        a, b = fma(ki, load(trace, i + p), mul(gi, pre)), fma(kj, load(trace, j + p), mul(gj, pre))
        if limit is not None:
            a, b = clip(a, splat(limit)), clip(b, splat(limit))
        store(trace, i + p, a)
        store(trace, j + p, b)
    if whole < n:
        p, rest = whole, n - whole
        pre = load_first(x, at + p, rest)
        a, b = (
            fma(ki, load_first(trace, i + p, rest), mul(gi, pre)),
            fma(kj, load_first(trace, j + p, rest), mul(gj, pre)),
        )
        if limit is not None:
            a, b = clip(a, splat(limit)), clip(b, splat(limit))
        store_first(trace, i + p, a, rest)
        store_first(trace, j + p, b, rest)
