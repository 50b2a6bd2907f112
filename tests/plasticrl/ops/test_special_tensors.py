"""Kernels use bare memory: tensors whose numbers lie otherwise give the same results, or a clear error."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.testing._internal.two_tensor import TwoTensor
from torch.utils._python_dispatch import TorchDispatchMode

from plasticrl.ops import plastic_scan, plastic_step_
from plasticrl.ops.numba import buffers
from plasticrl.state import PlasticState

STEPS, BATCH, N = 4, 2, 5
NAMES = ["drive", "w", "alpha", "eta", "hidden", "trace"]


class OwnParameter(nn.Parameter):
    """A parameter of a class of the user's own."""


class Named(Tensor):
    """A tensor that sees torch's functions, as those with units do."""

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return super().__torch_function__(func, types, args, kwargs or {})  # type: ignore[no-untyped-call]


def in_inference_mode(tensor: Tensor) -> Tensor:
    with torch.inference_mode():
        return tensor.clone()


def strided(tensor: Tensor) -> Tensor:
    return torch.stack([tensor, tensor + 1], dim=-1)[..., 0]


def transposed(tensor: Tensor) -> Tensor:
    return tensor.mT.contiguous().mT if tensor.ndim > 1 else tensor


def at_an_odd_place(tensor: Tensor) -> Tensor:
    return torch.cat([torch.zeros(1), tensor.flatten()])[1:].view(tensor.shape)


WAYS: dict[str, Callable[[Tensor], Tensor]] = {
    "with gradient": lambda tensor: tensor.clone().requires_grad_(),
    "inference": in_inference_mode,
    "strided": strided,
    "transposed": transposed,
    "at an odd place": at_an_odd_place,
    "negated lazily": lambda tensor: torch._neg_view(-tensor),
    "imaginary part": lambda tensor: torch.complex(torch.zeros_like(tensor), -tensor).conj().imag,
    "of another class": lambda tensor: OwnParameter(tensor.clone()),
    "with functions of its own": lambda tensor: tensor.clone().as_subclass(Named),
    "of two tensors": lambda tensor: TwoTensor(tensor.clone(), tensor.clone()),
}


def draw() -> dict[str, Tensor]:
    g = torch.Generator().manual_seed(0)
    return {
        "drive": torch.randn(STEPS, BATCH, N, generator=g),
        "w": torch.randn(N, N, generator=g) / 3,
        "alpha": torch.randn(N, N, generator=g) / 3,
        "eta": torch.tensor(0.1),
        "hidden": torch.randn(BATCH, N, generator=g).tanh(),
        "trace": torch.randn(BATCH, N, N, generator=g) / 10,
    }


def scan(given: dict[str, Any], **options: Any) -> list[Tensor]:
    state = PlasticState(given["hidden"], given["trace"])
    outputs, after = plastic_scan(*(given[name] for name in NAMES[:4]), state, **options)
    return [outputs, *after]


def step(given: dict[str, Any]) -> list[Tensor]:
    state = PlasticState(given["hidden"], given["trace"])
    return [plastic_step_(given["drive"][0], *(given[name] for name in NAMES[1:4]), state), *state]


def check_same(ours: list[Tensor], theirs: list[Tensor]) -> None:
    for one, other in zip(ours, theirs, strict=True):
        plain = one.a if isinstance(one, TwoTensor) else one.as_subclass(Tensor)
        torch.testing.assert_close(plain, other, check_device=False)


@pytest.mark.parametrize("alpha", [True, False])
@pytest.mark.parametrize("which", [*NAMES, "all"])
@pytest.mark.parametrize("way", WAYS)
def test_results_are_those_of_plain_tensors(way: str, which: str, alpha: bool) -> None:
    plain = draw()
    given: dict[str, Any] = {k: WAYS[way](v) if which in (k, "all") else v for k, v in draw().items()}
    if not alpha:
        plain["alpha"] = given["alpha"] = None
    expected = scan(plain, backend="reference")
    check_same([one.detach() for one in scan(given)], expected)
    first = scan({**plain, "drive": plain["drive"][:1]}, backend="reference")
    found = [one.detach() for one in step(given)]
    check_same(found, [first[0][0], *first[1:]])


@pytest.mark.parametrize("way", ["negated lazily", "imaginary part", "transposed", "of another class"])
def test_gradients_are_those_of_plain_tensors(way: str) -> None:
    plain = {name: one.requires_grad_() for name, one in draw().items()}
    weights = torch.randn(STEPS, BATCH, N, generator=torch.Generator().manual_seed(1))
    gradients = []
    for change, options in ((lambda one: one, {"backend": "reference"}), (WAYS[way], {})):
        given = {name: change(one) for name, one in plain.items()}
        outputs, *_ = scan(given, **options)
        leaves = list((plain if way != "of another class" else given).values())
        gradients.append(torch.autograd.grad((outputs * change(weights)).sum(), leaves))
    torch.testing.assert_close(gradients[0], gradients[1])


@pytest.mark.parametrize("which", ["hidden", "trace"])
def test_a_step_refuses_a_state_with_several_elements_in_one_place(which: str) -> None:
    given = draw()
    given[which] = given[which][:1].expand_as(given[which])
    before = {name: one.clone() for name, one in given.items()}
    with pytest.raises(ValueError, match=rf"^state\.{which} is expanded.*clone\(\)"):
        step(given)
    torch.testing.assert_close(given, before, rtol=0, atol=0)
    check_same(scan(given), scan(before, backend="reference"))


@pytest.mark.parametrize("which", NAMES)
def test_what_is_not_dense_is_named(which: str) -> None:
    given = draw()
    given[which] = given[which].to_sparse()
    with pytest.raises(ValueError, match=rf"{which} must be a dense tensor, not torch\.sparse_coo"):
        scan(given)


@pytest.mark.parametrize("inside", [True, False])
@pytest.mark.parametrize("call", [scan, step])
def test_tensors_without_numbers_tell_the_shapes(call: Any, inside: bool) -> None:
    mode = FakeTensorMode()
    given = {name: mode.from_tensor(one) for name, one in draw().items()}
    if inside:
        with mode:
            found = call(given)
    else:
        found = call(given)
    assert [one.shape for one in found] == [one.shape for one in call(draw())]


@pytest.mark.parametrize("call", [scan, step])
def test_a_mode_around_a_call_changes_nothing(call: Any) -> None:
    class Observer(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            return func(*args, **(kwargs or {}))

    expected = call(draw())
    with Observer():
        found = call(draw())
    torch.testing.assert_close(found, expected)


def test_an_address_of_nothing_is_refused() -> None:
    for tensor in (TwoTensor(torch.ones(2), torch.ones(2)), torch._efficientzerotensor(3, 4)):
        with pytest.raises(RuntimeError, match=r'Tensor has no memory .*backend="reference"'):
            buffers.addresses([tensor])
    assert buffers.addresses([None, torch.zeros(0, 3)]) == [0, 0]
