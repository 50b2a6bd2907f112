"""Kernels are given bare addresses: what could make those wrong must be refused or make no difference."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from recurrences import ALPHAS, MODULATIONS, RULES, make_case
from torch import Tensor

from plasticrl import Hebb, PlasticState, plastic_scan
from plasticrl.ops import plastic_step_
from plasticrl.ops.cells import CELLS
from plasticrl.ops.numba import engine

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
    with pytest.raises(ValueError, match="HebbianRule only, not of _Forgetful"):
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


GUARD = 4096  # elements before and after each tensor: more than a row of any matrix here


@pytest.fixture
def guarded(monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    """Kernels get copies that lie between guards of NaN, which must stay; returns their memory."""
    copies: dict[int, tuple[Tensor, Tensor, Tensor]] = {}
    seen: list[Tensor] = []

    def filled(like: Tensor, count: int) -> Tensor:
        return torch.full((count,), torch.nan if like.is_floating_point() else 1).to(like.dtype)

    def surrounded(tensors: Any) -> list[int]:
        found = usual["addresses"](tensors)
        for k, tensor in enumerate(tensors):
            if found[k]:
                if found[k] not in copies:
                    whole = filled(tensor, tensor.numel() + 2 * GUARD)
                    copy = whole[GUARD:-GUARD].view(tensor.shape)
                    copies[found[k]] = tensor.detach(), copy.copy_(tensor.detach()), whole
                found[k] = copies[found[k]][1].data_ptr()
        return found

    def then_checked(name: str) -> Any:
        def call(*arguments: Any) -> None:
            usual[name](*arguments)
            for tensor, copy, whole in copies.values():
                for guard in (whole[:GUARD], whole[-GUARD:]):
                    assert torch.equal(guard.isnan() | (guard == 1), torch.ones(GUARD, dtype=torch.bool))
                tensor.copy_(copy)
                seen.append(whole)
            copies.clear()

        return call

    usual = {name: getattr(engine, name) for name in ("addresses", "run_parallel", "run_together")}
    monkeypatch.setattr(engine, "addresses", surrounded)
    for name in ("run_parallel", "run_together"):
        monkeypatch.setattr(engine, name, then_checked(name))
    return seen


@pytest.mark.parametrize("n", [1, 2, 7, 16, 19, 33, 64, 65])
@pytest.mark.parametrize("alpha", ALPHAS)
@pytest.mark.parametrize("cell", CELLS)
def test_kernels_stay_inside_the_memory_of_their_arguments(
    cell: str, alpha: str, n: int, guarded: list[Tensor]
) -> None:
    """Whatever lies around it makes no difference to them: read, NaN would reach a result."""
    for k, modulation in enumerate(MODULATIONS):
        case = make_case(18, 2, n, cell=cell, alpha=alpha, modulation=modulation, rule=RULES[(n + k) % 4])
        results, gradients = case.run(torch.float32, "numba")
        for one in (*results, *gradients.values()):
            assert one.isfinite().all()
        state, v, masks = case.state(), case.inputs, {name: m[0] for name, m in case.masks.items()}
        plastic_step_(v["drive"][0], v["w"], v.get("alpha"), v["eta"], state, **masks, **case.options)
        assert all(part.isfinite().all() for part in state)
    assert guarded


@pytest.mark.parametrize("modulation", ["none", "tanh", "one sigmoid"])
@pytest.mark.parametrize("cell", CELLS)
def test_threads_that_share_an_episode_stay_inside_too(
    cell: str, modulation: str, guarded: list[Tensor]
) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    for alpha in ALPHAS:
        case = make_case(5, 1, 277, cell=cell, alpha=alpha, modulation=modulation, rule=RULES[-1])
        results, gradients = case.run(torch.float32, "numba")
        assert all(one.isfinite().all() for one in (*results, *gradients.values()))
    torch.set_num_threads(before)
    assert guarded
