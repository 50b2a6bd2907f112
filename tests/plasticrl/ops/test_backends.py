"""Every fused path against the reference in float64: outputs, last state and every gradient."""

from collections.abc import Callable, Iterator

import pytest
import torch
from recurrences import ADJOINT_RULES, ALPHAS, MODULATIONS, RULES, Case, make_case
from torch import Tensor

from plasticrl.ops import plastic_scan
from plasticrl.ops.cells import CELLS
from plasticrl.ops.numba import engine
from plasticrl.ops.problem import presynaptic
from plasticrl.ops.reference import reference_scan
from plasticrl.ops.scan import make_problem
from plasticrl.rules import Rule
from plasticrl.state import PlasticLSTMState, PlasticState

TOLERANCE = 1e-5  # norm of the error over the norm of the gradient, float32
EPSILON = torch.finfo(torch.float32).eps
FUSED = pytest.mark.parametrize("backend", ["numba", "adjoint"])
EVERY_CELL = pytest.mark.parametrize("cell", CELLS)
EVERY_RULE = pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)


@pytest.fixture(autouse=True)
def poisoned() -> Iterator[None]:
    """Memory that a path asks for without saying what is in it holds NaN."""
    torch.use_deterministic_algorithms(True)
    assert torch.empty(3).isnan().all()
    yield
    torch.use_deterministic_algorithms(False)


def random_case(seed: int, cell: str, rules: list[Rule] = RULES) -> Case:
    """Draw a case, mostly of a small shape; one in fifty is long, up to 1,000 steps."""
    g = torch.Generator().manual_seed(10_000 + seed)

    def between(low: int, high: int) -> int:
        return int(torch.randint(low, high + 1, (), generator=g))

    steps = between(200, 1000) if seed % 50 == 0 else between(1, 40)
    eta = 0.001 * 900 ** torch.rand((), generator=g).item()  # 0.001 .. 0.9
    return make_case(
        steps, between(1, 4), between(1, 40), cell=cell, eta=eta, rule=rules[between(0, len(rules) - 1)],
        modulation=MODULATIONS[between(0, len(MODULATIONS) - 1)], alpha=ALPHAS[between(0, 2)],
        masked=bool(between(0, 1)), seed=seed,
    )  # fmt: skip


def relative_error(got: Tensor, expected: Tensor) -> float:
    assert got.shape == expected.shape
    error = (got.double() - expected).norm()
    return 0.0 if error == 0 else float(error / expected.norm())


def one_row_for_each(case: Case) -> Case:
    """Return the same net with a modulation for each neuron, all of the same row of w."""
    n = case.inputs["w"].shape[1]
    first = CELLS[case.cell].sums * n
    repeats = torch.ones(case.inputs["drive"].shape[-1], dtype=torch.int64)
    repeats[first] = n
    inputs = {
        **case.inputs,
        "drive": case.inputs["drive"].repeat_interleave(repeats, -1),
        "w": case.inputs["w"].repeat_interleave(repeats[: first + 1], 0),
    }
    return Case(inputs, case.masks, case.rule, case.cell, case.modulation.split()[-1], case.cotangents)


def sizes(case: Case) -> dict[str, Tensor]:
    """Return gradients that are sums as if no term cancelled another: float32 resolves EPSILON of them.

    The terms are those of each step, episode and neuron: every one gets parameters of its own.
    """
    n, rows = case.inputs["w"].shape[::-1]
    one = case.modulation.startswith("one") and n > 1
    v = one_row_for_each(case).leaves(torch.float64) if one else case.leaves(torch.float64)
    masks = (case.masks.get("reset"), case.masks.get("clamp"))
    p = make_problem(v["drive"], v["w"], v.get("alpha"), v["eta"], case.state(v), *masks, **case.options)
    shared = p.alpha is not None and p.alpha.ndim == 0
    alphas, etas, xs, outputs, now = [], [], [], [], p
    for t in range(len(p.drive)):
        etas.append(p.eta.expand(len(p.hidden), n).clone())
        alphas.append(p.alpha.expand(len(p.hidden), n, 1).clone() if shared else p.alpha)
        reset, clamp = (None if mask is None else mask[t : t + 1] for mask in masks)
        now = now._replace(drive=p.drive[t : t + 1], alpha=alphas[t], eta=etas[t], reset=reset, clamp=clamp)
        xs.append(presynaptic(now, now.hidden[None]).detach())
        y, memory, trace, _ = reference_scan(now)
        now = now._replace(hidden=y[0], memory=memory, trace=trace)
        outputs.append(y)
    last = [torch.cat(outputs), now.hidden, *([] if now.memory is None else [now.memory]), now.trace]
    loss = sum((r * c).sum() for r, c in zip(last, case.cotangents, strict=True))
    wanted = [p.drive, *etas, *(alphas if shared else [])]
    d_drive, *d = torch.autograd.grad(loss, wanted, materialize_grads=True)
    terms = d_drive[..., : len(p.w)].abs()
    terms = terms if masks[1] is None else terms.masked_fill(masks[1], 0)
    w = torch.einsum("tbi,tbj->ij", terms, torch.cat(xs).abs())
    result = {"w": torch.cat([w[: rows - 1], w[rows - 1 :].sum(0, keepdim=True)]) if one else w}
    result["eta"] = torch.stack(d[: len(etas)]).abs().sum()
    if shared:
        result["alpha"] = torch.stack(d[len(etas) :]).abs().sum()
    return result


