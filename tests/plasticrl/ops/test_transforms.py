"""The scan under ``torch.func`` and ``torch.autocast``, whatever computes it."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.func import functional_call, grad, hessian, jacfwd, jacrev, vmap

from plasticrl.nn import PlasticRNN
from plasticrl.ops import plastic_scan, plastic_step_
from plasticrl.ops.numba import engine as native
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


@pytest.mark.parametrize("backend", [*FUSED, "reference"])
@pytest.mark.parametrize("alpha", ["full", "shared"])
def test_vmap_takes_masks_and_parameters_along_any_dimension(backend: str, alpha: str) -> None:
    leaves, _ = draw(alpha)
    g = torch.Generator().manual_seed(2)
    alphas = leaves["alpha"] * torch.linspace(0.5, 1, SAMPLES).reshape(-1, *[1] * leaves["alpha"].ndim)
    masks = {
        "reset": torch.rand(STEPS, SAMPLES, BATCH, generator=g) < 0.3,
        "clamp": torch.rand(STEPS, BATCH, N, SAMPLES, generator=g) < 0.3,
    }

    def gradients(alpha: Tensor, reset: Tensor, clamp: Tensor) -> Leaves:
        loss = loss_of(Hebb(), backend, {"reset": reset, "clamp": clamp})
        return grad(loss)({**leaves, "alpha": alpha})

    ours = vmap(gradients, in_dims=(0, 1, 3))(alphas, masks["reset"], masks["clamp"])
    one_by_one = [gradients(alphas[k], masks["reset"][:, k], masks["clamp"][..., k]) for k in range(SAMPLES)]
    close(ours, {name: torch.stack([one[name] for one in one_by_one]) for name in leaves})


@pytest.mark.parametrize("backend", FUSED)
def test_vmap_takes_known_results(backend: str) -> None:
    leaves, masks = draw("full")
    drives = leaves["drive"] + torch.linspace(0, 1, SAMPLES).reshape(-1, 1, 1, 1)

    def gradients(drive: Tensor, with_known: bool) -> Leaves:
        v = {**leaves, "drive": drive}
        state = PlasticState(v["hidden"], v["trace"])
        known = plastic_scan(drive, v["w"], v["alpha"], v["eta"], state, backend=backend, **masks)  # type: ignore[arg-type]
        return grad(loss_of(Hebb(), backend, masks, known if with_known else None))(v)

    with_known, without = (vmap(lambda d, told=told: gradients(d, told))(drives) for told in (True, False))  # type: ignore[misc]
    close(with_known, without)


@pytest.mark.parametrize("backend", FUSED)
def test_known_results_lead_no_gradient_back(backend: Any) -> None:
    leaves, masks = draw("full")
    leaves = {name: leaf.requires_grad_() for name, leaf in leaves.items()}
    arguments = (leaves["w"], leaves["alpha"], leaves["eta"], PlasticState(leaves["hidden"], leaves["trace"]))
    known = plastic_scan(leaves["drive"], *arguments, backend=backend, **masks)
    known[0].sum().backward()
    plastic_scan(leaves["drive"], *arguments, backend=backend, known=known, **masks)[0].sum().backward()


@pytest.mark.parametrize("backend", FUSED)
def test_the_jacobian_is_the_references(backend: Any) -> None:
    leaves, masks = draw("full")

    def last(w: Tensor, backend: Any) -> Tensor:
        state = PlasticState(leaves["hidden"], leaves["trace"])
        rest = (leaves["alpha"], leaves["eta"], state)
        return plastic_scan(leaves["drive"], w, *rest, backend=backend, **masks)[1].hidden

    ours, theirs = (jacrev(last)(leaves["w"], name) for name in (backend, "reference"))
    close({"w": ours}, {"w": theirs})


def test_an_ensemble_of_networks_is_one_vmap() -> None:
    networks = [PlasticRNN(3, N) for _ in range(SAMPLES)]
    parameters, buffers = torch.func.stack_module_state(networks)  # type: ignore[arg-type]
    inputs = torch.randn(STEPS, BATCH, 3)
    outputs = vmap(lambda p, b: functional_call(networks[0], (p, b), (inputs,))[0])(parameters, buffers)
    for ours, network in zip(outputs, networks, strict=True):
        torch.testing.assert_close(ours, network(inputs)[0])


@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")  # torch's own
def test_torch_compile_takes_the_adjoint_whole() -> None:
    leaves, masks = draw("full")
    loss = loss_of(Hebb(), "adjoint", masks)
    results = []
    for function in (torch.compile(loss, fullgraph=True, backend="eager"), loss):
        v = {name: leaf.clone().requires_grad_() for name, leaf in leaves.items()}
        function(v).backward()
        results.append({name: leaf.grad for name, leaf in v.items() if leaf.grad is not None})
    assert results[0].keys() == leaves.keys()
    close(*results)


@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")  # torch's own
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")  # torch's own
@pytest.mark.parametrize("alpha", ["full", "none"])
def test_torch_compile_stays_out_of_the_kernels_calls(alpha: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would follow numba's compiler where there are no compiled kernels yet, and fail there."""
    traced = []

    def addresses(tensors: Any) -> Any:
        traced.append(torch.compiler.is_compiling())
        return usual(tensors)

    usual = native.addresses
    monkeypatch.setattr(native, "addresses", addresses)
    rnn, inputs = PlasticRNN(4, N, alpha=alpha), torch.randn(STEPS, BATCH, 4)
    results = []
    for function in (torch.compile(rnn, backend="eager"), rnn):
        rnn.zero_grad()
        outputs, _ = function(inputs)
        outputs.square().sum().backward()
        results.append({name: leaf.grad.clone() for name, leaf in rnn.named_parameters()})
        with torch.no_grad():
            function(inputs)
    assert set(traced) == {False}
    close(*results)


@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")  # torch's own forward mode
@pytest.mark.parametrize("backend", FUSED)
@pytest.mark.parametrize("transform", [grad, jacfwd, hessian])
def test_what_is_not_there_is_refused(transform: Any, backend: str) -> None:
    leaves, masks = draw("full")
    loss = loss_of(Hebb(), backend, masks)
    first = grad(loss)
    twice = transform(loss) if transform is hessian else transform(lambda v: first(v)["w"].sum())
    with pytest.raises(RuntimeError, match='backend="reference"'):
        twice(leaves)


# The reference's gradients are plain torch's, which inside autocast are in half precision.
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
