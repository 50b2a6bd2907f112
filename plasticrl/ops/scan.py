"""The one operator of the package: a plastic recurrence over time, and the choice of what computes it."""

from typing import Literal, TypeAlias, get_args

import torch
from torch import Tensor

from plasticrl.ops.reference import reference_scan
from plasticrl.rules import RuleLike, get_rule
from plasticrl.state import PlasticState

Backend: TypeAlias = Literal["auto", "reference"]


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
) -> tuple[Tensor, PlasticState]:
    r"""Run a plastic recurrent network over a sequence (Miconi, Clune & Stanley 2018, eqs. 1-3).

    With ``x(t) = y(t-1)``, each step computes::

        where reset(t):  x <- 0, H <- 0
        y(t) = tanh(drive(t) + (w + alpha * H) x)      or drive(t) where clamp(t)
        H <- rule(H, pre=x, post=y(t), eta)

    Args:
        drive: external input of each neuron, ``(T, B, n)``, T >= 1.
        w: fixed weights ``(n_post, n_pre)``, as in ``torch.nn.Linear``.
        alpha: plasticity coefficients: ``(n, n)`` (full), a scalar ``()`` (shared), or None (not
            plastic: the trace is neither used nor changed).
        eta: learning rate of the trace, a scalar tensor ``()``.
        state: hidden ``(B, n)`` and trace ``(B, n, n)`` before the first step.
        reset: bool ``(T, B)``, true where a step is the first of an episode. Default: no resets.
        clamp: bool ``(T, B, n)``, true where the neuron's output is its drive. Default: no clamps.
        rule: a rule or its name, ``"hebb"``, ``"oja"``, ``"clipped"``. Default Hebb.
        backend: ``"reference"`` is plain torch and the specification; ``"auto"`` picks the fastest
            that serves. One asked for by name that cannot serve raises.

    Returns:
        outputs ``(T, B, n)`` and the state after the last step.

    Raises:
        ValueError: a shape or a dtype does not fit, or a name is unknown; the text says which.
    """
    resolved = get_rule(rule)
    _check(drive, w, alpha, eta, state, reset, clamp)
    if backend in ("auto", "reference"):
        return reference_scan(drive, w, alpha, eta, state, reset, clamp, rule=resolved)
    raise ValueError(f"unknown backend {backend!r}: choose one of {', '.join(map(repr, get_args(Backend)))}")


def _check(
    drive: Tensor,
    w: Tensor,
    alpha: Tensor | None,
    eta: Tensor,
    state: PlasticState,
    reset: Tensor | None,
    clamp: Tensor | None,
) -> None:
    if drive.ndim != 3 or drive.shape[0] < 1:
        raise ValueError(f"drive must be (T, B, n) with T >= 1, not {tuple(drive.shape)}")
    steps, batch, n = drive.shape
    hidden, trace = state
    expected: dict[str, tuple[Tensor | None, tuple[tuple[int, ...], ...]]] = {
        "w": (w, ((n, n),)),
        "alpha": (alpha, ((n, n), ())),
        "eta": (eta, ((),)),
        "state.hidden": (hidden, ((batch, n),)),
        "state.trace": (trace if alpha is not None else None, ((batch, n, n),)),
        "reset": (reset, ((steps, batch),)),
        "clamp": (clamp, ((steps, batch, n),)),
    }
    for name, (tensor, shapes) in expected.items():
        if tensor is None:
            continue
        if tuple(tensor.shape) not in shapes:
            allowed = " or ".join(map(str, shapes))
            raise ValueError(
                f"{name} must have shape {allowed} to fit drive {tuple(drive.shape)}, not {tuple(tensor.shape)}"
            )
        wanted = torch.bool if name in ("reset", "clamp") else drive.dtype
        if tensor.dtype != wanted:
            raise ValueError(f"{name} must be {wanted}, not {tensor.dtype}")
