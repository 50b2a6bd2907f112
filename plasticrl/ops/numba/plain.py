"""Kernels of a network without plasticity: forward and backward."""

from typing import NamedTuple

import numpy as np

from plasticrl.ops.numba.forward import Addresses, load_input, whole
from plasticrl.ops.numba.kernel_data import Numbers, Sizes
from plasticrl.ops.numba.products import add_rows
from plasticrl.ops.numba.vectors import (
    WIDTH,
    Pointer,
    Range,
    add,
    address,
    flags,
    floats,
    flush_denormals,
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
)


@kernel
def plain_forward(
    a: Addresses,
    rule: Numbers,
    limit: np.float32 | None,
    s: Sizes,
    samples: Range,
    steps: Range,
    rows: Range,
) -> None:
    """Run steps as ``forward`` does; arguments that concern only the trace are ignored."""
    w, drive, outputs, clamp = floats(a.w), floats(a.drive), floats(a.outputs), flags(a.clamp)
    n, m = s.n, whole(s.n)
    before = flush_denormals()
    memory = np.empty(2 * s.group * m, np.float32)
    x, sums = floats(address(memory, 0)), floats(address(memory, s.group * m))
    for first in range(samples[0], samples[1], s.group):
        count = min(s.group, samples[1] - first)
        for t in range(steps[0], steps[1]):
            start = (t * s.batch + first) * n
            for k in range(count):
                load_input(a, s, t, first + k, x, k * m)
                for i in range(rows[0], rows[1], WIDTH):
                    part = load_first(drive, start + k * n + i, min(WIDTH, rows[1] - i))
                    store(sums, k * m + i, part)
            add_rows(w, n, (rows[0], whole(rows[1])), x, 0, m, (0, n), sums, 0, m, count)
            for k in range(count):
                at = start + k * n
                for i in range(rows[0], rows[1], WIDTH):
                    store_first(outputs, at + i, tanh(load(sums, k * m + i)), min(WIDTH, rows[1] - i))
                if a.clamp:
                    for i in range(at + rows[0], at + rows[1]):
                        if clamp[i]:
                            outputs[i] = drive[i]
    memory[0] = 0  # keeps it alive until here
    restore_denormals(before)


class PlainAdjoint(NamedTuple):
    """Addresses of the contiguous tensors; 0 for None."""

    w: int  # in panels: n rows
    reset: int  # T B
    clamp: int  # T B n
    outputs: int  # T B n
    d_outputs: int  # T B n
    d_last_hidden: int  # B n
    d_drive: int  # T B n, written
    d_hidden: int  # B n, written


@kernel
def plain_backward(a: PlainAdjoint, s: Sizes, samples: Range, steps: Range, rows: Range) -> None:
    """Run steps ``steps[0]`` down to ``steps[1]``, inclusive, for these samples and rows.

    Step -1 writes the first hidden state's adjoint. If rows are split, threads meet after each step.
    """
    n, m = s.n, s.m
    before = flush_denormals()
    memory = np.empty(2 * s.group * m, np.float32)
    delta = floats(address(memory, 0))  # adjoint of tanh's argument, next step
    d_y = floats(address(memory, s.group * m))
    for first in range(samples[0], samples[1], s.group):
        count = min(s.group, samples[1] - first)
        for t in range(steps[0], steps[1] - 1, -1):
            for k in range(count):
                _load_adjoints(a, s, t, first + k, rows, delta, d_y, k * m)
            columns = (rows[0], whole(rows[1]))
            add_rows(floats(a.w), n, columns, delta, 0, m, (0, n), d_y, 0, m, count)
            for k in range(count):
                _write_adjoint(a, s, t, first + k, rows, d_y, k * m)
    memory[0] = 0  # keeps it alive until here
    restore_denormals(before)


@inlined
def _load_adjoints(
    a: PlainAdjoint, s: Sizes, t: int, b: int, rows: Range, delta: Pointer, d_y: Pointer, to: int
) -> None:
    """Load the adjoint of the next step's sums, and that of the outputs from outside."""
    n, at, following = s.n, (t * s.batch + b) * s.n, ((t + 1) * s.batch + b) * s.n
    cut = t + 1 == s.steps or (a.reset != 0 and flags(a.reset)[(t + 1) * s.batch + b] != 0)
    for i in range(0, n, WIDTH):
        part = splat(0.0) if cut else load_first(floats(a.d_drive), following + i, min(WIDTH, n - i))
        store(delta, to + i, part)
    if a.clamp and not cut:
        for i in range(n):
            if flags(a.clamp)[following + i]:
                delta[to + i] = 0
    for i in range(rows[0], rows[1], WIDTH):
        count, part = min(WIDTH, rows[1] - i), splat(0.0)
        if t >= 0:
            part = load_first(floats(a.d_outputs), at + i, count)
        if t == s.steps - 1:
            part = add(part, load_first(floats(a.d_last_hidden), b * n + i, count))
        store(d_y, to + i, part)


@inlined
def _write_adjoint(a: PlainAdjoint, s: Sizes, t: int, b: int, rows: Range, d_y: Pointer, own: int) -> None:
    """Write the adjoint of the drive, or before the first step that of the hidden state."""
    n, at = s.n, (t * s.batch + b) * s.n
    for i in range(rows[0], rows[1], WIDTH):
        count, part = min(WIDTH, rows[1] - i), load(d_y, own + i)
        if t < 0:
            store_first(floats(a.d_hidden), b * n + i, part, count)
        else:
            y = load_first(floats(a.outputs), at + i, count)
            store_first(floats(a.d_drive), at + i, mul(part, sub(splat(1.0), mul(y, y))), count)
    if a.clamp and t >= 0:
        for i in range(rows[0], rows[1]):
            if flags(a.clamp)[at + i]:
                floats(a.d_drive)[at + i] = d_y[own + i]
