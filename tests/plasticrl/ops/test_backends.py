"""Every fused path against the reference in float64: outputs, last state and every gradient."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

from plasticrl.ops import plastic_scan
from plasticrl.ops.numba import threads as pieces
from plasticrl.rules import ClippedHebb, Hebb, Oja, Rule
from plasticrl.state import PlasticState

LEAVES = ("drive", "w", "alpha", "eta", "hidden", "trace")
ALPHAS = ["full", "shared", "none"]
RULES = [Hebb(), Oja(), ClippedHebb(0.2)]
TOLERANCE = 1e-5  # norm of the error over the norm of the gradient, float32
ETA_TOLERANCE = 1e-4  # eta: one number, the sum of T B n^2 terms of either sign
EPSILON = torch.finfo(torch.float32).eps


@pytest.fixture(autouse=True)
def poisoned() -> Iterator[None]:
    """Memory that a path asks for without saying what is in it holds NaN."""
    torch.use_deterministic_algorithms(True)
    assert torch.empty(3).isnan().all()
    yield
    torch.use_deterministic_algorithms(False)


@dataclass
class Case:
    inputs: dict[str, Tensor]
    masks: dict[str, Tensor]
    cotangents: tuple[Tensor, Tensor, Tensor]
    rule: Rule

    def run(self, dtype: torch.dtype, backend: str, **options: Any) -> tuple[list[Tensor], dict[str, Tensor]]:
        v = {k: x.to(dtype).detach().requires_grad_() for k, x in self.inputs.items()}
        state = PlasticState(v["hidden"], v["trace"])
        y, end = plastic_scan(
            v["drive"], v["w"], v.get("alpha"), v["eta"], state,
            rule=self.rule, backend=backend, **self.masks, **options,
        )  # fmt: skip
        results = [y, *end]
        loss = sum((r * c.to(dtype)).sum() for r, c in zip(results, self.cotangents, strict=True))
        gradients = torch.autograd.grad(loss, list(v.values()), materialize_grads=True)
        return [r.detach() for r in results], dict(zip(v, gradients, strict=True))


def make_case(
    steps: int, batch: int, n: int, *, eta: float = 0.1, rule: Rule = RULES[0], alpha: str = "full",
    masked: bool = True, seed: int = 0,
) -> Case:  # fmt: skip
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    inputs = {
        "drive": draw(steps, batch, n),
        "w": draw(n, n) / (2 * n**0.5),
        "eta": torch.tensor(eta),
        "hidden": draw(batch, n).tanh(),
        "trace": draw(batch, n, n) / 10,
    }
    if alpha != "none":
        inputs["alpha"] = draw(n, n) / (2 * n**0.5) if alpha == "full" else torch.tensor(0.5 / n)
    masks = {
        "reset": torch.rand(steps, batch, generator=generator) < 0.05,
        "clamp": torch.rand(steps, batch, n, generator=generator) < 0.1,
    }
    cotangents = (draw(steps, batch, n), draw(batch, n), draw(batch, n, n))
    return Case(inputs, masks if masked else {}, cotangents, rule)


def random_case(seed: int) -> Case:
    """Mostly small shapes; one in fifty is long, up to 1,000 steps."""
    g = torch.Generator().manual_seed(10_000 + seed)

    def between(low: int, high: int) -> int:
        return int(torch.randint(low, high + 1, (), generator=g))

    is_long = seed % 50 == 0
    steps = between(200, 1000) if is_long else between(1, 40)
    eta = 0.001 * 900 ** torch.rand((), generator=g).item()  # 0.001 .. 0.9
    return make_case(
        steps, between(1, 4), between(1, 40), eta=eta, rule=RULES[between(0, 2)],
        alpha=ALPHAS[between(0, 2)], masked=bool(between(0, 1)), seed=seed,
    )  # fmt: skip


def relative_error(got: Tensor, expected: Tensor) -> float:
    assert got.shape == expected.shape
    error = (got.double() - expected).norm()
    return 0.0 if error == 0 else float(error / expected.norm())


def sizes(case: Case, outputs: Tensor, d_drive: Tensor) -> dict[str, Tensor]:
    """What gradients that are sums would be if no term cancelled another: float32 resolves EPSILON of it.

    The sums are over steps and episodes, for a shared alpha over neurons too. What the trace contributes to
    a neuron's argument is what drive and fixed weights do not.
    """
    v = {name: x.double() for name, x in case.inputs.items()}
    x = torch.cat([v["hidden"].unsqueeze(0), outputs[:-1]])
    if case.masks:
        x = x.masked_fill(case.masks["reset"].unsqueeze(-1), 0)
        d_drive = d_drive.masked_fill(case.masks["clamp"], 0)
    result = {"w": torch.einsum("tbi,tbj->ij", d_drive.abs(), x.abs())}
    if "alpha" in v and v["alpha"].ndim == 0:
        argument = outputs.clamp(-1 + 1e-15, 1 - 1e-15).atanh()
        result["alpha"] = (d_drive * (argument - v["drive"] - x @ v["w"].T) / v["alpha"]).abs().sum()
    return result


def assert_agrees(case: Case, dtype: torch.dtype, backend: str, *, hand_over: bool = False) -> None:
    expected, expected_gradients = case.run(torch.float64, "reference")
    y, hidden, trace = (result.to(dtype) for result in expected)
    options = {"known": (y, PlasticState(hidden, trace))} if hand_over else {}
    results, gradients = case.run(dtype, backend, **options)
    slack = 1.0 if dtype == torch.float32 else 1e-6
    for got, wanted in zip(results, expected, strict=True):
        assert relative_error(got, wanted) <= TOLERANCE * slack
    scales = sizes(case, expected[0], expected_gradients["drive"])
    for name, wanted in expected_gradients.items():
        limit = (ETA_TOLERANCE if name == "eta" else TOLERANCE) * float(wanted.norm())
        if name in scales:
            limit = max(limit, EPSILON * float(scales[name].norm()))
        error = float((gradients[name].double() - wanted).norm())
        assert error <= limit * slack, (name, error, limit * slack)


@pytest.mark.parametrize("chunk", range(20))
def test_numba_on_500_random_shapes(chunk):
    for seed in range(25 * chunk, 25 * chunk + 25):
        assert_agrees(random_case(seed), torch.float32, "numba", hand_over=seed % 4 == 3)


@pytest.mark.parametrize("seed", range(0, 500, 20))
def test_adjoint_in_float64(seed):
    assert_agrees(random_case(seed + 1), torch.float64, "adjoint", hand_over=seed % 40 == 0)


@pytest.mark.parametrize("backend", ["numba", "adjoint"])
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 3, 8), (2, 1, 16), (17, 2, 17), (33, 5, 9)])
def test_edges_of_blocks_and_vectors_in_float32(backend, rule, shape):
    assert_agrees(make_case(*shape, rule=rule), torch.float32, backend)
    for alpha in ("shared", "none"):
        assert_agrees(make_case(*shape, rule=rule, alpha=alpha, masked=False), torch.float32, backend)


@pytest.fixture
def threads() -> Iterator[Callable[[int], None]]:
    """Sets torch's number of threads for one test."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("hand_over", [False, True])
