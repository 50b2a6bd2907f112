"""The hand-derived adjoint (docs/adjoint.md) in plain torch: any device and dtype, memory of a few traces."""

from collections.abc import Iterator
from math import inf, isqrt

import torch
from torch import Tensor

from plasticrl.ops.cells import pull_back, slope
from plasticrl.ops.problem import Cotangents, Gradients, Problem, Result, presynaptic
from plasticrl.ops.reference import reference_scan
from plasticrl.rules import AdjointRule, HebbianRule, UpdateArguments
from plasticrl.rules.rule import outer, product


def run(problem: Problem) -> Result:
    """Compute the results; see :class:`plasticrl.ops.problem.Engine`."""
    result = reference_scan(problem, record=True)
    return result if result.trace is not problem.trace else result._replace(trace=result.trace.clone())


def gradients(
    problem: Problem, outputs: Tensor, record: Tensor, cotangents: Cotangents, *, with_trace: bool
) -> Gradients:
    """Compute the adjoints; see :class:`plasticrl.ops.problem.Engine`."""
    p, alpha, eta = problem, problem.alpha, problem.eta
    n, cell = p.hidden.shape[-1], p.cell
    x = presynaptic(p, outputs)
    parts = _Parts(p, record)
    d_drive = torch.empty_like(p.drive)
    d_alpha = None if alpha is None else torch.zeros_like(alpha)
    d_eta = torch.zeros_like(eta)
    d_parameters = [torch.zeros_like(parameter) for parameter in p.parameters]
    d_x, d_memory = cotangents.hidden, cotangents.memory
    g = torch.zeros_like(p.trace) if cotangents.trace is None else cotangents.trace
    for t, trace in _traces_backwards(p, x, outputs, parts):
        y, d_m = outputs[t], None
        d_value: Tensor | float = 0.0
        pulled = None if alpha is None else parts.adjoint_of_update(t, y, trace, x[t], g)
        if pulled is not None:
            d_value, d_m = pulled.post, None if p.modulation == "none" else pulled.modulation
            d_eta += pulled.eta
            for total, one in zip(d_parameters, pulled.parameters, strict=True):
                total += one
        d = pull_back(
            cell,
            y,
            parts.cell(t),
            x[t],
            parts.memory_before(t),
            cotangents.outputs[t] + d_x,
            d_memory,
            d_value,
        )
        d_sums, d_recall = d.sums, d.recall
        d_drive[t, :, : cell.sums * n] = d_sums
        if d.inputs is not None:
            d_drive[t, :, p.sums :] = d.inputs
        if p.clamp is not None:
            held = p.clamp[t]
            d_drive[t] = torch.where(held, cotangents.outputs[t] + d_x + d_value, d_sums)
            d_sums = d_recall = d_sums.masked_fill(held, 0)
        if d_m is not None:
            raw = d_m * slope(p.modulation, parts.modulation(t))
            d_m = raw.sum(-1, keepdim=True) if p.modulated == 1 else raw
            d_drive[t, :, cell.sums * n : p.sums] = d_m
            d_sums = torch.cat([d_sums, d_m], -1)
        elif p.modulated:
            d_drive[t, :, cell.sums * n : p.sums] = 0
        d_x = d_sums @ p.w[: d_sums.shape[-1]]
        d_x = d_x if d.x is None else d_x + d.x
        d_memory = d.memory
        if alpha is not None and d_alpha is not None and pulled is not None:
            h = p.read(trace)
            d_x = d_x + product((alpha * h).mT, d_recall) + pulled.pre
            d_alpha += _hebbian_sum(h, d_recall, x[t], shared=alpha.ndim == 0)
            g = pulled.trace
            p.read(g).add_(alpha * outer(d_recall, x[t]))
        if p.reset is not None:
            started = p.reset[t, :, None]
            d_x = d_x.masked_fill(started, 0)
            d_memory = None if d_memory is None else d_memory.masked_fill(started, 0)
            g = g.masked_fill(started[..., None], 0) if alpha is not None else g
    return Gradients(d_drive, d_alpha, d_eta, d_x, d_memory, g if with_trace else None, tuple(d_parameters))


