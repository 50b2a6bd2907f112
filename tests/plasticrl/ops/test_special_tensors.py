"""Kernels use bare memory: tensors whose numbers lie otherwise give the same results, or a clear error."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from recurrences import RULES, Case, make_case
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.testing._internal.two_tensor import TwoTensor
from torch.utils._python_dispatch import TorchDispatchMode

from plasticrl.ops import plastic_step_
from plasticrl.ops.cells import CELLS
from plasticrl.ops.numba import engine

STEPS, BATCH, N = 4, 2, 5
NAMES = ["drive", "w", "alpha", "eta", "hidden", "cell", "trace"]


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


def draw(cell: str = "rnn", alpha: str = "full") -> Case:
    """Draw a case without resets; the LSTM's has a modulation."""
    modulation = "none" if cell == "rnn" else "sigmoid"
    return make_case(
        STEPS, BATCH, N, cell=cell, modulation=modulation, rule=RULES[-1], alpha=alpha, masked=False
    )


def scan(case: Case, **options: Any) -> list[Tensor]:
    return case.scan(**options)


def step(case: Case) -> list[Tensor]:
    v, state = case.inputs, case.state()
    return [plastic_step_(v["drive"][0], v["w"], v.get("alpha"), v["eta"], state, **case.options), *state]


def with_changed(case: Case, change: Callable[[Tensor], Tensor], which: str = "all") -> Case:
    inputs = {name: change(one) if which in (name, "all") else one for name, one in case.inputs.items()}
    return replace(case, inputs=inputs)


def check_same(ours: list[Tensor], theirs: list[Tensor]) -> None:
    for one, other in zip(ours, theirs, strict=True):
        plain = one.a if isinstance(one, TwoTensor) else one.as_subclass(Tensor)
        torch.testing.assert_close(plain, other, check_device=False)


@pytest.mark.parametrize("alpha", ["full", "none"])
@pytest.mark.parametrize("which", [*NAMES, "all"])
@pytest.mark.parametrize("way", WAYS)
def test_results_are_those_of_plain_tensors(way: str, which: str, alpha: str) -> None:
    for cell in ("rnn", "lstm") if which in ("all", "cell") else ("rnn",):
        plain, given = draw(cell, alpha), with_changed(draw(cell, alpha), WAYS[way], which)
        expected = scan(plain, backend="reference")
        check_same([one.detach() for one in scan(given)], expected)
        first = with_changed(plain, lambda drive: drive[:1], "drive")
        expected = scan(first, backend="reference")
        found = [one.detach() for one in step(given)]
        check_same(found, [expected[0][0], *expected[1:]])


@pytest.mark.parametrize("way", ["negated lazily", "imaginary part", "transposed", "of another class"])
@pytest.mark.parametrize("cell", CELLS)
def test_gradients_are_those_of_plain_tensors(cell: str, way: str) -> None:
    case = draw(cell)
    plain = replace(case, inputs=case.leaves())
    gradients = []
    for change, options in ((lambda one: one, {"backend": "reference"}), (WAYS[way], {})):
        given = with_changed(plain, change)
        outputs, *_ = scan(given, **options)
        leaves = list((plain if way != "of another class" else given).inputs.values())
        gradients.append(torch.autograd.grad((outputs * change(case.cotangents[0])).sum(), leaves))
    torch.testing.assert_close(gradients[0], gradients[1])


@pytest.mark.parametrize("which", ["hidden", "cell", "trace"])
def test_a_step_refuses_a_state_with_several_elements_in_one_place(which: str) -> None:
    given = draw("lstm")
    given.inputs[which] = given.inputs[which][:1].expand_as(given.inputs[which])
    before = with_changed(given, torch.clone)
    with pytest.raises(ValueError, match=rf"^state\.{which} is expanded.*clone\(\)"):
        step(given)
    torch.testing.assert_close(given.inputs, before.inputs, rtol=0, atol=0)
    check_same(scan(given), scan(before, backend="reference"))


@pytest.mark.parametrize("which", NAMES)
def test_what_is_not_dense_is_named(which: str) -> None:
    given = with_changed(draw("lstm"), lambda one: one.to_sparse(), which)
    with pytest.raises(ValueError, match=rf"{which} must be a dense tensor, not torch\.sparse_coo"):
        scan(given)


@pytest.mark.parametrize("inside", [True, False])
@pytest.mark.parametrize("call", [scan, step])
@pytest.mark.parametrize("cell", CELLS)
def test_tensors_without_numbers_tell_the_shapes(cell: str, call: Any, inside: bool) -> None:
    mode = FakeTensorMode()
    given = with_changed(draw(cell), mode.from_tensor)
    if inside:
        with mode:
            found = call(given)
    else:
        found = call(given)
    assert [one.shape for one in found] == [one.shape for one in call(draw(cell))]


@pytest.mark.parametrize("call", [scan, step])
@pytest.mark.parametrize("cell", CELLS)
def test_a_mode_around_a_call_changes_nothing(cell: str, call: Any) -> None:
    class Observer(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            return func(*args, **(kwargs or {}))

    expected = call(draw(cell))
    with Observer():
        found = call(draw(cell))
    torch.testing.assert_close(found, expected)


def test_an_address_of_nothing_is_refused() -> None:
    for tensor in (TwoTensor(torch.ones(2), torch.ones(2)), torch._efficientzerotensor(3, 4)):
        with pytest.raises(RuntimeError, match=r'Tensor has no memory .*backend="reference"'):
            engine.addresses([tensor])
    assert engine.addresses([None, torch.zeros(0, 3)]) == [0, 0]