def assert_agrees(case: Case, dtype: torch.dtype, backend: str, *, hand_over: bool = False) -> None:
    expected, expected_gradients = case.run(torch.float64, "reference")
    results = [result.to(dtype) for result in expected]
    options = {"known": (results[0], type(case.state())(*results[1:]))} if hand_over else {}
    results, gradients = case.run(dtype, backend, **options)
    slack = 1.0 if dtype == torch.float32 else 1e-6
    for got, wanted in zip(results, expected, strict=True):
        assert relative_error(got, wanted) <= TOLERANCE * slack
    for name, wanted in expected_gradients.items():
        limit = TOLERANCE * float(wanted.norm())
        error = float((gradients[name].double() - wanted).norm())
        if error > limit * slack:
            limit = EPSILON * float(sizes(case).get(name, torch.zeros(())).norm())
        assert error <= limit * slack, (name, error, limit * slack)


@pytest.mark.parametrize("chunk", range(20))
@EVERY_CELL
def test_numba_on_500_random_shapes(cell, chunk):
    for seed in range(25 * chunk, 25 * chunk + 25):
        assert_agrees(random_case(seed, cell), torch.float32, "numba", hand_over=seed % 4 == 3)


@pytest.mark.parametrize("seed", range(0, 500, 20))
@EVERY_CELL
def test_adjoint_in_float64(cell, seed):
    assert_agrees(random_case(seed + 1, cell), torch.float64, "adjoint", hand_over=seed % 40 == 0)


@pytest.mark.parametrize("seed", range(100))
@EVERY_CELL
def test_adjoint_of_the_rules_without_a_kernel_in_float64(cell, seed):
    assert_agrees(random_case(seed, cell, ADJOINT_RULES), torch.float64, "adjoint", hand_over=seed % 4 == 3)


@pytest.mark.parametrize("rule", ADJOINT_RULES, ids=lambda rule: rule.name)
@pytest.mark.parametrize("modulation", MODULATIONS)
@EVERY_CELL
def test_adjoint_of_the_rules_without_a_kernel_in_float32(cell, modulation, rule):
    for alpha in ("full", "shared"):
        case = make_case(17, 3, 9, cell=cell, rule=rule, modulation=modulation, alpha=alpha, seed=1)
        _, expected = case.run(torch.float64, "reference")
        _, gradients = case.run(torch.float32, "adjoint")
        for name, wanted in expected.items():
            # One number is a sum of terms of either sign.
            limit = TOLERANCE if wanted.ndim else 1e-4
            assert relative_error(gradients[name], wanted) <= limit, name


@FUSED
@EVERY_RULE
@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 3, 8), (2, 1, 16), (17, 2, 17), (33, 5, 9)])
def test_edges_of_blocks_and_vectors_in_float32(backend, rule, shape):
    for alpha, cell, masked in zip(ALPHAS, CELLS, (True, False, False), strict=True):
        assert_agrees(make_case(*shape, rule=rule, alpha=alpha, masked=masked), torch.float32, backend)
        case = make_case(*shape, rule=rule, cell=cell, modulation="sigmoid", masked=masked)
        assert_agrees(case, torch.float32, backend)


