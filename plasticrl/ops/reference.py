"""The specification of the plastic recurrence in plain torch: any dtype, any device, differentiable twice."""

import torch

from plasticrl.ops.cells import activate, modulate
from plasticrl.ops.problem import Problem, Result
from plasticrl.rules import HebbianRule, has_coefficients, next_trace
from plasticrl.rules.rule import product


def reference_scan(problem: Problem, *, record: bool = False) -> Result:
    """Run the recurrence; see :func:`plasticrl.plastic_scan`.

    Args:
        problem: the arguments.
        record: collect the values for the adjoint; without it, the record is empty.
    """
    p = problem
    x, memory, trace = p.hidden, p.memory, p.trace
    n, sums, m = p.hidden.shape[-1], p.sums, None
    outputs, records = [], []
    for t in range(p.drive.shape[0]):
        if p.reset is not None:
            x = x.masked_fill(p.reset[t, :, None], 0)  # a mask, not a product: clears NaN too
            memory = None if memory is None else memory.masked_fill(p.reset[t, :, None], 0)
            trace = trace.masked_fill(p.reset[t, :, None, None], 0) if p.alpha is not None else trace
        summed = p.drive[t, :, :sums] + x @ p.w.T
        recall = x.new_zeros(()) if p.alpha is None else product(p.alpha * p.read(trace), x)
        done = activate(p.cell, summed[:, : n * p.cell.sums], p.drive[t, :, sums:], recall, x, memory)
        y, value, values = done.hidden, done.value, list(done.record)
        if p.clamp is not None:
            y = value = torch.where(p.clamp[t], p.drive[t], y)
        if p.alpha is not None:
            if p.modulation != "none":
                m = modulate(p.modulation, summed[:, n * p.cell.sums :])
            if record and p.reads_recall:
                assert isinstance(p.rule, HebbianRule)
                values.append(p.rule.recall(trace, x * p.rule.key_scale(n)))
            if m is not None:
                values.append(m)
            # A rule with its own update is given a modulation for every neuron.
            each = m if m is None or has_coefficients(p.rule) else m.expand_as(value)
            trace = next_trace(p.rule, trace, x, value, p.eta, each, p.parameters)
        x, memory = y, done.memory
        outputs.append(y)
        if record and values:
            records.append(torch.cat(values, -1))
    stacked = torch.stack(outputs)
    return Result(stacked, memory, trace, torch.stack(records) if records else stacked[..., :0])
