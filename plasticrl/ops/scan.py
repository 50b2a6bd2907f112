"""The operator of the package: a plastic recurrence over time, and the choice of its backend."""

from typing import Literal, TypeAlias, get_args

import torch
from torch import Tensor

from plasticrl.arguments import check_choice
from plasticrl.ops import adjoint, tracing
from plasticrl.ops.cells import CELLS, CellName, Modulation
from plasticrl.ops.checks import check_problem, check_state, check_tensor
from plasticrl.ops.function import fused_scan
from plasticrl.ops.problem import Problem, state_of
from plasticrl.ops.reference import reference_scan
from plasticrl.rules import Rule, RuleLike, get_rule, has_adjoint, has_numbers
from plasticrl.state import PlasticLSTMState, RecurrentState

Backend: TypeAlias = Literal["auto", "numba", "adjoint", "reference"]


def plastic_scan(
    drive: Tensor,
    w: Tensor,
    alpha: Tensor | None,
    eta: Tensor,
    state: RecurrentState,
    reset: Tensor | None = None,
    clamp: Tensor | None = None,
    *,
    rule: RuleLike = "hebb",
    cell: CellName = "rnn",
    modulation: Modulation = "none",
    rule_parameters: tuple[Tensor, ...] = (),
    backend: Backend = "auto",
    known: tuple[Tensor, RecurrentState] | None = None,
) -> tuple[Tensor, RecurrentState]:
    r"""Run a plastic recurrent network over a sequence (Miconi, Clune & Stanley 2018, eqs. 1-3).

    With ``x(t) = y(t-1)``, each step computes::

        where reset(t):  x <- 0, c <- 0, H <- 0
        y(t), v(t), c = cell(drive(t) + w x, (alpha * H) x, x, c)
        H <- rule(H, pre=x, post=v(t), eta m(t))

    The cell ``"rnn"`` computes ``y(t) = tanh(drive(t) + (w + alpha * H) x)``, or ``drive(t)`` where
    ``clamp(t)``, and stores ``v = y``. ``"lstm"`` and ``"gru"`` are those of ``torch.nn`` with the recall
    ``(alpha * H) x`` added to the candidate's argument, and store the candidate. With a modulation,
    further rows of ``w`` decide how much each neuron stores: ``m(t) = sigmoid(drive(t) + w x)``.

    Under ``torch.autocast``, ``drive`` is cast to ``w``'s dtype, and all is computed in it, since errors of
    half precision would accumulate in the trace. With ``"reference"`` this includes the gradients if
    ``backward`` is called outside of autocast, as torch advises.

    Args:
        drive: external input, ``(T, B, D)``, T >= 1: of each row of w and then, for ``"gru"``, of each
            candidate, whose row of w gives only what its reset gate multiplies. ``D = n`` for ``"rnn"``.
        w: fixed weights ``(R, n)``: the cell's groups of n rows in the order of ``torch.nn`` (1 for
            ``"rnn"``, 4 for ``"lstm"``, 3 for ``"gru"``), and then n or 1 rows for a modulation.
        alpha: plasticity coefficients: ``(n, n)`` (full), a scalar ``()`` (shared), or None (not
            plastic; the trace is neither read nor changed).
        eta: learning rate of the trace, a scalar tensor ``()``.
        state: hidden ``(B, n)`` and trace ``(B, n, n)`` before the first step; a ``PlasticLSTMState`` with
            the cell state ``(B, n)``, too, for ``"lstm"``. The trace of a rule of two matrices is
            ``(B, 2 n, n)``, that of H above the other.
        reset: bool ``(T, B)``, true if a step is the first of an episode. Default: no resets.
        clamp: bool ``(T, B, n)``, true if the neuron's output is its drive; only for ``"rnn"`` without
            modulation. Default: no clamps.
        rule: a rule or its name, ``"hebb"``, ``"oja"``, ``"clipped"``, ``"delta"``, ``"retroactive"``,
            ``"stp"``, ``"fast_weights"``. Default Hebb.
        cell: ``"rnn"`` (default), ``"lstm"`` or ``"gru"``.
        modulation: ``"none"`` (default), ``"sigmoid"`` or ``"tanh"``.
        rule_parameters: those that the rule has of its own (``rule.parameters``), in their order, each
            ``(n, n)`` or ``()``; not used without alpha. Default: none.
        backend: implementation to use; ``"auto"`` selects the first of these that supports the arguments:

            ============= ========================================== ================== ============
            name          supports                                   differentiable     memory
            ============= ========================================== ================== ============
            ``numba``     float32, CPU, a rule of numbers            once               a few traces
                          (``HebbianRule``)                                             per thread
            ``adjoint``   any dtype and device, a rule of            once               sqrt(T) B n²
                          coefficients or with an adjoint
                          (``HebbianRule``, ``AdjointRule``)
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
    if tracing.autocasts(drive.device):
        check_tensor("w", w)
        with tracing.without_autocast(drive.device):
            return plastic_scan(
                drive.to(w.dtype), w, alpha, eta, state, reset, clamp,
                rule=rule, cell=cell, modulation=modulation, rule_parameters=rule_parameters,
                backend=backend, known=known,
            )  # fmt: skip
    problem = make_problem(
        drive, w, alpha, eta, state, reset, clamp, rule, cell, modulation, rule_parameters, known
    )
    chosen = choose_backend(problem, backend)
    if chosen == "reference":
        outputs, memory, trace, _ = reference_scan(problem)
        return outputs, state_of(outputs[-1], memory, trace)
    if chosen == "adjoint":
        return fused_scan(adjoint, problem, known)
    from plasticrl.ops.numba import engine as native  # numba is imported when first needed

    return fused_scan(native, problem, known)


def make_problem(
    drive: Tensor,
    w: Tensor,
    alpha: Tensor | None,
    eta: Tensor,
    state: RecurrentState,
    reset: Tensor | None,
    clamp: Tensor | None,
    rule: RuleLike,
    cell: CellName,
    modulation: Modulation,
    rule_parameters: tuple[Tensor, ...] = (),
    known: tuple[Tensor, RecurrentState] | None = None,
) -> Problem:
    """Check the arguments of :func:`plastic_scan` and return them as a problem.

    Raises:
        ValueError, TypeError: as for :func:`plastic_scan`.
    """
    resolved = get_rule(rule)
    check_choice("cell", cell, CELLS)
    check_choice("modulation", modulation, get_args(Modulation))
    kind = CELLS[cell]
    check_state(state, kind)
    memory = state.cell if isinstance(state, PlasticLSTMState) else None
    problem = Problem(
        drive, w, alpha, eta, state.hidden, memory, state.trace, reset, clamp, resolved, kind, modulation,
        tuple(rule_parameters) if alpha is not None else (),
    )  # fmt: skip
    check_problem(problem, known)
    return problem


def choose_backend(problem: Problem, backend: Backend) -> Backend:
    """Return the backend to use.

    Raises:
        ValueError: the selected backend is unknown or does not support the problem.
    """
    check_choice("backend", backend, get_args(Backend))
    if backend == "auto":
        if numba_obstacle(problem) is None:
            return "numba"
        followed = tracing.follower(problem.tensors) is not None
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
    if (follower := tracing.follower(problem.tensors)) is not None:
        return f"{follower} does not see what its kernels write"
    if has_numbers(problem.rule):
        return None
    return f"its kernels know the coefficients of HebbianRule only, not of {type(problem.rule).__name__}"


def _adjoint_obstacle(rule: Rule) -> str | None:
    if (recorder := tracing.recorder()) is not None:
        return f"{recorder} cannot record its gradients"
    if has_adjoint(rule):
        return None
    return f"it knows the adjoint of HebbianRule and AdjointRule only, not of {type(rule).__name__}"
