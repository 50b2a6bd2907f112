"""The scan under ``torch.func`` and ``torch.autocast``, whatever computes it."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from recurrences import ADJOINT_RULES, RULES, Case, make_case
from torch import Tensor
from torch.func import functional_call, grad, hessian, jacfwd, jacrev, vmap

from plasticrl.nn import PlasticGRU, PlasticLSTM, PlasticRNN
from plasticrl.ops import plastic_step_
from plasticrl.ops.cells import CELLS
from plasticrl.ops.numba import engine as native
from plasticrl.rules import Rule

STEPS, BATCH, N, SAMPLES = 6, 2, 5, 3
FUSED = ["numba", "adjoint"]
SERVED = [*((name, rule) for rule in RULES for name in FUSED), *(("adjoint", rule) for rule in ADJOINT_RULES)]
EVERY_CELL = pytest.mark.parametrize("cell", CELLS)
Leaves = dict[str, Tensor]


def draw(
    alpha: str = "full", cell: str = "rnn", rule: Rule = RULES[0], dtype: torch.dtype = torch.float32
) -> Case:
    """Draw a case; gated cells have a modulation."""
    modulation = {"rnn": "none", "lstm": "sigmoid", "gru": "one tanh"}[cell]
    case = make_case(STEPS, BATCH, N, cell=cell, rule=rule, modulation=modulation, alpha=alpha, dtype=dtype)
    case.masks["reset"][3, 1] = True
    return case


def loss_of(case: Case, backend: Any, **options: Any) -> Callable[[Leaves], Tensor]:
    def loss(v: Leaves) -> Tensor:
        outputs, *end = case.scan(v, backend=backend, **options)
        weights = torch.linspace(-1, 1, outputs.numel(), dtype=outputs.dtype).reshape(outputs.shape)
        return (weights * outputs).sum() + end[0].square().sum() + end[1].pow(3).sum() + end[-1].pow(3).sum()

    return loss


def close(ours: Leaves, theirs: Leaves) -> None:
    assert ours.keys() == theirs.keys()
    for name, one in theirs.items():
        assert (ours[name] - one).norm() <= 1e-5 * one.norm() + 1e-6, name


@pytest.mark.parametrize(("backend", "rule"), SERVED, ids=lambda one: getattr(one, "name", one))
@pytest.mark.parametrize("alpha", ["full", "shared", "none"])
@pytest.mark.parametrize("with_known", [False, True])
@EVERY_CELL
def test_gradients_are_those_of_the_reference(
    cell: str, rule: Rule, alpha: str, backend: str, with_known: bool
) -> None:
    case = draw(alpha, cell, rule)
    outputs, *end = case.scan()
    options = {"known": (outputs, type(case.state())(*end))} if with_known else {}
    ours = grad(loss_of(case, backend, **options))(case.inputs)
    close(ours, grad(loss_of(case, "reference"))(case.inputs))


@pytest.mark.parametrize(
    ("cell", "rule"),
    [*(("rnn", rule) for rule in [*RULES, *ADJOINT_RULES]), ("lstm", RULES[3]), ("gru", RULES[1])],
)
@pytest.mark.parametrize("alpha", ["full", "none"])
@pytest.mark.parametrize("backend", [*FUSED, "reference"])
@pytest.mark.parametrize(
    "batched", [("drive",), ("w", "eta", "decay"), ("drive", "hidden", "trace", "w", "rate")]
)
def test_vmap_gives_each_sample_its_own_gradients(
    cell: str, rule: Rule, alpha: str, backend: str, batched: tuple[str, ...]
) -> None:
    if backend == "numba" and rule in ADJOINT_RULES:
        pytest.skip("no kernel")
    case = draw(alpha, cell, rule)
    g = torch.Generator().manual_seed(1)
    many = {
        name: one + 0.1 * torch.rand(SAMPLES, *one.shape, generator=g) if name in batched else one
        for name, one in case.inputs.items()
    }
    dims = {name: 0 if name in batched else None for name in many}
    loss = loss_of(case, backend)
    ours = vmap(grad(loss), in_dims=(dims,))(many)
    one_by_one = [
        grad(loss)({name: one[k] if name in batched else one for name, one in many.items()})
        for k in range(SAMPLES)
    ]
    close(ours, {name: torch.stack([one[name] for one in one_by_one]) for name in many})


@pytest.mark.parametrize("backend", [*FUSED, "reference"])
@pytest.mark.parametrize("alpha", ["full", "shared"])
@EVERY_CELL
def test_vmap_takes_masks_and_parameters_along_any_dimension(cell: str, backend: str, alpha: str) -> None:
    case = draw(alpha, cell)
    g = torch.Generator().manual_seed(2)
    shared = case.inputs["alpha"]
    alphas = shared * torch.linspace(0.5, 1, SAMPLES).reshape(-1, *[1] * shared.ndim)
    masks = {"reset": torch.rand(STEPS, SAMPLES, BATCH, generator=g) < 0.3}
    if "clamp" in case.masks:
        masks["clamp"] = torch.rand(STEPS, SAMPLES, BATCH, N, generator=g).movedim(1, -1) < 0.3
    dims = {"reset": 1, "clamp": 3}

    def gradients(alpha: Tensor, masks: Leaves) -> Leaves:
        return grad(loss_of(case, backend, **masks))({**case.inputs, "alpha": alpha})

    ours = vmap(gradients, in_dims=(0, {name: dims[name] for name in masks}))(alphas, masks)
    one_by_one = [
        gradients(alphas[k], {name: mask.select(dims[name], k) for name, mask in masks.items()})
        for k in range(SAMPLES)
    ]
    close(ours, {name: torch.stack([one[name] for one in one_by_one]) for name in case.inputs})


@pytest.mark.parametrize("backend", FUSED)
@EVERY_CELL
def test_vmap_takes_known_results(cell: str, backend: str) -> None:
    case = draw("full", cell)
    drives = case.inputs["drive"] + torch.linspace(0, 1, SAMPLES).reshape(-1, 1, 1, 1)

    def gradients(drive: Tensor, with_known: bool) -> Leaves:
        v = {**case.inputs, "drive": drive}
        outputs, *end = case.scan(v, backend=backend)
        options = {"known": (outputs, type(case.state())(*end))} if with_known else {}
        return grad(loss_of(case, backend, **options))(v)

    with_known, without = (vmap(lambda d, told=told: gradients(d, told))(drives) for told in (True, False))  # type: ignore[misc]
    close(with_known, without)


@pytest.mark.parametrize("backend", FUSED)
@EVERY_CELL
def test_known_results_lead_no_gradient_back(cell: str, backend: Any) -> None:
    case = draw("full", cell)
    leaves = case.leaves()
    outputs, *end = case.scan(leaves, backend=backend)
    outputs.sum().backward()
    case.scan(leaves, backend=backend, known=(outputs, type(case.state())(*end)))[0].sum().backward()


@pytest.mark.parametrize("backend", FUSED)
@EVERY_CELL
def test_the_jacobian_is_the_references(cell: str, backend: Any) -> None:
    case = draw("full", cell)

    def last(w: Tensor, backend: Any) -> Tensor:
        return case.scan({**case.inputs, "w": w}, backend=backend)[1]

    ours, theirs = (jacrev(last)(case.inputs["w"], name) for name in (backend, "reference"))
    close({"w": ours}, {"w": theirs})


@pytest.mark.parametrize("build", [PlasticRNN, PlasticLSTM, PlasticGRU])
def test_an_ensemble_of_networks_is_one_vmap(build: Any) -> None:
    networks = [build(3, N) for _ in range(SAMPLES)]
    parameters, buffers = torch.func.stack_module_state(networks)  # type: ignore[arg-type]
    inputs = torch.randn(STEPS, BATCH, 3)
    outputs = vmap(lambda p, b: functional_call(networks[0], (p, b), (inputs,))[0])(parameters, buffers)
    for ours, network in zip(outputs, networks, strict=True):
        torch.testing.assert_close(ours, network(inputs)[0])


@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")  # torch's own
@pytest.mark.parametrize("rule", [RULES[-1], *ADJOINT_RULES], ids=lambda rule: rule.name)
@EVERY_CELL
def test_torch_compile_takes_the_adjoint_whole(cell: str, rule: Rule) -> None:
    torch._dynamo.reset()  # it compiles one function for at most eight rules
    case = draw("full", cell, rule)
    loss = loss_of(case, "adjoint")
    results = []
    for function in (torch.compile(loss, fullgraph=True, backend="eager"), loss):
        v = case.leaves()
        function(v).backward()
        results.append({name: leaf.grad for name, leaf in v.items() if leaf.grad is not None})
    assert results[0].keys() == case.inputs.keys()
    close(*results)


@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")  # torch's own
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")  # torch's own
@pytest.mark.parametrize("alpha", ["full", "none"])
@pytest.mark.parametrize("build", [PlasticRNN, PlasticLSTM])
def test_torch_compile_stays_out_of_the_kernels_calls(
    build: Any, alpha: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would follow numba's compiler where there are no compiled kernels yet, and fail there."""
    traced = []

    def addresses(tensors: Any) -> Any:
        traced.append(torch.compiler.is_compiling())
        return usual(tensors)

    usual = native.addresses
    monkeypatch.setattr(native, "addresses", addresses)
    rnn, inputs = build(4, N, alpha=alpha), torch.randn(STEPS, BATCH, 4)
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
@EVERY_CELL
def test_what_is_not_there_is_refused(cell: str, transform: Any, backend: str) -> None:
    case = draw("full", cell)
    loss = loss_of(case, backend)
    first = grad(loss)
    twice = transform(loss) if transform is hessian else transform(lambda v: first(v)["w"].sum())
    with pytest.raises(RuntimeError, match='backend="reference"'):
        twice(case.inputs)


