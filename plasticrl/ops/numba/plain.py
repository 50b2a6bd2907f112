"""Kernels of a network without plasticity: forward and backward."""

from typing import NamedTuple

import numpy as np

from plasticrl.ops.numba.forward import Addresses
from plasticrl.ops.numba.products import products
from plasticrl.ops.numba.sizes import Numbers, Sizes
from plasticrl.ops.numba.vectors import (
    WIDTH,
    Range,
    add,
    flags,
    floats,
    flush_denormals,
    kernel,
    load_first,
    mul,
    restore_denormals,
    splat,
    store,
    store_first,
    sub,
    tanh,
)


@kernel
def plain_forward(
    addresses: Addresses,
    rule: Numbers,
    limit: np.float32 | None,
    s: Sizes,
    samples: Range,
    steps: Range,
    rows: Range,
) -> None:
    """Run steps as ``forward`` does; arguments that concern only the trace are ignored."""
    drive, w, hidden = floats(addresses.drive), floats(addresses.w), floats(addresses.hidden)
    outputs, reset, clamp = floats(addresses.outputs), flags(addresses.reset), flags(addresses.clamp)
    batch, n, m = s.batch, s.n, s.m
    before = flush_denormals()
    x = np.zeros((samples[1] - samples[0]) * m, np.float32)
    for t in range(steps[0], steps[1]):
        for b in range(samples[0], samples[1]):
            at, to = (t * batch + b) * n, (b - samples[0]) * m
            fresh = addresses.reset != 0 and reset[t * batch + b] != 0
            for i in range(0, n, WIDTH):
                count, pre = min(WIDTH, n - i), splat(0.0)
                if not fresh:
                    if t == 0:
                        pre = load_first(hidden, b * n + i, count)
                    else:
                        pre = load_first(outputs, at - batch * n + i, count)
                store_first(x, to + i, pre, count)
        for first in range(rows[0], rows[1], WIDTH):
            count = min(WIDTH, rows[1] - first)
            for b in range(samples[0], samples[1]):
                fan_in = products(w, x, first, count, (b - samples[0]) * m, m)
                at = (t * batch + b) * n + first
                store_first(outputs, at, tanh(add(fan_in, load_first(drive, at, count))), count)
                if addresses.clamp:
                    for i in range(at, at + count):
                        if clamp[i]:
                            outputs[i] = drive[i]
    restore_denormals(before)


class PlainAdjoint(NamedTuple):
    """Addresses of the contiguous tensors; 0 for None."""

    w_transposed: int  # n m
    reset: int  # T B
    clamp: int  # T B n
    outputs: int  # T B n
    d_outputs: int  # T B n
    d_last_hidden: int  # B n
    d_drive: int  # T B n, written
    d_hidden: int  # B n, written


@kernel
def plain_backward(addresses: PlainAdjoint, s: Sizes, samples: Range, steps: Range, rows: Range) -> None:
    """Run steps ``steps[0]`` down to ``steps[1]``, inclusive, for these samples and rows.

    Step -1 writes the first hidden state's adjoint. If rows are split, threads meet after each step.
    """
    w, outputs, d_drive = floats(addresses.w_transposed), floats(addresses.outputs), floats(addresses.d_drive)
    d_outputs, d_last_hidden = floats(addresses.d_outputs), floats(addresses.d_last_hidden)
    d_hidden, reset, clamp = floats(addresses.d_hidden), flags(addresses.reset), flags(addresses.clamp)
    n_steps, batch, n, m = s.steps, s.batch, s.n, s.m
    before = flush_denormals()
    delta = np.zeros((samples[1] - samples[0]) * m, np.float32)  # adjoint of tanh's argument, next step
    total = np.empty(WIDTH, np.float32)
    for t in range(steps[0], steps[1] - 1, -1):
        for b in range(samples[0], samples[1]):
            at, to = ((t + 1) * batch + b) * n, (b - samples[0]) * m
            cut = t + 1 == n_steps or (addresses.reset != 0 and reset[(t + 1) * batch + b] != 0)
            for i in range(0, n, WIDTH):
                count = min(WIDTH, n - i)
                store_first(delta, to + i, splat(0.0) if cut else load_first(d_drive, at + i, count), count)
            if addresses.clamp and not cut:
                for i in range(n):
                    if clamp[at + i]:
                        delta[to + i] = 0
        for first in range(rows[0], rows[1], WIDTH):
            count = min(WIDTH, rows[1] - first)
            for b in range(samples[0], samples[1]):
                dy, to = products(w, delta, first, count, (b - samples[0]) * m, m), b * n + first
                if t < 0:
                    store_first(d_hidden, to, dy, count)
                    continue
                at = t * batch * n + to
                dy = add(dy, load_first(d_outputs, at, count))
                if t == n_steps - 1:
                    dy = add(dy, load_first(d_last_hidden, to, count))
                y = load_first(outputs, at, count)
                store_first(d_drive, at, mul(dy, sub(splat(1.0), mul(y, y))), count)
                if addresses.clamp:
                    store(total, 0, dy)
                    for i in range(count):
                        if clamp[at + i]:
                            d_drive[at + i] = total[i]
    restore_denormals(before)
