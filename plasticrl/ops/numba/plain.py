"""Kernels of a network without plasticity: forward and backward."""

from typing import NamedTuple

import numpy as np

from plasticrl.ops.numba.forward import Addresses, whole
from plasticrl.ops.numba.products import add_rows
from plasticrl.ops.numba.sizes import Numbers, Sizes
from plasticrl.ops.numba.vectors import (
    WIDTH,
    Range,
    add,
    flags,
    floats,
    flush_denormals,
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
    drive, w, hidden = floats(addresses.drive), floats(addresses.w_transposed), floats(addresses.hidden)
    outputs, reset, clamp = floats(addresses.outputs), flags(addresses.reset), flags(addresses.clamp)
    batch, n, m = s.batch, s.n, whole(s.n)
    before = flush_denormals()
    x, sums = np.zeros(m, np.float32), np.empty(m, np.float32)
    for b in range(samples[0], samples[1]):
        for t in range(steps[0], steps[1]):
            at = (t * batch + b) * n
            fresh = addresses.reset != 0 and reset[t * batch + b] != 0
            for i in range(0, n, WIDTH):
                count, pre = min(WIDTH, n - i), splat(0.0)
                if not fresh:
                    if t == 0:
                        pre = load_first(hidden, b * n + i, count)
                    else:
                        pre = load_first(outputs, at - batch * n + i, count)
                store(x, i, pre)
            for i in range(rows[0], rows[1], WIDTH):
                store(sums, i, load_first(drive, at + i, min(WIDTH, rows[1] - i)))
            add_rows(w, m, (rows[0], whole(rows[1])), x, 0, (0, n), sums, 0)
            for i in range(rows[0], rows[1], WIDTH):
                store_first(outputs, at + i, tanh(load(sums, i)), min(WIDTH, rows[1] - i))
            if addresses.clamp:
                for i in range(at + rows[0], at + rows[1]):
                    if clamp[i]:
                        outputs[i] = drive[i]
    restore_denormals(before)


class PlainAdjoint(NamedTuple):
    """Addresses of the contiguous tensors; 0 for None."""

    w: int  # n m
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
    w, outputs, d_drive = floats(addresses.w), floats(addresses.outputs), floats(addresses.d_drive)
    d_outputs, d_last_hidden = floats(addresses.d_outputs), floats(addresses.d_last_hidden)
    d_hidden, reset, clamp = floats(addresses.d_hidden), flags(addresses.reset), flags(addresses.clamp)
    n_steps, batch, n, m = s.steps, s.batch, s.n, s.m
    before = flush_denormals()
    delta = np.zeros(m, np.float32)  # adjoint of tanh's argument, next step
    total = np.empty(m, np.float32)
    for b in range(samples[0], samples[1]):
        for t in range(steps[0], steps[1] - 1, -1):
            following = ((t + 1) * batch + b) * n
            cut = t + 1 == n_steps or (addresses.reset != 0 and reset[(t + 1) * batch + b] != 0)
            for i in range(0, n, WIDTH):
                count = min(WIDTH, n - i)
                store(delta, i, splat(0.0) if cut else load_first(d_drive, following + i, count))
            if addresses.clamp and not cut:
                for i in range(n):
                    if clamp[following + i]:
                        delta[i] = 0
            at = (t * batch + b) * n
            for i in range(rows[0], rows[1], WIDTH):
                count, dy = min(WIDTH, rows[1] - i), splat(0.0)
                if t >= 0:
                    dy = load_first(d_outputs, at + i, count)
                if t == n_steps - 1:
                    dy = add(dy, load_first(d_last_hidden, b * n + i, count))
                store(total, i, dy)
            add_rows(w, m, (rows[0], whole(rows[1])), delta, 0, (0, n), total, 0)
            for i in range(rows[0], rows[1], WIDTH):
                count, dy = min(WIDTH, rows[1] - i), load(total, i)
                if t < 0:
                    store_first(d_hidden, b * n + i, dy, count)
                    continue
                y = load_first(outputs, at + i, count)
                store_first(d_drive, at + i, mul(dy, sub(splat(1.0), mul(y, y))), count)
            if addresses.clamp and t >= 0:
                for i in range(rows[0], rows[1]):
                    if clamp[at + i]:
                        d_drive[at + i] = total[i]
    restore_denormals(before)
