"""The specification itself: closed forms by hand, and the properties that the other layers rely on."""

from math import exp, tanh

import pytest
import torch
from recurrences import MODULATIONS, make_case
from torch import Tensor

from plasticrl.ops import plastic_scan
from plasticrl.ops.cells import CELLS
from plasticrl.rules import ClippedHebb, Delta, Hebb, Oja, Rule
from plasticrl.state import PlasticLSTMState, PlasticState

RULES = [Hebb(), Oja(), ClippedHebb(0.3), Delta()]
STEPS, BATCH, N = 6, 3, 4


def arguments(alpha_kind: str, seed: int = 0) -> dict[str, Tensor | None]:
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    alphas = {"full": draw(N, N) / 2, "shared": torch.tensor(0.4, dtype=torch.float64), "none": None}
    return {
        "drive": draw(STEPS, BATCH, N),
        "w": draw(N, N) / 2,
        "alpha": alphas[alpha_kind],
        "eta": torch.tensor(0.2, dtype=torch.float64),
        "hidden": draw(BATCH, N) / 2,
        "trace": draw(BATCH, N, N) / 10,
    }


def scan(a: dict[str, Tensor | None], **options: object) -> tuple[Tensor, PlasticState]:
    state = PlasticState(a["hidden"], a["trace"])
    return plastic_scan(a["drive"], a["w"], a["alpha"], a["eta"], state, backend="reference", **options)


@pytest.mark.parametrize(
    ("rule", "update"),
    [
        ("hebb", lambda h, x, y: 0.5 * h + 0.5 * y * x),
        ("oja", lambda h, x, y: h + 0.5 * y * (x - y * h)),
        (ClippedHebb(0.3), lambda h, x, y: max(-0.3, min(0.3, h + 0.5 * y * x))),
        ("delta", lambda h, x, y: h + 0.5 * (y - h * x) * x),
    ],
)
def test_three_steps_of_one_neuron_by_hand(rule, update):
    w, alpha, x, h = 0.7, -0.9, 0.4, 0.2
    expected = []
    for drive in (0.3, -1.2, 2.0):
        y = tanh(drive + (w + alpha * h) * x)
        h = update(h, x, y)
        x = y
        expected.append(y)
    drive = torch.tensor([0.3, -1.2, 2.0], dtype=torch.float64).view(3, 1, 1)
    one = torch.ones(1, 1, dtype=torch.float64)
    state = PlasticState(0.4 * one, 0.2 * one.view(1, 1, 1))
    eta = torch.tensor(0.5, dtype=torch.float64)
    outputs, state = plastic_scan(drive, w * one, alpha * one, eta, state, rule=rule, backend="reference")
    assert outputs.flatten().tolist() == pytest.approx(expected, abs=1e-15)
    assert state.hidden.item() == outputs[-1].item()
    assert state.trace.item() == pytest.approx(h, abs=1e-15)


def sigmoid(x: float) -> float:
    return 1 / (1 + exp(-x))


def column(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64).view(-1, 1)


def test_three_steps_of_one_lstm_cell_by_hand():
    w, alpha, eta = (0.7, -0.3, 0.9, 0.5, -0.6), -0.9, 0.5
    x, c, h, expected = 0.4, -0.8, 0.2, []
    drives = ((0.3, 0.1, -0.7, 0.2, 0.4), (-1.2, 0.6, 0.8, -0.1, 0.3), (2.0, -0.4, 1.1, 0.9, -1.5))
    for drive in drives:
        i, f, g, o, m = (d + one * x for d, one in zip(drive, w, strict=True))
        g = tanh(g + alpha * h * x)
        c = sigmoid(f) * c + sigmoid(i) * g
        h, x = (1 - eta) * h + eta * tanh(m) * g * x, sigmoid(o) * tanh(c)
        expected.append(x)
    one = column(1.0)
    outputs, state = plastic_scan(
        torch.tensor(drives, dtype=torch.float64).view(3, 1, 5), column(*w), alpha * one, eta * one[0, 0],
        PlasticLSTMState(0.4 * one, -0.8 * one, 0.2 * one[None]),
        cell="lstm", modulation="tanh", backend="reference",
    )  # fmt: skip
    assert outputs.flatten().tolist() == pytest.approx(expected, abs=1e-15)
    assert [part.item() for part in state] == pytest.approx([expected[-1], c, h], abs=1e-15)


