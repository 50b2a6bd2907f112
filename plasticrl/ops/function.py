"""The fused paths as autograd Functions, forward and backward, for any engine."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import Function

from plasticrl.ops import adjoint, tracing
from plasticrl.ops.cells import Cell, Modulation
from plasticrl.ops.problem import Cotangents, Engine, Problem, presynaptic, state_of
from plasticrl.rules import Rule
from plasticrl.state import RecurrentState

_ONCE = (
    "the fused paths of plastic_scan are differentiable once, in reverse mode; "
    'for second derivatives or forward mode call it with backend="reference"'
)


def fused_scan(
    engine: Engine, problem: Problem, known: tuple[Tensor, RecurrentState] | None = None
) -> tuple[Tensor, RecurrentState]:
    """Compute the recurrence with ``engine``; differentiable once, also by ``torch.func``.

    A known result replaces the forward pass unless the adjoint needs more than the outputs.
    """
    p = problem
    outputs, last = None, None
    if known is not None and not p.recorded:
        outputs, last = known[0].detach(), known[1].trace.detach()
    outputs, hidden, memory, trace, _ = _FusedScan.run(
        engine, p.rule, p.cell, p.modulation, p.reset, p.clamp, outputs, last,
        p.drive, p.w, p.alpha, p.eta, p.hidden, p.memory, p.trace, _flat(p.parameters),
    )  # fmt: skip
    return outputs, state_of(hidden, memory, trace if p.alpha is not None else p.trace)


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
        engine: Engine, rule: Rule, cell: Cell, modulation: Modulation,
        reset: Tensor | None, clamp: Tensor | None, outputs: Tensor | None, last: Tensor | None,
        drive: Tensor, w: Tensor, alpha: Tensor | None, eta: Tensor,
        hidden: Tensor, memory: Tensor | None, trace: Tensor, parameters: Tensor | None,
    ) -> tuple[Tensor | None, ...]:  # fmt: skip
        if outputs is None or last is None:
            problem = Problem(
                drive, w, alpha, eta, hidden, memory, trace, reset, clamp, rule, cell, modulation,
                _apart(parameters, rule, hidden.shape[-1]),
            )  # fmt: skip
            outputs, memory, last, record = engine.run(problem)
        else:
            outputs, last = outputs.detach(), last.detach()  # a Function must not return its input
            record = outputs[..., :0]
        return outputs, outputs[-1].clone(), memory, last, record

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        ctx.engine, ctx.rule, ctx.cell, ctx.modulation, reset, clamp, _, _, *differentiable = inputs
        ctx.set_materialize_grads(False)
        ctx.mark_non_differentiable(output[4])
        ctx.save_for_backward(reset, clamp, output[0], output[4], *differentiable)

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor | None) -> tuple[Tensor | None, ...]:
        needed = ctx.needs_input_grad[8:]
        gradients: tuple[Tensor | None, ...] = _Gradients.run(
            ctx.engine, ctx.rule, ctx.cell, ctx.modulation, needed, *cotangents[:4], *ctx.saved_tensors
        )
        return (None,) * 8 + gradients


class _Gradients(_Once):
    """The backward pass as a Function, so that it gets plain tensors.

    Under ``torch.func`` a backward pass gets wrapped tensors, whose addresses a kernel cannot read. The
    forward of a Function gets plain ones.
    """

    @staticmethod
    def forward(
        engine: Engine, rule: Rule, cell: Cell, modulation: Modulation, needed: tuple[bool, ...],
        d_outputs: Tensor | None, d_hidden: Tensor | None, d_memory: Tensor | None, d_trace: Tensor | None,
        reset: Tensor | None, clamp: Tensor | None, outputs: Tensor, record: Tensor,
        drive: Tensor, w: Tensor, alpha: Tensor | None, eta: Tensor,
        hidden: Tensor, memory: Tensor | None, trace: Tensor, parameters: Tensor | None,
    ) -> tuple[Tensor | None, ...]:  # fmt: skip
        with tracing.without_autocast(drive.device):
            problem = Problem(
                drive, w, alpha, eta, hidden, memory, trace, reset, clamp, rule, cell, modulation,
                _apart(parameters, rule, hidden.shape[-1]),
            )  # fmt: skip
            if (
                tracing.follower((*problem.tensors, record, d_outputs, d_hidden, d_memory, d_trace))
                is not None
            ):
                engine = adjoint
            cotangents = Cotangents(
                torch.zeros_like(outputs) if d_outputs is None else d_outputs,
                torch.zeros_like(hidden) if d_hidden is None else d_hidden,
                torch.zeros_like(memory) if d_memory is None and memory is not None else d_memory,
                d_trace if alpha is not None else None,
            )
            d = engine.gradients(problem, outputs, record, cotangents, with_trace=needed[6])
            d_w = None
            if needed[1]:
                delta = d.drive[..., : problem.sums]
                delta = delta if clamp is None else delta.masked_fill(clamp, 0)
                d_w = delta.flatten(0, 1).T @ presynaptic(problem, outputs).flatten(0, 1)
        results = (d.drive, d_w, d.alpha, d.eta, d.hidden, d.memory, d.trace, _flat(d.parameters))
        return tuple(one if need else None for one, need in zip(results, needed, strict=True))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor | None, ...]) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor | None) -> tuple[Tensor | None, ...]:
        raise RuntimeError(_ONCE)


def _flat(parameters: tuple[Tensor, ...]) -> Tensor | None:
    """Return the rule's own parameters as one vector: ``torch.compile`` takes a fixed number of arguments."""
    return torch.cat([parameter.flatten() for parameter in parameters]) if parameters else None


def _apart(flat: Tensor | None, rule: Rule, n: int) -> tuple[Tensor, ...]:
    """Undo :func:`_flat` for a layer of n neurons."""
    if flat is None:
        return ()
    shapes = [(n, n) if parameter.each else () for parameter in rule.parameters]
    parts = torch.split(flat, [n * n if shape else 1 for shape in shapes])
    return tuple(part.view(shape) for part, shape in zip(parts, shapes, strict=True))
