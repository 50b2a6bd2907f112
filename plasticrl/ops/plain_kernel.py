"""The forward recurrence without a trace (alpha None): all samples share the loads of one matrix."""

import numpy as np

from plasticrl.ops.denormals import flush_denormals, restore_denormals
from plasticrl.ops.forward_kernel import Addresses
from plasticrl.ops.plain_products import products
from plasticrl.ops.simd import WIDTH, Range, add, flags, floats, kernel, load_first, splat, store_first
from plasticrl.ops.tanh import tanh


@kernel
def plain_forward(
    addresses: Addresses,
    eta: np.float32,
    decay: tuple[bool, np.float32],
    limit: np.float32 | None,
    shape: tuple[int, int, int],
    samples: Range,
    steps: Range,
    rows: Range,
) -> None:
    """Run steps like ``forward_kernel.forward``; arguments that concern only the trace are ignored."""
    drive, w, hidden = floats(addresses.drive), floats(addresses.w), floats(addresses.hidden)
    outputs, reset, clamp = floats(addresses.outputs), flags(addresses.reset), flags(addresses.clamp)
    _, batch, n = shape
    before = flush_denormals()
    x = np.empty((samples[1] - samples[0]) * n, np.float32)
    for t in range(steps[0], steps[1]):
        for b in range(samples[0], samples[1]):
            at, to = (t * batch + b) * n, (b - samples[0]) * n
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
                fan_in = products(w, x, first, count, (b - samples[0]) * n, n)
                at = (t * batch + b) * n + first
                store_first(outputs, at, tanh(add(fan_in, load_first(drive, at, count))), count)
                if addresses.clamp:
                    for i in range(at, at + count):
                        if clamp[i]:
                            outputs[i] = drive[i]
    restore_denormals(before)
