"""The scan under ``torch.func`` and ``torch.autocast``, whatever computes it."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.func import functional_call, grad, vmap

from plasticrl.nn import PlasticRNN
from plasticrl.ops import plastic_scan, plastic_step_
from plasticrl.rules import ClippedHebb, Hebb, Oja, Rule
from plasticrl.state import PlasticState

STEPS, BATCH, N, SAMPLES = 6, 2, 5, 3
FUSED = ["numba", "adjoint"]
Leaves = dict[str, Tensor]


def draw(alpha: str, dtype: torch.dtype = torch.float32) -> tuple[Leaves, Leaves]:
    """What is differentiable, and the masks."""
    g = torch.Generator().manual_seed(0)
    alphas = {"full": torch.randn(N, N, generator=g) / 5, "shared": torch.tensor(0.3)}
    leaves = {
        "drive": torch.randn(STEPS, BATCH, N, generator=g),
        "w": torch.randn(N, N, generator=g) / 5,
        "eta": torch.tensor(0.1),
        "hidden": torch.randn(BATCH, N, generator=g).tanh(),
        "trace": torch.randn(BATCH, N, N, generator=g) / 10,
    }
    if alpha in alphas:
        leaves["alpha"] = alphas[alpha]
    masks = {
        "reset": torch.rand(STEPS, BATCH, generator=g) < 0.2,
        "clamp": torch.rand(STEPS, BATCH, N, generator=g) < 0.2,
    }
    return {name: leaf.to(dtype) for name, leaf in leaves.items()}, masks


def loss_of(rule: Rule, backend: Any, masks: Leaves, known: Any = None) -> Callable[[Leaves], Tensor]:
    def loss(v: Leaves) -> Tensor:
        state = PlasticState(v["hidden"], v["trace"])
        outputs, end = plastic_scan(
            v["drive"], v["w"], v.get("alpha"), v["eta"], state,
            rule=rule, backend=backend, known=known, **masks,
        )  # fmt: skip
        weights = torch.linspace(-1, 1, outputs.numel(), dtype=outputs.dtype).reshape(outputs.shape)
        return (weights * outputs).sum() + end.hidden.square().sum() + end.trace.pow(3).sum()

    return loss


def close(ours: Leaves, theirs: Leaves) -> None:
    assert ours.keys() == theirs.keys()
    for name, one in theirs.items():
        assert (ours[name] - one).norm() <= 1e-5 * one.norm() + 1e-6, name


@pytest.mark.parametrize("rule", [Hebb(), Oja(), ClippedHebb(0.2)], ids=lambda rule: rule.name)
@pytest.mark.parametrize("alpha", ["full", "shared", "none"])
@pytest.mark.parametrize("backend", FUSED)
@pytest.mark.parametrize("with_known", [False, True])
def test_gradients_are_those_of_the_reference(rule: Rule, alpha: str, backend: str, with_known: bool) -> None:
    leaves, masks = draw(alpha)
    state = PlasticState(leaves["hidden"], leaves["trace"])
    known = plastic_scan(
        leaves["drive"], leaves["w"], leaves.get("alpha"), leaves["eta"], state, rule=rule, **masks
    )
    ours = grad(loss_of(rule, backend, masks, known if with_known else None))(leaves)
    close(ours, grad(loss_of(rule, "reference", masks))(leaves))


@pytest.mark.parametrize("rule", [Hebb(), Oja(), ClippedHebb(0.2)], ids=lambda rule: rule.name)
@pytest.mark.parametrize("alpha", ["full", "none"])
@pytest.mark.parametrize("backend", [*FUSED, "reference"])
@pytest.mark.parametrize("batched", [("drive",), ("w", "eta"), ("drive", "hidden", "trace", "w")])
def test_vmap_gives_each_sample_its_own_gradients(
    rule: Rule, alpha: str, backend: str, batched: tuple[str, ...]
) -> None:
    leaves, masks = draw(alpha)
    g = torch.Generator().manual_seed(1)
    many = {
        name: one + 0.1 * torch.rand(SAMPLES, *one.shape, generator=g) if name in batched else one
        for name, one in leaves.items()
    }
    dims = {name: 0 if name in batched else None for name in leaves}
    loss = loss_of(rule, backend, masks)
    ours = vmap(grad(loss), in_dims=(dims,))(many)
    one_by_one = [
        grad(loss)({name: one[k] if name in batched else one for name, one in many.items()})
        for k in range(SAMPLES)
    ]
    close(ours, {name: torch.stack([one[name] for one in one_by_one]) for name in leaves})


def test_an_ensemble_of_networks_is_one_vmap() -> None:
    networks = [PlasticRNN(3, N) for _ in range(SAMPLES)]
    parameters, buffers = torch.func.stack_module_state(networks)  # type: ignore[arg-type]
    inputs = torch.randn(STEPS, BATCH, 3)
    outputs = vmap(lambda p, b: functional_call(networks[0], (p, b), (inputs,))[0])(parameters, buffers)
    for ours, network in zip(outputs, networks, strict=True):
        torch.testing.assert_close(ours, network(inputs)[0])


@pytest.mark.parametrize("backend", FUSED)
def test_second_derivatives_are_refused(backend: str) -> None:
    leaves, masks = draw("full")
    first = grad(loss_of(Hebb(), backend, masks))
    with pytest.raises(RuntimeError, match='backend="reference"'):
        grad(lambda v: first(v)["w"].sum())(leaves)


@pytest.mark.parametrize(
    ("backend", "back_inside"),
    [*((name, inside) for name in FUSED for inside in (False, True)), ("reference", False)],
)
def test_autocast_leaves_the_recurrence_in_the_dtype_of_its_weights(backend: Any, back_inside: bool) -> None:
    leaves, masks = draw("full")
    leaves = {name: leaf.requires_grad_() for name, leaf in leaves.items()}
    state = PlasticState(leaves["hidden"], leaves["trace"])
    rest = (leaves["w"], leaves["alpha"], leaves["eta"], state)
    half = leaves["drive"].to(torch.bfloat16)
    names = [name for name in leaves if name != "drive"]

    def gradients(outputs: Tensor) -> Leaves:
        found = torch.autograd.grad(outputs.float().square().sum(), [leaves[name] for name in names])
        return dict(zip(names, found, strict=True))

    expected, end = plastic_scan(half.float(), *rest, backend=backend, **masks)
    expected_gradients = gradients(expected)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        outputs, last = plastic_scan(half, *rest, backend=backend, **masks)
        found = gradients(outputs) if back_inside else {}
    found = found or gradients(outputs)
    assert outputs.dtype == last.trace.dtype == torch.float32
    torch.testing.assert_close(outputs, expected, rtol=0, atol=0)
    torch.testing.assert_close(last.trace, end.trace, rtol=0, atol=0)
    for name in names:
        torch.testing.assert_close(found[name], expected_gradients[name], rtol=0, atol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_step_under_autocast_is_that_without(dtype: torch.dtype) -> None:
    leaves, _ = draw("full", dtype)
    half = leaves["drive"][0].to(torch.bfloat16)
    results = []
    for enabled, drive in ((False, half.to(dtype)), (True, half)):
        state = PlasticState(leaves["hidden"].clone(), leaves["trace"].clone())
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
            y = plastic_step_(drive, leaves["w"], leaves["alpha"], leaves["eta"], state)
        results.append((y, *state))
    for ours, theirs in zip(*results, strict=True):
        assert ours.dtype == dtype
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0)
