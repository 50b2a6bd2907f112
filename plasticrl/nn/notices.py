"""Notices that a network gives once: the backend that serves its rule, and an eta that has left (0, 1)."""

import logging
import warnings
from collections.abc import Sequence
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from plasticrl.ops import tracing
from plasticrl.ops.scan import Backend, choose_backend, make_problem, numba_obstacle

_LOGGER = logging.getLogger("plasticrl")
# Beside the modules, not in them, since copies, files and checks for changes read a module's attributes.
_told: WeakKeyDictionary[nn.Module, set[str]] = WeakKeyDictionary()


def warn_of_free_eta(module: nn.Module, eta: Tensor | None) -> None:
    """Warn, once for a module, if its unbounded eta is below 0 or above 1 where it is trained.

    Args:
        module: the plastic layer.
        eta: its eta if that is not bounded; None otherwise.
    """
    if eta is None or torch.compiler.is_compiling() or not (torch.is_grad_enabled() and eta.requires_grad):
        return
    if "eta" in _told.get(module, ()) or eta.is_meta or _is_recorded((eta,)):
        return
    if (value := eta.item()) < 0 or value > 1:
        _told.setdefault(module, set()).add("eta")
        warnings.warn(
            f"eta is {value:.3g}, outside (0, 1), where the trace may grow without bound: train it with "
            "bound_eta=True or a lower learning rate",
            stacklevel=6,  # the caller of a core
        )


def report_backend(
    module: nn.Module, backend: Backend, arguments: tuple[Any, ...], options: dict[str, Any]
) -> None:
    """Log, once for a module and a reason, which backend serves the rule, and at what cost.

    Nothing is logged while torch records or compiles the call, which may change the backend.

    Args:
        module: the network.
        backend: the backend asked for.
        arguments: those of its :func:`plasticrl.plastic_scan`, without ``known``.
        options: its rule, cell, modulation and ``rule_parameters``.
    """
    if torch.compiler.is_compiling() or not _LOGGER.isEnabledFor(logging.INFO):
        return
    drive, w, *rest = arguments
    problem = make_problem(drive.to(w.dtype), w, *rest, **options)
    if problem.alpha is None:
        return
    if _is_recorded(problem.tensors):
        return
    chosen, obstacle = choose_backend(problem, backend), numba_obstacle(problem)
    if chosen == "numba":
        cost = "compiled kernels"
    else:
        reason = "asked for by name" if obstacle is None else f"backend 'numba' cannot: {obstacle}"
        cost = f"torch, step by step, 10 to 25 times slower than the kernels on a CPU; {reason}"
    name = getattr(problem.rule, "name", type(problem.rule).__name__)  # a rule of the user's may lack one
    text = f"rule {name!r} runs on the {chosen} backend ({cost})"
    if text not in (told := _told.setdefault(module, set())):
        told.add(text)
        _LOGGER.info(text)


def _is_recorded(tensors: Sequence[Tensor | None]) -> bool:
    """Return True if a tensor is one of a tracer or of a transform."""
    return tracing.follower(tensors) is not None or tracing.are_wrapped(tensors)
