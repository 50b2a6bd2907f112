"""The operator of the package: a plastic recurrence over time, and the choice of its backend."""

from typing import Literal, TypeAlias, get_args

import torch
from torch import Tensor

from plasticrl.ops import adjoint, autocast, tracing
from plasticrl.ops.checks import check_arguments, check_tensor
from plasticrl.ops.function import fused_scan
from plasticrl.ops.problem import FUSED_RULES, Problem
from plasticrl.ops.reference import reference_scan
from plasticrl.rules import Rule, RuleLike, get_rule
from plasticrl.state import PlasticState

Backend: TypeAlias = Literal["auto", "numba", "adjoint", "reference"]


def plastic_scan(
    drive: Tensor,
    w: Tensor,
    alpha: Tensor | None,
    eta: Tensor,
    state: PlasticState,
    reset: Tensor | None = None,
    clamp: Tensor | None = None,
    *,
    rule: RuleLike = "hebb",
    backend: Backend = "auto",
    known: tuple[Tensor, PlasticState] | None = None,
) -> tuple[Tensor, PlasticState]:
    r"""Run a plastic recurrent network over a sequence (Miconi, Clune & Stanley 2018, eqs. 1-3).

    With ``x(t) = y(t-1)``, each step computes::

        where reset(t):  x <- 0, H <- 0
        y(t) = tanh(drive(t) + (w + alpha * H) x)      or drive(t) where clamp(t)
        H <- rule(H, pre=x, post=y(t), eta)

    Under ``torch.autocast``, ``drive`` is cast to ``w``'s dtype, and all is computed in it, since errors of
    half precision would accumulate in the trace. With ``"reference"`` this includes the gradients if
    ``backward`` is called outside of autocast, as torch advises.

    Args:
        drive: external input of each neuron, ``(T, B, n)``, T >= 1.
        w: fixed weights ``(n_post, n_pre)``, as in ``torch.nn.Linear``.
        alpha: plasticity coefficients: ``(n, n)`` (full), a scalar ``()`` (shared), or None (not
            plastic; the trace is neither read nor changed).
        eta: learning rate of the trace, a scalar tensor ``()``.
        state: hidden ``(B, n)`` and trace ``(B, n, n)`` before the first step.
        reset: bool ``(T, B)``, true if a step is the first of an episode. Default: no resets.
        clamp: bool ``(T, B, n)``, true if the neuron's output is its drive. Default: no clamps.
        rule: a rule or its name, ``"hebb"``, ``"oja"``, ``"clipped"``. Default Hebb.
        backend: implementation to use; ``"auto"`` selects the first of these that supports the arguments:

            ============= ========================================== ================== ============
            name          supports                                   differentiable     memory
            ============= ========================================== ================== ============
            ``numba``     float32, CPU, a rule of this package       once               a few traces
                                                                                        per thread
            ``adjoint``   any dtype and device, a rule of this       once               sqrt(T) B n²
                          package
            ``reference`` everything; it is the specification        any number         T B n²
                                                                     of times
            ============= ========================================== ================== ============

            While ``torch.jit.trace``, ``torch.export``, ``torch.onnx.export`` or ``make_fx`` records, or a
            ``TorchDispatchMode`` is active, ``"auto"`` selects ``"reference"``, since they can only see
            torch's operations.
        known: the result of this call if it is already known, from a rollout with the same parameters. It
            replaces the forward pass; the gradients are the same. It must be the result for the other
            arguments, which is not checked. ``"reference"`` ignores it.

    Returns:
        Outputs ``(T, B, n)`` and the state after the last step.

    Raises:
        ValueError: a shape, a dtype or a device does not fit, a name is unknown, or the selected backend
            does not support the arguments; the message says which.
        TypeError: an argument is not a tensor, or the state is not a ``PlasticState``.
        RuntimeError: a gradient of a backend that is differentiable once was differentiated again, or
            forward mode (``jvp``, ``hessian``) was used with it; ``"reference"`` supports both.
    """
    check_tensor("drive", drive)
    resolved = get_rule(rule)
    if autocast.is_on(drive.device):
        check_tensor("w", w)
        with autocast.off(drive.device):
            return plastic_scan(
                drive.to(w.dtype), w, alpha, eta, state, reset, clamp, rule=rule, backend=backend, known=known
            )
    check_arguments(drive, w, alpha, eta, state, reset, clamp, known)
    problem = Problem(drive, w, alpha, eta, state.hidden, state.trace, reset, clamp, resolved)
    chosen = _choose(problem, backend)
    if chosen == "reference":
        return reference_scan(drive, w, alpha, eta, state, reset, clamp, rule=resolved)
    if chosen == "adjoint":
        return fused_scan(adjoint, problem, known)
    from plasticrl.ops.numba import engine as native  # numba is imported when first needed

    return fused_scan(native, problem, known)


def check_backend(backend: str) -> None:
    """Check that a backend of that name exists.

    Raises:
        ValueError: it does not exist; the message lists the backends.
    """
    if backend not in get_args(Backend):
        raise ValueError(
            f"unknown backend {backend!r}: choose one of {', '.join(map(repr, get_args(Backend)))}"
        )


def _choose(problem: Problem, backend: Backend) -> Backend:
    """Return the backend to use.

    Raises:
        ValueError: the selected backend is unknown or does not support the problem.
    """
    check_backend(backend)
    if backend == "auto":
        if numba_obstacle(problem) is None:
            return "numba"
        followed = tracing.follower(problem[:-1]) is not None
        return "reference" if followed or _adjoint_obstacle(problem.rule) else "adjoint"
    obstacles = {
        "numba": numba_obstacle(problem),
        "adjoint": _adjoint_obstacle(problem.rule),
        "reference": None,
    }
    able = [name for name, obstacle in obstacles.items() if obstacle is None]
    if backend in able:
        return backend
    raise ValueError(
        f"backend {backend!r} does not support this ({obstacles[backend]}): use {', '.join(map(repr, able))}"
    )


def numba_obstacle(problem: Problem) -> str | None:
    """Return the reason why the kernels do not support the problem; None if they do."""
    if problem.drive.dtype != torch.float32:
        return f"it computes in torch.float32, not {problem.drive.dtype}"
    if problem.drive.device.type != "cpu":
        return f"it computes on the CPU, not on {problem.drive.device}"
    if (follower := tracing.follower(problem[:-1])) is not None:
        return f"{follower} does not see what its kernels write"
    return _rule_obstacle(problem.rule)


def _adjoint_obstacle(rule: Rule) -> str | None:
    if (recorder := tracing.recorder()) is not None:
        return f"{recorder} cannot record its gradients"
    return _rule_obstacle(rule)


def _rule_obstacle(rule: Rule) -> str | None:
    if type(rule) in FUSED_RULES:  # a subclass may update differently
        return None
    known = ", ".join(rule.__name__ for rule in FUSED_RULES)
    return f"it knows the derivatives of {known} only, not of {type(rule).__name__}"