def test_neurons_split_over_threads(threads, rule, hand_over):
    threads(2)
    assert_agrees(make_case(19, 1, 277, rule=rule, seed=2), torch.float32, "numba", hand_over=hand_over)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_any_number_of_threads(threads, count, monkeypatch):
    threads(count)
    for limit in ("WORK_PER_PIECE", "PLAIN_WORK_PER_PIECE"):
        monkeypatch.setattr(pieces, limit, 1)  # split even this little work
    for alpha in ALPHAS:
        assert_agrees(make_case(12, 5, 10, alpha=alpha), torch.float32, "numba")
        assert_agrees(make_case(12, 5, 10, alpha=alpha), torch.float32, "numba", hand_over=True)
        assert_agrees(make_case(9, 2, 400, alpha=alpha), torch.float32, "numba")


@pytest.mark.parametrize("backend", ["numba", "adjoint"])
def test_gradients_from_part_of_the_results_to_part_of_the_arguments(backend):
    case = make_case(9, 2, 11)
    for k in range(3):  # only outputs, only last hidden, only last trace
        for name in LEAVES:

            def gradient(dtype: torch.dtype, backend: str, k: int = k, name: str = name) -> Tensor:
                v = {key: x.to(dtype) for key, x in case.inputs.items()}
                v[name].requires_grad_()
                y, end = plastic_scan(
                    v["drive"], v["w"], v["alpha"], v["eta"], PlasticState(v["hidden"], v["trace"]),
                    backend=backend, **case.masks,
                )  # fmt: skip
                result = (y, *end)[k]
                (g,) = torch.autograd.grad((result * case.cotangents[k].to(dtype)).sum(), v[name])
                return g

            expected = gradient(torch.float64, "reference")
            limit = ETA_TOLERANCE if name == "eta" else TOLERANCE
            assert relative_error(gradient(torch.float32, backend), expected) <= limit, (k, name)