@pytest.fixture
def threads() -> Iterator[Callable[[int], None]]:
    """Sets torch's number of threads for one test."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.mark.parametrize("hand_over", [False, True])
@EVERY_RULE
def test_neurons_split_over_threads(threads, rule, hand_over):
    threads(2)
    for k, cell in enumerate(CELLS if not hand_over else ["rnn"]):
        modulation = MODULATIONS[(RULES.index(rule) + k) % len(MODULATIONS)]
        case = make_case(19, 1, 277, rule=rule, cell=cell, modulation=modulation, seed=2)
        assert_agrees(case, torch.float32, "numba", hand_over=hand_over)


@pytest.mark.parametrize("count", [1, 2, 3])
@EVERY_CELL
def test_any_number_of_threads(threads, cell, count, monkeypatch):
    threads(count)
    for limit in ("WORK_PER_PIECE", "PLAIN_WORK_PER_PIECE"):
        monkeypatch.setattr(engine, limit, 1)  # split even this little work
    for alpha, modulation in zip(ALPHAS, ["one tanh", "sigmoid", "one sigmoid"], strict=True):
        for given in ("none", modulation):
            case = make_case(12, 5, 10, alpha=alpha, cell=cell, modulation=given, rule=RULES[-1])
            assert_agrees(case, torch.float32, "numba")
            assert_agrees(case, torch.float32, "numba", hand_over=True)
        wide = make_case(4, 2, 400, alpha=alpha, cell=cell, modulation=modulation)
        assert_agrees(wide, torch.float32, "numba")


@FUSED
@EVERY_CELL
def test_gradients_from_part_of_the_results_to_part_of_the_arguments(backend, cell):
    modulation = "none" if cell == "rnn" else "sigmoid"
    case = make_case(9, 2, 11, cell=cell, rule=RULES[-1], modulation=modulation)
    for k, cotangent in enumerate(case.cotangents):  # only outputs, only last hidden ..
        for name in case.inputs:

            def gradient(dtype, backend, k=k, name=name, cotangent=cotangent) -> Tensor:
                v = {key: x.to(dtype, copy=True) for key, x in case.inputs.items()}
                v[name].requires_grad_()
                result = case.scan(v, backend=backend)[k]
                (g,) = torch.autograd.grad((result * cotangent.to(dtype)).sum(), v[name])
                return g

            expected = gradient(torch.float64, "reference")
            limit = 1e-4 if name == "eta" else TOLERANCE  # one number, the sum of terms of either sign
            assert relative_error(gradient(torch.float32, backend), expected) <= limit, (k, name)


@FUSED
@EVERY_CELL
def test_arguments_need_not_be_contiguous(backend, cell):
    case = make_case(7, 3, 10, cell=cell, modulation="none" if cell == "rnn" else "tanh")
    expected, gradients = case.run(torch.float32, backend)

    def strided(x: Tensor) -> Tensor:
        return x if x.ndim < 2 else x.mT.contiguous().mT

    case.inputs = {k: strided(x) for k, x in case.inputs.items()}
    case.masks = {k: strided(x) for k, x in case.masks.items()}
    case.cotangents = [strided(x) for x in case.cotangents]
    assert not case.inputs["trace"].is_contiguous()
    got, got_gradients = case.run(torch.float32, backend)
    torch.testing.assert_close(got, expected)
    torch.testing.assert_close(got_gradients, gradients, rtol=1e-4, atol=1e-5)


@FUSED
@pytest.mark.parametrize("modulation", MODULATIONS)
@EVERY_CELL
def test_an_empty_batch_is_served(backend, cell, modulation):
    case = make_case(3, 0, 5, cell=cell, modulation=modulation)
    results, gradients = case.run(torch.float32, backend)
    assert [r.shape for r in results] == [c.shape for c in case.cotangents]
    assert gradients["drive"].shape == case.inputs["drive"].shape
    assert not gradients["w"].any()


@FUSED
@EVERY_CELL
def test_arguments_stay_as_they_were(backend, cell):
    case = make_case(5, 2, 9, cell=cell)
    before = {k: x.clone() for k, x in case.inputs.items()}
    case.run(torch.float32, backend)
    torch.testing.assert_close(case.inputs, before, rtol=0, atol=0)


@FUSED
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
@EVERY_CELL
def test_without_gradient(backend, mode, cell):
    case = make_case(6, 2, 9, cell=cell)
    expected, _ = case.run(torch.float64, "reference")
    case.inputs["w"].requires_grad_()
    with mode():
        results = case.scan(backend=backend)
    assert not results[0].requires_grad
    for got, wanted in zip(results, expected, strict=True):
        assert relative_error(got, wanted) <= TOLERANCE


@FUSED
@EVERY_CELL
def test_nan_reaches_the_outputs_and_a_reset_ends_it(backend, cell):
    case = make_case(6, 1, 9, cell=cell, masked=False)
    case.inputs["trace"][0, 2, 3] = torch.nan
    reset = torch.zeros(6, 1, dtype=torch.bool)
    reset[3] = True
    case.masks = {"reset": reset}
    case.cotangents = [case.cotangents[0], *(torch.zeros_like(c) for c in case.cotangents[1:])]
    case.cotangents[0][:3] = 0
    (y, *_, trace), _ = case.run(torch.float32, backend)
    assert y[0, 0, 2].isnan()
    assert y[1:3].isnan().all()
    assert y[3:].isfinite().all()
    assert trace.isfinite().all()


def test_tanh_is_float32_tanh_over_its_whole_range():
    x = torch.cat([torch.linspace(-12, 12, 40_001), torch.logspace(-37, 38, 1001), torch.tensor([torch.inf])])
    n = len(x)
    zeros = torch.zeros(1, 1)
    drive = x.view(1, n, 1)
    state = PlasticState(torch.zeros(n, 1), torch.zeros(n, 1, 1))
    y, _ = plastic_scan(drive, zeros, zeros, torch.tensor(0.1), state, backend="numba")
    expected = x.double().tanh()
    torch.testing.assert_close(y.flatten().double(), expected, rtol=1.3e-7, atol=0)


def test_sigmoid_is_as_precise_as_1_over_its_whole_range():
    x = torch.cat([torch.linspace(-40, 40, 40_001), torch.tensor([-torch.inf, -1e30, 1e30, torch.inf])])
    n = len(x)
    drive = torch.stack([x, torch.zeros(n), torch.full((n,), 50.0), torch.zeros(n)], -1)[None]
    state = PlasticLSTMState(*torch.zeros(2, n, 1), torch.zeros(n, 0, 0))
    zeros = torch.zeros(4, 1)
    _, end = plastic_scan(drive, zeros, None, torch.tensor(0.1), state, cell="lstm", backend="numba")
    assert isinstance(end, PlasticLSTMState)  # its cell state is now the gate of the input, which is 1
    torch.testing.assert_close(end.cell.flatten().double(), x.double().sigmoid(), rtol=0, atol=EPSILON / 2)


@pytest.mark.parametrize("scale", [1e-20, 1e-38, 1e-42])
@EVERY_CELL
def test_denormals_are_as_good_as_zero_and_the_callers_own_stay(cell, scale):
    tiny = torch.full((1,), 1e-40)
    case = make_case(30, 1, 9, cell=cell, eta=0.5, masked=False)
    for name in set(case.inputs) & {"drive", "hidden", "trace", "cell"}:
        case.inputs[name] = case.inputs[name] * scale
    expected, expected_gradients = case.run(torch.float64, "reference")
    results, gradients = case.run(torch.float32, "numba")
    for got, wanted in zip(results, expected, strict=True):
        torch.testing.assert_close(
            got.double(), wanted, rtol=0, atol=1e-5 * float(wanted.abs().max()) + 1e-37
        )
    for name, wanted in expected_gradients.items():
        limit = 1e-5 * float(wanted.abs().max()) + 1e-36
        torch.testing.assert_close(gradients[name].double(), wanted, rtol=0, atol=limit)
    assert (tiny * 1).item() == pytest.approx(1e-40, rel=1e-4)


@EVERY_CELL
def test_memory_is_that_of_a_few_traces(cell):
    steps, batch, n = 64, 2, 32
    case = make_case(steps, batch, n, cell=cell, masked=False)
    saved = 0

    def count(x: Tensor) -> Tensor:
        nonlocal saved
        saved += x.numel()
        return x

    v = case.leaves()
    with torch.autograd.graph.saved_tensors_hooks(count, lambda x: x):
        case.scan(v, backend="numba")
    values = 1 + CELLS[cell].recorded  # of each neuron and step
    assert saved <= sum(x.numel() for x in v.values()) + values * steps * batch * n