def test_three_steps_of_one_gru_cell_by_hand():
    w, alpha, eta = (0.7, -0.3, 0.9, -0.6), -0.9, 0.5
    x, h, expected = 0.4, 0.2, []
    # The inputs of both gates, the candidate's bias inside its gate, the modulation, and the candidate.
    drives = ((0.3, 0.1, -0.7, 0.4, 0.2), (-1.2, 0.6, 0.8, 0.3, -0.1), (2.0, -0.4, 1.1, -1.5, 0.9))
    for drive in drives:
        r, z, inner, m = (d + one * x for d, one in zip(drive[:4], w, strict=True))
        n = tanh(drive[4] + sigmoid(r) * inner + alpha * h * x)
        h, x = h + eta * sigmoid(m) * (n - h * x) * x, (1 - sigmoid(z)) * n + sigmoid(z) * x
        expected.append(x)
    one = column(1.0)
    outputs, state = plastic_scan(
        torch.tensor(drives, dtype=torch.float64).view(3, 1, 5), column(*w), alpha * one, eta * one[0, 0],
        PlasticState(0.4 * one, 0.2 * one[None]),
        rule="delta", cell="gru", modulation="sigmoid", backend="reference",
    )  # fmt: skip
    assert outputs.flatten().tolist() == pytest.approx(expected, abs=1e-15)
    assert [part.item() for part in state] == pytest.approx([expected[-1], h], abs=1e-15)


@pytest.mark.parametrize("kind", ["sigmoid", "tanh"])
@pytest.mark.parametrize("cell", CELLS)
def test_one_modulation_is_that_of_every_neuron(cell, kind):
    case = make_case(5, 2, 4, cell=cell, modulation=f"one {kind}", dtype=torch.float64)
    outputs, *state = case.scan(backend="reference")
    row = CELLS[cell].sums * 4
    v = {**case.inputs}
    v["w"] = torch.cat([v["w"][:row], v["w"][row:].expand(4, -1)])
    first, own, rest = v["drive"].split([row, 1, v["drive"].shape[-1] - row - 1], -1)
    v["drive"] = torch.cat([first, own.expand(-1, -1, 4), rest], -1)
    torch.testing.assert_close(case.scan(v, backend="reference"), [outputs, *state])


def test_a_trace_element_joins_its_own_pre_and_postsynaptic_neurons():
    drive = torch.tensor([[[0.5, -0.5]]])
    state = PlasticState(torch.tensor([[1.0, 0.0]]), torch.zeros(1, 2, 2))
    zeros = torch.zeros(2, 2)
    _, state = plastic_scan(drive, zeros, zeros, torch.tensor(1.0), state, backend="reference")
    torch.testing.assert_close(state.trace[0], torch.tensor([[tanh(0.5), 0.0], [tanh(-0.5), 0.0]]))


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("kind", ["full", "shared", "none"])
def test_two_halves_make_the_whole(rule: Rule, kind):
    a = arguments(kind)
    whole, end = scan(a, rule=rule)
    first, middle = scan({**a, "drive": a["drive"][:2]}, rule=rule)
    second, last = scan({**a, "drive": a["drive"][2:], **middle._asdict()}, rule=rule)
    torch.testing.assert_close(torch.cat([first, second]), whole, rtol=0, atol=0)
    torch.testing.assert_close(last, end, rtol=0, atol=0)


@pytest.mark.parametrize("rule", RULES)
def test_episodes_of_a_batch_do_not_meet(rule: Rule):
    a = arguments("full")
    together, _ = scan(a, rule=rule)
    for b in range(BATCH):
        one = {**a, **{k: a[k][b : b + 1] for k in ("hidden", "trace")}, "drive": a["drive"][:, b : b + 1]}
        torch.testing.assert_close(scan(one, rule=rule)[0], together[:, b : b + 1], rtol=0, atol=1e-14)