class _Parts:
    """The record of a scan, by its parts."""

    def __init__(self, problem: Problem, record: Tensor) -> None:
        self.p, self.record = problem, record
        self.n = problem.hidden.shape[-1]

    def _groups(self, t: int, first: int, count: int) -> Tensor:
        return self.record[t, :, first * self.n : (first + count) * self.n]

    def cell(self, t: int) -> tuple[Tensor, ...]:
        """Return the values that the cell recorded."""
        recorded = self.p.cell.recorded
        return torch.split(self._groups(t, 0, recorded), self.n, -1) if recorded else ()

    def memory_before(self, t: int) -> Tensor | None:
        """Return the cell state before step t."""
        if not self.p.cell.has_memory:
            return None
        before = self.p.memory if t == 0 else self.cell(t - 1)[-1]
        assert before is not None
        return before if self.p.reset is None else before.masked_fill(self.p.reset[t, :, None], 0)

    def recalled(self, t: int, like: Tensor) -> Tensor:
        """Return the values recalled by the key of step t; zeros for a rule that does not read them."""
        return self._groups(t, self.p.cell.recorded, 1) if self.p.reads_recall else torch.zeros_like(like)

    def modulation(self, t: int) -> Tensor:
        """Return the modulation of step t; 1 without any."""
        if self.p.modulation == "none":
            return self.record.new_ones(())
        return self.record[t, :, self.record.shape[-1] - self.p.modulated :]

    def value(self, t: int, output: Tensor) -> Tensor:
        """Return the value pulled in step t."""
        return output if self.p.cell.name == "rnn" else self.cell(t)[2]

    def _arguments(self, t: int, output: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        value = self.value(t, output)
        return value, self.recalled(t, value), self.p.eta, self.modulation(t)

    def _now(self, t: int, output: Tensor, trace: Tensor, x: Tensor) -> UpdateArguments:
        value, _, eta, modulation = self._arguments(t, output)
        return UpdateArguments(trace, x, value, eta, modulation.expand_as(value), self.p.parameters)

    def update(self, t: int, output: Tensor, trace: Tensor, x: Tensor) -> Tensor:
        """Return the trace after step t, given that of step t."""
        rule = self.p.rule
        if isinstance(rule, AdjointRule):
            return rule.advance(self._now(t, output, trace, x))
        assert isinstance(rule, HebbianRule)
        new = _next(*rule.coefficients(*self._arguments(t, output)), trace, x * rule.key_scale(self.n))
        return new if rule.limit == inf else new.clamp(-rule.limit, rule.limit)

    def adjoint_of_update(
        self, t: int, output: Tensor, trace: Tensor, x: Tensor, g: Tensor
    ) -> UpdateArguments:
        """Return the adjoints of the arguments of :meth:`update` from that of its result, g."""
        rule = self.p.rule
        if isinstance(rule, AdjointRule):
            return rule.adjoint(g, self._now(t, output, trace, x))
        assert isinstance(rule, HebbianRule)
        arguments, scale = self._arguments(t, output), rule.key_scale(self.n)
        (keep, gain), k = rule.coefficients(*arguments), x * scale
        if rule.limit != inf:
            g = g * (_next(keep, gain, trace, k).abs() <= rule.limit)
        d_value, d_recalled, d_eta, d_m = rule.pull_back(*arguments, (g * trace).sum(-1), product(g, k))
        d_x, d_trace = scale * product(g.mT, gain), keep.unsqueeze(-1) * g
        if self.p.reads_recall:
            d_x = d_x + scale * product(trace.mT, d_recalled)
            d_trace = d_trace + outer(d_recalled, k)
        return UpdateArguments(d_trace, d_x, d_value, d_eta, d_m)


def _traces_backwards(p: Problem, x: Tensor, outputs: Tensor, parts: _Parts) -> Iterator[tuple[int, Tensor]]:
    """Yield each t, descending, with the trace of step t, recomputed from checkpoints sqrt(T) steps apart."""
    steps = len(outputs)
    if p.alpha is None:
        yield from ((t, p.trace) for t in reversed(range(steps)))
        return

    def cleared(trace: Tensor, t: int) -> Tensor:
        return trace if p.reset is None else trace.masked_fill(p.reset[t, :, None, None], 0)

    def after(trace: Tensor, t: int) -> Tensor:
        return parts.update(t, outputs[t], cleared(trace, t), x[t])

    block = isqrt(steps - 1) + 1
    trace = p.trace
    checkpoints = []
    for t in range(steps):
        if t % block == 0:
            checkpoints.append(trace)
        if t < steps - 1:
            trace = after(trace, t)
    for start in reversed(range(0, steps, block)):
        times = range(start, min(start + block, steps))
        trace = checkpoints.pop()
        history = [cleared(trace, start)]
        for t in times[:-1]:
            trace = after(trace, t)
            history.append(cleared(trace, t + 1))
        while history:
            yield start + len(history) - 1, history.pop()


def _next(keep: Tensor, gain: Tensor, trace: Tensor, key: Tensor) -> Tensor:
    return keep.unsqueeze(-1) * trace + outer(gain, key)


def _hebbian_sum(trace: Tensor, delta: Tensor, x: Tensor, *, shared: bool) -> Tensor:
    """Sum ``trace * delta x^T`` over the batch and, for a shared alpha, over all elements."""
    if shared:
        return (delta * product(trace, x)).sum()
    return (trace * outer(delta, x)).sum(0)  # einsum takes several times as long
