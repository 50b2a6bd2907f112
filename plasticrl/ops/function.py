"""Autograd's side of the fused paths: one Function, whichever engine computes."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import Function, FunctionCtx

from plasticrl.ops.problem import Cotangents, Engine, Problem, presynaptic
from plasticrl.rules import Rule
from plasticrl.state import PlasticState


def fused_scan(
    engine: Engine, problem: Problem, known: tuple[Tensor, PlasticState] | None = None
) -> tuple[Tensor, PlasticState]:
    """The recurrence by ``engine``, differentiable once."""
    p = problem
    outputs, hidden, trace = _FusedScan.apply(  # type: ignore[no-untyped-call]
        engine, p.rule, p.reset, p.clamp, known, p.drive, p.w, p.alpha, p.eta, p.hidden, p.trace
    )
    return outputs, PlasticState(hidden, trace if p.alpha is not None else p.trace)


class _FusedScan(Function):
    @staticmethod
    def forward(
        ctx: Any, engine: Engine, rule: Rule,
        reset: Tensor | None, clamp: Tensor | None, known: tuple[Tensor, PlasticState] | None,
        drive: Tensor, w: Tensor, alpha: Tensor | None, eta: Tensor, hidden: Tensor, trace: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
        problem = Problem(drive, w, alpha, eta, hidden, trace, reset, clamp, rule)
        if known is None:
            outputs, last = engine.run(problem)
        else:
            outputs, last = known[0].detach(), known[1].trace.detach()
        ctx.engine, ctx.rule = engine, rule
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(drive, w, alpha, eta, hidden, trace, reset, clamp, outputs)
        return outputs, outputs[-1].clone(), last

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor | None) -> tuple[Tensor | None, ...]:
        drive, w, alpha, eta, hidden, trace, reset, clamp, outputs = ctx.saved_tensors
        d_outputs, d_hidden, d_trace = cotangents
        with torch.no_grad():
            problem = Problem(drive, w, alpha, eta, hidden, trace, reset, clamp, ctx.rule)
            d = ctx.engine.gradients(
                problem,
                outputs,
                Cotangents(
                    torch.zeros_like(outputs) if d_outputs is None else d_outputs,
                    torch.zeros_like(hidden) if d_hidden is None else d_hidden,
                    d_trace if alpha is not None else None,
                ),
                with_trace=ctx.needs_input_grad[10],
            )
            d_w = None
            if ctx.needs_input_grad[6]:
                delta = d.drive if clamp is None else d.drive.masked_fill(clamp, 0)
                d_w = delta.flatten(0, 1).T @ presynaptic(problem, outputs).flatten(0, 1)
        results = (d.drive, d_w, d.alpha, d.eta, d.hidden, d.trace)
        wanted = [g if need else None for g, need in zip(results, ctx.needs_input_grad[5:], strict=True)]
        if torch.is_grad_enabled():
            sources = [
                s
                for s in (drive, w, alpha, eta, hidden, trace, d_outputs, d_hidden, d_trace)
                if s is not None
            ]
            wanted = [None if g is None else _OnlyOnce.apply(g, *sources) for g in wanted]  # type: ignore[no-untyped-call]
        return (None,) * 5 + tuple(wanted)


class _OnlyOnce(Function):
    """Hands a gradient on; differentiating it again with respect to what it came from raises."""

    @staticmethod
    def forward(ctx: FunctionCtx, gradient: Tensor, *sources: Tensor) -> Tensor:
        return gradient.view_as(gradient)

    @staticmethod
    def backward(ctx: FunctionCtx, *cotangents: Tensor) -> tuple[Tensor | None, ...]:
        raise RuntimeError(
            "the fused paths of plastic_scan are differentiable once; "
            'for second derivatives call it with backend="reference"'
        )
