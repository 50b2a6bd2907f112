"""Checks of the arguments of a scan."""

import torch
from torch import Tensor

from plasticrl.state import PlasticState


def check_state(state: object, name: str = "state") -> None:
    """Check that ``state`` is the state of a plastic recurrent network.

    Raises:
        TypeError: it is something else, such as the plain tuple of ``torch.nn.LSTM``.
    """
    if not isinstance(state, PlasticState):
        raise TypeError(
            f"{name} must be a PlasticState(hidden, trace), as initial_state and the previous call return "
            f"it, not a {type(state).__name__}"
        )


def check_tensor(name: str, value: object) -> None:
    """Check that ``value`` is a tensor.

    Raises:
        TypeError: it is something else, such as a NumPy array.
    """
    if not isinstance(value, Tensor):
        raise TypeError(f"{name} must be a tensor, not {type(value).__name__}: use torch.as_tensor")


def check_tensors(**optional: object) -> None:
    """Check that each argument is a tensor or None.

    Raises:
        TypeError: an argument is something else; the message names it.
    """
    for name, value in optional.items():
        if value is not None:
            check_tensor(name, value)


def check_arguments(
    drive: Tensor,
    w: Tensor,
    alpha: Tensor | None,
    eta: Tensor,
    state: PlasticState,
    reset: Tensor | None,
    clamp: Tensor | None,
    known: tuple[Tensor, PlasticState] | None,
) -> None:
    """Check that shapes, dtypes and devices fit those of the drive; kernels do not check their addresses.

    Raises:
        ValueError: a tensor is not dense, or does not fit; the message names the argument, what it is and
            what it must be.
        TypeError: an argument is not a tensor, or the state is not a ``PlasticState``.
    """
    check_state(state)
    for name, needed in (
        ("w", w),
        ("eta", eta),
        ("state.hidden", state.hidden),
        ("state.trace", state.trace),
    ):
        check_tensor(name, needed)
    outputs, last_trace = (None, None) if known is None else _parts_known(known)
    if drive.ndim != 3 or drive.shape[0] < 1:
        raise ValueError(f"drive must be (T, B, n) with T >= 1, not {tuple(drive.shape)}")
    dense = torch.strided
    if drive.layout is not dense:
        raise ValueError(f"drive must be a dense tensor, not {drive.layout}: use to_dense()")
    steps, batch, n = drive.shape
    dtype, device = drive.dtype, drive.device
    trace = None if alpha is None else state.trace
    for name, tensor, wanted, *shapes in (
        ("w", w, dtype, (n, n)),
        ("alpha", alpha, dtype, (n, n), ()),
        ("eta", eta, dtype, ()),
        ("state.hidden", state.hidden, dtype, (batch, n)),
        ("state.trace", trace, dtype, (batch, n, n)),
        ("reset", reset, torch.bool, (steps, batch)),
        ("clamp", clamp, torch.bool, (steps, batch, n)),
        ("known outputs", outputs, dtype, (steps, batch, n)),
        ("known state.trace", None if alpha is None else last_trace, dtype, (batch, n, n)),
    ):
        if tensor is None:
            continue
        check_tensor(name, tensor)
        if tensor.shape not in shapes:
            allowed, fit, given = " or ".join(map(str, shapes)), tuple(drive.shape), tuple(tensor.shape)
            raise ValueError(f"{name} must have shape {allowed} to fit (T, B, n) = {fit}, not {given}")
        if tensor.dtype != wanted:
            raise ValueError(f"{name} must be {wanted}, not {tensor.dtype}")
        if tensor.device != device:
            raise ValueError(f"{name} must be on {device} like drive, not on {tensor.device}")
        if tensor.layout is not dense:
            raise ValueError(f"{name} must be a dense tensor, not {tensor.layout}: use to_dense()")


def check_writable(state: PlasticState) -> None:
    """Check that no part of the state has elements that share memory, as after ``expand``.

    Raises:
        ValueError: a part has; the message names it.
    """
    if state.hidden.is_contiguous() and state.trace.is_contiguous():
        return
    for name, tensor in zip(state._fields, state, strict=True):
        if any(step == 0 and size > 1 for size, step in zip(tensor.shape, tensor.stride(), strict=True)):
            raise ValueError(f"state.{name} is expanded and cannot be overwritten: clone() it first")


def _parts_known(known: tuple[Tensor, PlasticState]) -> tuple[Tensor, Tensor]:
    """Return the outputs and the last trace of ``known``.

    Raises:
        TypeError: it is not the result of a scan.
    """
    if not isinstance(known, tuple) or len(known) != 2:
        raise TypeError(
            "known must be the result of such a call, a tuple (outputs, PlasticState), "
            f"not {kind_and_length(known)}"
        )
    outputs, state = known
    check_state(state, "known state")
    check_tensor("known outputs", outputs)
    check_tensor("known state.trace", state.trace)
    return outputs, state.trace


def kind_and_length(value: object) -> str:
    """Describe a value for an error message, as in "a list" or "a tuple of 3"."""
    kind = f"a {type(value).__name__}"
    return f"{kind} of {len(value)}" if isinstance(value, tuple) else kind