# The reference's gradients are plain torch's, which inside autocast are in half precision.
@pytest.mark.parametrize(
    ("backend", "back_inside"),
    [*((name, inside) for name in FUSED for inside in (False, True)), ("reference", False)],
)
@EVERY_CELL
def test_autocast_leaves_the_recurrence_in_the_dtype_of_its_weights(
    cell: str, backend: Any, back_inside: bool
) -> None:
    case = draw("full", cell, RULES[-1])
    leaves = case.leaves()
    half = case.inputs["drive"].to(torch.bfloat16)
    names = [name for name in leaves if name != "drive"]

    def gradients(outputs: Tensor) -> Leaves:
        found = torch.autograd.grad(outputs.float().square().sum(), [leaves[name] for name in names])
        return dict(zip(names, found, strict=True))

    expected, *end = case.scan({**leaves, "drive": half.float()}, backend=backend)
    expected_gradients = gradients(expected)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        outputs, *last = case.scan({**leaves, "drive": half}, backend=backend)
        found = gradients(outputs) if back_inside else {}
    found = found or gradients(outputs)
    assert {one.dtype for one in (outputs, *last)} == {torch.float32}
    torch.testing.assert_close([outputs, *last], [expected, *end], rtol=0, atol=0)
    for name in names:
        torch.testing.assert_close(found[name], expected_gradients[name], rtol=0, atol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@EVERY_CELL
def test_a_step_under_autocast_is_that_without(cell: str, dtype: torch.dtype) -> None:
    case = draw("full", cell, dtype=dtype)
    v = case.inputs
    half = v["drive"][0].to(torch.bfloat16)
    results = []
    for enabled, drive in ((False, half.to(dtype)), (True, half)):
        state = type(case.state())(*(part.clone() for part in case.state()))
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
            y = plastic_step_(drive, v["w"], v["alpha"], v["eta"], state, **case.options)
        results.append((y, *state))
    for ours, theirs in zip(*results, strict=True):
        assert ours.dtype == dtype
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0)
