"""One step without gradient, in place, as used in rollouts."""

import torch
from torch import Tensor

from plasticrl.ops import tracing
from plasticrl.ops.cells import CellName, Modulation
from plasticrl.ops.checks import check_tensor, check_tensors, check_writable
from plasticrl.ops.reference import reference_scan
from plasticrl.ops.scan import make_problem, numba_obstacle
from plasticrl.rules import RuleLike
from plasticrl.state import RecurrentState


def plastic_step_(
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
) -> Tensor:
    """Run one step of :func:`plasticrl.plastic_scan` without gradient and update ``state`` in place.

    It avoids copying the trace (``B n^2`` floats) and is meant for the inner loop of a rollout. Its behaviour
    under ``torch.autocast`` is that of :func:`plasticrl.plastic_scan`.

    Args:
        drive: external input, ``(B, D)``; D as for :func:`plasticrl.plastic_scan`.
        w: as for :func:`plasticrl.plastic_scan`.
        alpha: as for :func:`plasticrl.plastic_scan`.
        eta: as for :func:`plasticrl.plastic_scan`.
        state: overwritten with that after the step.
        reset: bool ``(B,)``, true if an episode starts with this step. Default: no resets.
        clamp: bool ``(B, n)``, true if the neuron's output is its drive. Default: no clamps.
        rule: a rule or its name. Default Hebb.
        cell: as for :func:`plasticrl.plastic_scan`.
        modulation: as for :func:`plasticrl.plastic_scan`.
        rule_parameters: as for :func:`plasticrl.plastic_scan`.

    Returns:
        The outputs ``(B, n)``, a new tensor.

    Raises:
        ValueError: a shape, a dtype or a device does not fit, the rule's name is unknown, or the state cannot
            be overwritten.
        TypeError: an argument is not a tensor, or the state is not a ``PlasticState``.
    """
    check_tensor("drive", drive)
    if tracing.autocasts(drive.device):
        check_tensor("w", w)
        with tracing.without_autocast(drive.device):
            return plastic_step_(
                drive.to(w.dtype), w, alpha, eta, state, reset, clamp,
                rule=rule, cell=cell, modulation=modulation, rule_parameters=rule_parameters,
            )  # fmt: skip
    check_tensors(reset=reset, clamp=clamp)
    resets = None if reset is None else reset.unsqueeze(0)
    clamps = None if clamp is None else clamp.unsqueeze(0)
    problem = make_problem(
        drive.unsqueeze(0), w, alpha, eta, state, resets, clamps, rule, cell, modulation, rule_parameters
    )
    check_writable(state)
    trace = state.trace
    if (
        numba_obstacle(problem) is None
        and not tracing.are_wrapped(problem.tensors)
        and (alpha is None or (trace.is_contiguous() and not trace.is_neg()))
    ):
        from plasticrl.ops.numba import engine as native  # numba is imported when first needed

        y = native.empty(1, *state.hidden.shape)
        memory = native.run_in_place(problem, trace, y)
        if alpha is not None:
            torch.autograd.graph.increment_version(trace)  # autograd cannot see what kernels write
        if problem.memory is not None and memory is not None:
            problem.memory.detach().copy_(memory)
        state.hidden.detach().copy_(y[0])
        return y[0]
    with torch.no_grad():
        y, memory, after, _ = reference_scan(problem)
        state.hidden.copy_(y[-1])
        if problem.memory is not None and memory is not None:
            problem.memory.copy_(memory)
        if alpha is not None:
            trace.copy_(after)
    return y[0]