@pytest.mark.parametrize("backend", ["numba", "adjoint"])
def test_arguments_need_not_be_contiguous(backend):
    case = make_case(7, 3, 10)
    expected, gradients = case.run(torch.float32, backend)

    def strided(x: Tensor) -> Tensor:
        return x if x.ndim < 2 else x.mT.contiguous().mT

    case.inputs = {k: strided(x) for k, x in case.inputs.items()}
    case.masks = {k: strided(x) for k, x in case.masks.items()}
    case.cotangents = tuple(strided(x) for x in case.cotangents)
    assert not case.inputs["trace"].is_contiguous()
    got, got_gradients = case.run(torch.float32, backend)
    torch.testing.assert_close(got, expected)
    torch.testing.assert_close(got_gradients, gradients, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("backend", ["numba", "adjoint"])
def test_an_empty_batch_is_served(backend):
    results, gradients = make_case(3, 0, 5).run(torch.float32, backend)
    assert [tuple(r.shape) for r in results] == [(3, 0, 5), (0, 5), (0, 5, 5)]
    assert not gradients["w"].any()


@pytest.mark.parametrize("backend", ["numba", "adjoint"])
def test_arguments_stay_as_they_were(backend):
    case = make_case(5, 2, 9)
    before = {k: x.clone() for k, x in case.inputs.items()}
    case.run(torch.float32, backend)
    torch.testing.assert_close(case.inputs, before, rtol=0, atol=0)


@pytest.mark.parametrize("backend", ["numba", "adjoint"])
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_without_gradient(backend, mode):
    case = make_case(6, 2, 9)
    expected, _ = case.run(torch.float64, "reference")
    v = case.inputs
    with mode():
        y, end = plastic_scan(
            v["drive"], v["w"].requires_grad_(), v["alpha"], v["eta"], PlasticState(v["hidden"], v["trace"]),
            backend=backend, **case.masks,
        )  # fmt: skip
    assert not y.requires_grad
    for got, wanted in zip((y, *end), expected, strict=True):
        assert relative_error(got, wanted) <= TOLERANCE


@pytest.mark.parametrize("backend", ["numba", "adjoint"])
def test_nan_reaches_the_outputs_and_a_reset_ends_it(backend):
    case = make_case(6, 1, 9, masked=False)
    case.inputs["trace"][0, 2, 3] = torch.nan
    reset = torch.zeros(6, 1, dtype=torch.bool)
    reset[3] = True
    case.masks = {"reset": reset}
    case.cotangents = (case.cotangents[0], *(torch.zeros_like(c) for c in case.cotangents[1:]))
    case.cotangents[0][:3] = 0
    (y, _, trace), _ = case.run(torch.float32, backend)
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


@pytest.mark.parametrize("scale", [1e-20, 1e-38, 1e-42])
def test_denormals_are_as_good_as_zero_and_the_callers_own_stay(scale):
    tiny = torch.full((1,), 1e-40)
    case = make_case(30, 1, 9, eta=0.5, masked=False)
    for name in ("drive", "hidden", "trace"):
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


def test_memory_is_that_of_a_few_traces():
    steps, batch, n = 64, 2, 32
    case = make_case(steps, batch, n)
    v = {k: x.requires_grad_() for k, x in case.inputs.items()}
    saved = 0

    def count(x: Tensor) -> Tensor:
        nonlocal saved
        saved += x.numel()
        return x

    with torch.autograd.graph.saved_tensors_hooks(count, lambda x: x):
        plastic_scan(
            v["drive"], v["w"], v["alpha"], v["eta"], PlasticState(v["hidden"], v["trace"]), backend="numba"
        )
    inputs = sum(x.numel() for x in v.values())
    assert saved <= inputs + steps * batch * n