def test_a_reset_starts_afresh_even_from_nan():
    a = arguments("full")
    a["hidden"][1], a["trace"][1] = torch.nan, torch.nan
    reset = torch.zeros(STEPS, BATCH, dtype=torch.bool)
    reset[0, 1] = reset[3, 0] = True
    outputs, end = scan(a, reset=reset)
    blank = {**a, "hidden": torch.zeros(BATCH, N).double(), "trace": torch.zeros(BATCH, N, N).double()}
    torch.testing.assert_close(outputs[:, 1], scan(blank)[0][:, 1])
    later, later_end = scan({**blank, "drive": a["drive"][3:]})
    torch.testing.assert_close(outputs[3:, 0], later[:, 0])
    torch.testing.assert_close(end.trace[0], later_end.trace[0])
    assert outputs.isfinite().all()


def test_a_clamped_neuron_outputs_its_drive_and_is_seen_by_the_others():
    a = arguments("full")
    clamp = torch.zeros(STEPS, BATCH, N, dtype=torch.bool)
    clamp[0, :, 2] = True
    outputs, _ = scan(a, clamp=clamp)
    torch.testing.assert_close(outputs[0, :, 2], a["drive"][0, :, 2], rtol=0, atol=0)
    hidden = scan({**a, "drive": a["drive"][:1]})[0][0].clone()
    hidden[:, 2] = a["drive"][0, :, 2]
    torch.testing.assert_close(outputs[0], hidden)
    assert not torch.allclose(outputs[1], scan(a)[0][1])


def test_without_alpha_the_trace_is_neither_used_nor_changed():
    a = arguments("none")
    reset = torch.ones(STEPS, BATCH, dtype=torch.bool)
    _, end = scan({**a, "trace": torch.full((BATCH, N, N), torch.nan)}, reset=reset)
    assert end.trace.isnan().all()
    outputs, _ = scan(a)
    torch.testing.assert_close(outputs, scan({**a, "alpha": torch.zeros(N, N).double()})[0])


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("kind", ["full", "shared", "none"])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("backend", ["reference", "adjoint"])
def test_gradients_are_those_of_finite_differences(rule: Rule, kind, masked, backend):
    a = arguments(kind, seed=1)
    generator = torch.Generator().manual_seed(2)
    masks = {}
    if masked:
        masks["reset"] = torch.rand(3, 2, generator=generator) < 0.3
        masks["clamp"] = torch.rand(3, 2, N, generator=generator) < 0.3
    names = [k for k in a if a[k] is not None]
    cut = {"drive": a["drive"][:3, :2], "hidden": a["hidden"][:2], "trace": a["trace"][:2]}
    leaves = [cut.get(k, a[k]).clone().requires_grad_() for k in names]

    def run(*values: Tensor) -> tuple[Tensor, ...]:
        v = {**a, **dict(zip(names, values, strict=True))}
        state = PlasticState(v["hidden"], v["trace"])
        y, end = plastic_scan(
            v["drive"], v["w"], v["alpha"], v["eta"], state, rule=rule, backend=backend, **masks
        )
        return y, end.hidden, end.trace

    assert torch.autograd.gradcheck(run, leaves)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("modulation", MODULATIONS)
@pytest.mark.parametrize("cell", CELLS)
def test_gradients_of_every_cell_are_those_of_finite_differences(cell, modulation, rule: Rule):
    case = make_case(3, 2, 2, cell=cell, modulation=modulation, rule=rule, eta=0.3, dtype=torch.float64)
    case.masks["reset"][2, 0] = True
    leaves = case.leaves(torch.float64)

    def run(*values: Tensor) -> tuple[Tensor, ...]:
        return tuple(case.scan(dict(zip(leaves, values, strict=True)), backend="reference"))

    assert torch.autograd.gradcheck(run, list(leaves.values()))


@pytest.mark.parametrize("rule", [Hebb(), Oja(), Delta()])
@pytest.mark.parametrize("cell", CELLS)
def test_the_reference_is_differentiable_twice(cell, rule: Rule):
    modulation = "none" if rule == Oja() else "sigmoid"
    case = make_case(3, 1, 2, cell=cell, modulation=modulation, rule=rule, dtype=torch.float64)
    leaves = case.leaves(torch.float64)

    def run(w: Tensor, alpha: Tensor, eta: Tensor) -> Tensor:
        return case.scan({**case.inputs, "w": w, "alpha": alpha, "eta": eta}, backend="reference")[0]

    assert torch.autograd.gradgradcheck(run, [leaves[name] for name in ("w", "alpha", "eta")])
