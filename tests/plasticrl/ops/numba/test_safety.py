"""Kernels are given bare addresses: what could make those wrong must be refused or make no difference."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from plasticrl import Hebb, PlasticState, plastic_scan
from plasticrl.ops import plastic_step_

T, B, N = 20, 3, 7


@pytest.fixture
def _restored_defaults() -> Iterator[None]:
    before = torch.get_default_dtype()
    yield
    torch.set_default_dtype(before)


def arguments() -> dict[str, Tensor]:
    torch.manual_seed(0)
    return {
        "drive": torch.randn(T, B, N),
        "w": 0.3 * torch.randn(N, N),
        "alpha": 0.3 * torch.randn(N, N),
        "eta": torch.tensor(0.1),
        "hidden": torch.zeros(B, N),
        "trace": torch.zeros(B, N, N),
    }


def run(given: dict[str, Tensor], **options: object) -> tuple[list[Tensor], list[Tensor]]:
    leaves = {name: tensor.clone().requires_grad_() for name, tensor in given.items()}
    state = PlasticState(leaves.pop("hidden"), leaves.pop("trace"))
    y, after = plastic_scan(**leaves, state=state, **options)  # type: ignore[arg-type]
    (y.square().sum() + after.trace.sum()).backward()  # type: ignore[no-untyped-call]
    gradients = [leaf.grad for leaf in (*leaves.values(), *state) if leaf.grad is not None]
    return [y.detach(), after.trace.detach()], gradients


@pytest.mark.usefixtures("_restored_defaults")
def test_default_dtype_makes_no_difference() -> None:
    given = arguments()
    expected = run(given, backend="numba")
    torch.set_default_dtype(torch.float64)
    for found, wanted in zip(run(given, backend="numba"), expected, strict=True):
        for a, b in zip(found, wanted, strict=True):
            assert a.dtype == torch.float32
            assert torch.equal(a, b)


def test_default_device_makes_no_difference() -> None:
    given = arguments()
    (expected, _), _ = run(given, backend="numba")
    state = PlasticState(given["hidden"], given["trace"])
    with torch.device("meta"):
        y, _ = plastic_scan(given["drive"], given["w"], given["alpha"], given["eta"], state, backend="numba")
    assert torch.equal(y, expected)


@pytest.mark.parametrize("name", ["w", "alpha", "eta", "hidden", "trace"])
def test_tensors_elsewhere_are_refused(name: str) -> None:
    given = arguments()
    given[name] = given[name].to("meta")
    state = PlasticState(given["hidden"], given["trace"])
    with pytest.raises(ValueError, match=f"{name} must be on cpu"):
        plastic_scan(given["drive"], given["w"], given["alpha"], given["eta"], state)
    with pytest.raises(ValueError, match=f"{name} must be on cpu"):
        plastic_step_(given["drive"][0], given["w"], given["alpha"], given["eta"], state)


@dataclass(frozen=True)
class _Forgetful(Hebb):
    """A rule made from a built-in one."""

    def update(self, trace: Tensor, pre: Tensor, post: Tensor, eta: Tensor) -> Tensor:
        return 0.5 * super().update(trace, pre, post, eta)


def test_rule_derived_from_a_built_in_one_is_not_taken_for_it() -> None:
    given = arguments()
    (found, _), (expected, _) = (
        run(given, rule=_Forgetful(), backend=backend)[0] for backend in ("auto", "reference")
    )
    assert torch.equal(found, expected)
    with pytest.raises(ValueError, match="derivatives of Hebb, Oja, ClippedHebb only"):
        run(given, rule=_Forgetful(), backend="numba")
    a, b = (PlasticState(given["hidden"].clone(), given["trace"].clone()) for _ in range(2))
    for drive in given["drive"]:
        plastic_step_(drive, given["w"], given["alpha"], given["eta"], a, rule=_Forgetful())
    _, b = plastic_scan(
        given["drive"], given["w"], given["alpha"], given["eta"], b, rule=_Forgetful(), backend="reference"
    )
    torch.testing.assert_close(a.trace, b.trace)


def test_nan_of_one_episode_does_not_reach_the_next() -> None:
    given = arguments()
    leaf = given["drive"].clone().requires_grad_()
    state = PlasticState(given["hidden"], given["trace"])
    y, after = plastic_scan(leaf, given["w"], given["alpha"], given["eta"], state, backend="numba")
    cotangent = torch.ones_like(y)
    cotangent[:, 0] = float("nan")
    torch.autograd.backward([y, after.trace], [cotangent, torch.ones_like(after.trace)])
    assert leaf.grad is not None
    assert leaf.grad[:, 0].isnan().any()
    assert leaf.grad[:, 1:].isfinite().all()
