"""The hand-derived adjoint (docs/adjoint.md) in plain torch: any device and dtype, memory of a few traces."""

from collections.abc import Iterator
from math import isqrt

import torch
from torch import Tensor

from plasticrl.ops.problem import Cotangents, Gradients, Problem, clip_limit, decay_rate, presynaptic
from plasticrl.ops.reference import reference_scan
from plasticrl.state import PlasticState


def run(problem: Problem) -> tuple[Tensor, Tensor]:
    """Compute outputs and last trace; see :class:`plasticrl.ops.problem.Engine`."""
    p = problem
    state = PlasticState(p.hidden, p.trace)
    outputs, (_, trace) = reference_scan(p.drive, p.w, p.alpha, p.eta, state, p.reset, p.clamp, rule=p.rule)
    return outputs, trace if trace is not p.trace else trace.clone()


def gradients(problem: Problem, outputs: Tensor, cotangents: Cotangents, *, with_trace: bool) -> Gradients:
    """Compute the adjoints; see :class:`plasticrl.ops.problem.Engine`."""
    p = problem
    w, alpha, eta = p.w, p.alpha, p.eta
    x = presynaptic(p, outputs)
    limit = clip_limit(p.rule)
    d_drive = torch.empty_like(outputs)
    d_alpha = None if alpha is None else torch.zeros_like(alpha)
    d_eta = torch.zeros_like(eta)
    d_x, g = cotangents.hidden, torch.zeros_like(p.trace) if cotangents.trace is None else cotangents.trace
    for t, trace in _traces_backwards(p, x, outputs):
        y = outputs[t]
        d_y = cotangents.outputs[t] + d_x
        if alpha is not None:
            rate = decay_rate(p.rule, y)
            if limit is not None:
                g = g * ((trace + eta * _outer(y, x[t])).abs() <= limit)
            g_x = _apply(g, x[t])
            g_trace = (g * trace).sum(-1)
            d_eta += (y * g_x - rate * g_trace).sum()
            d_y = d_y + eta * g_x
            if p.rule.name == "oja":
                d_y = d_y - 2 * eta * y * g_trace
        delta = d_y * (1 - y.square())
        d_drive[t] = delta
        if p.clamp is not None:
            d_drive[t] = torch.where(p.clamp[t], d_y, delta)
            delta = delta.masked_fill(p.clamp[t], 0)
        d_x = delta @ w
        if alpha is not None and d_alpha is not None:
            d_x = d_x + _apply((alpha * trace).mT, delta) + eta * _apply(g.mT, y)
            d_alpha += _hebbian_sum(trace, delta, x[t], shared=alpha.ndim == 0)
            g = (1 - eta * rate).unsqueeze(-1) * g + alpha * _outer(delta, x[t])
        if p.reset is not None:
            d_x = d_x.masked_fill(p.reset[t, :, None], 0)
            g = g.masked_fill(p.reset[t, :, None, None], 0) if alpha is not None else g
    return Gradients(d_drive, d_alpha, d_eta, d_x, g if with_trace else None)


def _traces_backwards(p: Problem, x: Tensor, outputs: Tensor) -> Iterator[tuple[int, Tensor]]:
    """Yield each t, descending, with the trace of step t, recomputed from checkpoints sqrt(T) steps apart."""
    steps = len(outputs)
    if p.alpha is None:
        yield from ((t, p.trace) for t in reversed(range(steps)))
        return
    block = isqrt(steps - 1) + 1
    trace = p.trace
    checkpoints = []
    for t in range(steps):
        if t % block == 0:
            checkpoints.append(trace)
        if t < steps - 1:
            trace = _step(p, trace, x, outputs, t)
    for start in reversed(range(0, steps, block)):
        times = range(start, min(start + block, steps))
        trace = checkpoints.pop()
        history = [_cleared(p, trace, start)]
        for t in times[:-1]:
            trace = _step(p, trace, x, outputs, t)
            history.append(_cleared(p, trace, t + 1))
        while history:
            yield start + len(history) - 1, history.pop()


def _cleared(p: Problem, trace: Tensor, t: int) -> Tensor:
    return trace if p.reset is None else trace.masked_fill(p.reset[t, :, None, None], 0)


def _step(p: Problem, trace: Tensor, x: Tensor, outputs: Tensor, t: int) -> Tensor:
    return p.rule.update(_cleared(p, trace, t), x[t], outputs[t], p.eta)


def _outer(post: Tensor, pre: Tensor) -> Tensor:
    return post.unsqueeze(-1) * pre.unsqueeze(-2)


def _apply(matrices: Tensor, vectors: Tensor) -> Tensor:
    return (matrices @ vectors.unsqueeze(-1)).squeeze(-1)


def _hebbian_sum(trace: Tensor, delta: Tensor, x: Tensor, *, shared: bool) -> Tensor:
    """Sum ``trace * delta x^T`` over the batch and, for a shared alpha, over all elements."""
    if shared:
        return (delta * _apply(trace, x)).sum()
    return torch.einsum("bij,bi,bj->ij", trace, delta, x)
