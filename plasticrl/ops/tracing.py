"""Detection of tracers and of ``torch.compile``, which must stay out of the kernels."""

from collections.abc import Callable, Iterable
from functools import wraps
from types import NoneType
from typing import ParamSpec, TypeVar

import torch
from torch import Tensor
from torch._C._functorch import TransformType, get_interpreter_stack, is_functorch_wrapped_tensor
from torch.utils._python_dispatch import is_in_torch_dispatch_mode

_PLAIN = {Tensor, torch.nn.Parameter, NoneType}


def recorder() -> str | None:
    """The name of the function of torch that turns what runs now into a graph of plain operations; or None.

    Neither a kernel nor an ``autograd.Function`` fits into such a graph. ``torch.compile`` is not among them:
    it leaves out of its graph what does not fit.
    """
    if torch.compiler.is_exporting():
        return "torch.export"
    if torch.compiler.is_dynamo_compiling():  # which could not follow the rest
        return None
    if torch._C._get_tracing_state() is not None:
        return "torch.jit.trace"
    if torch._C._are_functorch_transforms_active() and _functionalizes():
        return "torch.func.functionalize"
    return None


def follower(tensors: Iterable[Tensor | None]) -> str | None:
    """The name of what must see every operation on these tensors; or None.

    That is a recorder, a ``TorchDispatchMode`` such as that of ``make_fx``, or a class of tensors with a
    ``__torch_dispatch__`` of its own, such as ``FakeTensor``. All others have memory that a kernel can
    read, or are wrapped by ``vmap`` or ``grad``, and an ``autograd.Function`` unwraps them.
    """
    found = recorder()
    if found is not None or torch.compiler.is_dynamo_compiling():
        return found
    # The first also knows of modes before dispatch, but forgets some where several threads enter them.
    if is_in_torch_dispatch_mode() or torch._C._len_torch_dispatch_stack():
        return "a TorchDispatchMode, such as that of make_fx,"
    for kind in set(map(type, tensors)) - _PLAIN:
        if kind.__torch_dispatch__ is not Tensor.__torch_dispatch__:  # type: ignore[attr-defined]
            return kind.__name__
    return None


def are_wrapped(tensors: Iterable[Tensor | None]) -> bool:
    """True where ``vmap``, ``grad`` or the like stands between one of the tensors and its numbers."""
    if torch.compiler.is_dynamo_compiling() or not torch._C._are_functorch_transforms_active():
        return False
    return any(is_functorch_wrapped_tensor(tensor) for tensor in tensors if tensor is not None)


def _functionalizes() -> bool:
    return any(transform.key() == TransformType.Functionalize for transform in get_interpreter_stack() or ())


_P = ParamSpec("_P")
_R = TypeVar("_R")


def untraced(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """The function, run as it is where ``torch.compile`` meets it."""

    @wraps(function)
    def call(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        if torch.compiler.is_compiling():  # only then: disable imports the whole compiler
            result: _R = torch.compiler.disable(function)(*args, **kwargs)  # type: ignore[no-untyped-call]
            return result
        return function(*args, **kwargs)

    return call
