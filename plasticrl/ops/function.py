"""The fused paths as autograd Functions, forward and backward, for any engine."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import Function

from plasticrl.ops import adjoint, autocast, tracing
from plasticrl.ops.problem import Cotangents, Engine, Problem, presynaptic
from plasticrl.rules import Rule
from plasticrl.state import PlasticState

_ONCE = (
    "the fused paths of plastic_scan are differentiable once, in reverse mode; "
    'for second derivatives or forward mode call it with backend="reference"'
)


def fused_scan(
    engine: Engine, problem: Problem, known: tuple[Tensor, PlasticState] | None = None
) -> tuple[Tensor, PlasticState]:
    """Compute the recurrence with ``engine``; differentiable once, also by ``torch.func``."""
    p = problem
    outputs, last = (None, None) if known is None else (known[0].detach(), known[1].trace.detach())
    outputs, hidden, trace = _FusedScan.run(
        engine, p.rule, p.reset, p.clamp, outputs, last, p.drive, p.w, p.alpha, p.eta, p.hidden, p.trace
    )
    return outputs, PlasticState(hidden, trace if p.alpha is not None else p.trace)


class _Once(Function):
    """Common behaviour of both Functions under ``torch.func``."""

    @classmethod
    def run(cls, *args: Any) -> Any:
        """Call ``apply``, and refuse forward mode here, since a ``jvp`` would prevent ``torch.compile``."""
        if torch.compiler.is_compiling():  # it cannot trace the code below
            return cls.apply(*args)  # type: ignore[no-untyped-call]
        try:
            return cls.apply(*args)  # type: ignore[no-untyped-call]
        except NotImplementedError as error:
            if "jvp" not in str(error):
                raise
            raise RuntimeError(_ONCE) from error

    @classmethod
    def vmap(
        cls, info: Any, in_dims: tuple[int | None, ...], *args: Any
    ) -> tuple[tuple[Tensor | None, ...], tuple[int | None, ...]]:
        """Loop over the samples, each of which may have its own parameters and gradients."""
        dims = [in_dims[k] if isinstance(arg, Tensor) else None for k, arg in enumerate(args)]
        results = [
            cls.run(
                *(arg if dim is None else arg.select(dim, i) for arg, dim in zip(args, dims, strict=True))
            )
            for i in range(info.batch_size)
        ]
        stacked = [None if parts[0] is None else torch.stack(parts) for parts in zip(*results, strict=True)]
        return tuple(stacked), tuple(None if one is None else 0 for one in stacked)


class _FusedScan(_Once):
    @staticmethod
    def forward(
        engine: Engine, rule: Rule,
        reset: Tensor | None, clamp: Tensor | None, outputs: Tensor | None, last: Tensor | None,
        drive: Tensor, w: Tensor, alpha: Tensor | None, eta: Tensor, hidden: Tensor, trace: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
        if outputs is None or last is None:
            outputs, last = engine.run(Problem(drive, w, alpha, eta, hidden, trace, reset, clamp, rule))
        else:
            outputs, last = outputs.detach(), last.detach()  # a Function must not return its input
        return outputs, outputs[-1].clone(), last

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        ctx.engine, ctx.rule, reset, clamp, _, _, *differentiable = inputs
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(reset, clamp, output[0], *differentiable)

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor | None) -> tuple[Tensor | None, ...]:
        needed = ctx.needs_input_grad[6:]
        gradients: tuple[Tensor | None, ...] = _Gradients.run(
            ctx.engine, ctx.rule, needed, *ctx.saved_tensors, *cotangents
        )
        return (None,) * 6 + gradients


class _Gradients(_Once):
    """The backward pass as a Function, so that it gets plain tensors.

    Under ``torch.func`` a backward pass gets wrapped tensors, whose addresses a kernel cannot read. The
    forward of a Function gets plain ones.
    """

    @staticmethod
    def forward(
        engine: Engine, rule: Rule, needed: tuple[bool, ...],
        reset: Tensor | None, clamp: Tensor | None, outputs: Tensor,
        drive: Tensor, w: Tensor, alpha: Tensor | None, eta: Tensor, hidden: Tensor, trace: Tensor,
        d_outputs: Tensor | None, d_hidden: Tensor | None, d_trace: Tensor | None,
    ) -> tuple[Tensor | None, ...]:  # fmt: skip
        with autocast.off(drive.device):
            problem = Problem(drive, w, alpha, eta, hidden, trace, reset, clamp, rule)
            if tracing.follower((*problem[:-1], d_outputs, d_hidden, d_trace)) is not None:
                engine = adjoint
            cotangents = Cotangents(
                torch.zeros_like(outputs) if d_outputs is None else d_outputs,
                torch.zeros_like(hidden) if d_hidden is None else d_hidden,
                d_trace if alpha is not None else None,
            )
            d = engine.gradients(problem, outputs, cotangents, with_trace=needed[5])
            d_w = None
            if needed[1]:
                delta = d.drive if clamp is None else d.drive.masked_fill(clamp, 0)
                d_w = delta.flatten(0, 1).T @ presynaptic(problem, outputs).flatten(0, 1)
        results = (d.drive, d_w, d.alpha, d.eta, d.hidden, d.trace)
        return tuple(one if need else None for one, need in zip(results, needed, strict=True))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor | None, ...]) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor | None) -> tuple[Tensor | None, ...]:
        raise RuntimeError(_ONCE)
