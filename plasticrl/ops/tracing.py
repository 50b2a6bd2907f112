"""Detection of what changes operations on the way: tracers, ``torch.compile`` and autocast.

Tracers and ``torch.compile`` cannot see into the kernels; under autocast, errors of half precision would
accumulate in the trace.
"""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from functools import wraps
from types import NoneType
from typing import ParamSpec, TypeVar

import torch
from torch import Tensor
from torch._C._functorch import TransformType, get_interpreter_stack, is_functorch_wrapped_tensor
from torch.utils._python_dispatch import is_in_torch_dispatch_mode

_PLAIN = {Tensor, torch.nn.Parameter, NoneType}


def recorder() -> str | None:
    """Return the name of torch's function that records the current call as a graph of operations, or None.

    Such a graph can contain neither a kernel nor an ``autograd.Function``. ``torch.compile`` does not count:
    it leaves unsupported code out of its graph.
    """
    if torch.compiler.is_exporting():
        return "torch.export"
    if torch.compiler.is_dynamo_compiling():  # dynamo cannot trace the code below
        return None
    if torch._C._get_tracing_state() is not None:
        return "torch.jit.trace"
    if torch._C._are_functorch_transforms_active() and _functionalizes():
        return "torch.func.functionalize"
    return None


def follower(tensors: Iterable[Tensor | None]) -> str | None:
    """Return the name of an observer that must see every operation on these tensors, or None.

    Observers are recorders, a ``TorchDispatchMode`` such as that of ``make_fx``, and tensor classes that
    define ``__torch_dispatch__``, such as ``FakeTensor``. All other tensors have memory that a kernel can
    read, or are wrapped by ``vmap`` or ``grad`` and unwrapped by an ``autograd.Function``.
    """
    found = recorder()
    if found is not None or torch.compiler.is_dynamo_compiling():
        return found
    # The first call also detects pre-dispatch modes, but misses some that several threads have entered.
    if is_in_torch_dispatch_mode() or torch._C._len_torch_dispatch_stack():
        return "a TorchDispatchMode, such as that of make_fx,"
    for kind in set(map(type, tensors)) - _PLAIN:
        if kind.__torch_dispatch__ is not Tensor.__torch_dispatch__:  # type: ignore[attr-defined]
            return kind.__name__
    return None


def are_wrapped(tensors: Iterable[Tensor | None]) -> bool:
    """Return True if one of the tensors is wrapped by a functorch transform, such as ``vmap`` or ``grad``."""
    if torch.compiler.is_dynamo_compiling() or not torch._C._are_functorch_transforms_active():
        return False
    return any(is_functorch_wrapped_tensor(tensor) for tensor in tensors if tensor is not None)


def _functionalizes() -> bool:
    return any(transform.key() == TransformType.Functionalize for transform in get_interpreter_stack() or ())


_P = ParamSpec("_P")
_R = TypeVar("_R")


def untraced(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """Decorate a function to run in plain Python, untraced, if ``torch.compile`` encounters it."""

    @wraps(function)
    def call(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        if torch.compiler.is_compiling():  # only then: disable imports the whole compiler
            result: _R = torch.compiler.disable(function)(*args, **kwargs)  # type: ignore[no-untyped-call]
            return result
        return function(*args, **kwargs)

    return call


def autocasts(device: torch.device) -> bool:
    """Return True if ``torch.autocast`` is enabled for this type of device."""
    return torch.amp.is_autocast_available(device.type) and torch.is_autocast_enabled(device.type)


def without_autocast(device: torch.device) -> AbstractContextManager[object]:
    """Return a context manager that disables ``torch.autocast`` for this type of device."""
    return torch.autocast(device.type, enabled=False) if autocasts(device) else nullcontext()
