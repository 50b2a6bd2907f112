"""Checks of the arguments of a scan."""

import torch
from torch import Tensor

from plasticrl.ops.cells import CELLS, Cell, Modulation
from plasticrl.ops.problem import Problem
from plasticrl.state import PlasticLSTMState, PlasticState, RecurrentState


def check_state(state: object, cell: Cell = CELLS["rnn"], name: str = "state") -> None:
    """Check that ``state`` is the state of a plastic recurrent network with this cell.

    Raises:
        TypeError: it is something else, such as the plain tuple of ``torch.nn.LSTM``.
    """
    kind = PlasticLSTMState if cell.has_memory else PlasticState
    if not isinstance(state, kind):
        raise TypeError(
            f"{name} must be a {kind.__name__}({', '.join(kind._fields)}), as initial_state and the previous "
            f"call return it, not a {type(state).__name__}"
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


def check_problem(p: Problem, known: tuple[Tensor, RecurrentState] | None) -> None:
    """Check that shapes, dtypes and devices fit those of the drive; kernels do not check their addresses.

    Raises:
        ValueError: a tensor is not dense, or does not fit; the message names the argument, what it is and
            what it must be.
        TypeError: an argument is not a tensor, or ``known`` is not the result of a scan.
    """
    drive, alpha, cell = p.drive, p.alpha, p.cell
    for name, needed in (("w", p.w), ("eta", p.eta), ("state.hidden", p.hidden), ("state.trace", p.trace)):
        check_tensor(name, needed)
    if cell.has_memory:
        check_tensor("state.cell", p.memory)
    own = () if alpha is None else p.rule.parameters
    if len(p.parameters) != len(own):
        names = f" ({', '.join(one.name for one in own)})" if own else ""
        raise ValueError(
            f"rule {p.rule.name!r} has {len(own)} parameters of its own{names}, not {len(p.parameters)}: "
            "give them as rule_parameters"
        )
    outputs, last_trace = (None, None) if known is None else _parts_known(known, cell)
    if drive.ndim != 3 or drive.shape[0] < 1:
        raise ValueError(f"drive must be (T, B, n) with T >= 1, not {tuple(drive.shape)}")
    if p.clamp is not None and (cell.name != "rnn" or p.modulation != "none"):
        raise ValueError("clamp is only for the cell 'rnn' without modulation: leave it out")
    dense = torch.strided
    if drive.layout is not dense:
        raise ValueError(f"drive must be a dense tensor, not {drive.layout}: use to_dense()")
    steps, batch, width = drive.shape
    n, rows = _sizes(drive, p.w, cell, p.modulation)
    dtype, device = drive.dtype, drive.device
    trace_shape = (batch, p.rule.matrices * n, n)
    arguments: list[tuple[str, Tensor | None, torch.dtype, list[tuple[int, ...]]]] = [
        ("w", p.w, dtype, [(rows, n)]),
        ("alpha", alpha, dtype, [(n, n), ()]),
        ("eta", p.eta, dtype, [()]),
        ("state.hidden", p.hidden, dtype, [(batch, n)]),
        ("state.cell", p.memory, dtype, [(batch, n)]),
        ("state.trace", None if alpha is None else p.trace, dtype, [trace_shape]),
        ("reset", p.reset, torch.bool, [(steps, batch)]),
        ("clamp", p.clamp, torch.bool, [(steps, batch, n)]),
        ("known outputs", outputs, dtype, [(steps, batch, n)]),
        ("known state.trace", None if alpha is None else last_trace, dtype, [trace_shape]),
    ]
    for parameter, given in zip(own, p.parameters, strict=True):
        shape = (n, n) if parameter.each else ()
        arguments.append((f"rule parameter {parameter.name!r}", given, dtype, [shape]))
    for name, tensor, wanted, shapes in arguments:
        if tensor is None:
            continue
        check_tensor(name, tensor)
        if not any(tensor.shape == shape for shape in shapes):  # torch.compile cannot do "in" for any size
            allowed, found = " or ".join(map(str, shapes)), tuple(tensor.shape)
            fit = f"(T, B, n) = {(steps, batch, width)}" if width == n else f"drive {(steps, batch, width)}"
            raise ValueError(f"{name} must have shape {allowed} to fit {fit}, not {found}")
        if tensor.dtype != wanted:
            raise ValueError(f"{name} must be {wanted}, not {tensor.dtype}")
        if tensor.device != device:
            raise ValueError(f"{name} must be on {device} like drive, not on {tensor.device}")
        if tensor.layout is not dense:
            raise ValueError(f"{name} must be a dense tensor, not {tensor.layout}: use to_dense()")


def _sizes(drive: Tensor, w: Tensor, cell: Cell, modulation: Modulation) -> tuple[int, int]:
    """Return n and the number of rows of w for the width of the drive.

    Raises:
        ValueError: the drive has a width that no n gives.
    """
    width, groups = drive.shape[-1], cell.sums + cell.inputs
    n = width // (groups + (modulation != "none"))  # with one modulation for each neuron
    if modulation != "none" and w.ndim == 2 and w.shape[-1] * groups + 1 == width:
        n = w.shape[-1]  # one for all
    rows = width - cell.inputs * n
    if rows - cell.sums * n not in ((0,) if modulation == "none" else (1, n)):
        more = "" if modulation == "none" else " (and the modulation's n or 1)"
        raise ValueError(f"drive must have {groups} n columns{more} for the cell {cell.name!r}, not {width}")
    return n, rows


def check_writable(state: RecurrentState) -> None:
    """Check that no part of the state has elements that share memory, as after ``expand``.

    Raises:
        ValueError: a part has; the message names it.
    """
    if all(part.is_contiguous() for part in state):
        return
    for name, tensor in zip(state._fields, state, strict=True):
        if any(step == 0 and size > 1 for size, step in zip(tensor.shape, tensor.stride(), strict=True)):
            raise ValueError(f"state.{name} is expanded and cannot be overwritten: clone() it first")


def _parts_known(known: tuple[Tensor, RecurrentState], cell: Cell) -> tuple[Tensor, Tensor]:
    """Return the outputs and the last trace of ``known``.

    Raises:
        TypeError: it is not the result of a scan.
    """
    if not isinstance(known, tuple) or len(known) != 2:
        raise TypeError(
            f"known must be the result of such a call, a tuple (outputs, state), not {kind_and_length(known)}"
        )
    outputs, state = known
    check_state(state, cell, "known state")
    check_tensor("known outputs", outputs)
    check_tensor("known state.trace", state.trace)
    return outputs, state.trace


def kind_and_length(value: object) -> str:
    """Describe a value for an error message, as in "a list" or "a tuple of 3"."""
    kind = f"a {type(value).__name__}"
    return f"{kind} of {len(value)}" if isinstance(value, tuple) else kind
