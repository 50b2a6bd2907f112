"""The plastic recurrent network: cell and loop, clamp, eta, initialisation, gradients."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from plasticrl import Hebb, Oja, PlasticRNN, PlasticRNNCell
from plasticrl.nn import AlphaMode, Init
from plasticrl.rules import RULES

T, B, N = 6, 3, 5
ALPHAS = pytest.mark.parametrize("alpha", ["full", "shared", "none"])
EVERY_RULE = pytest.mark.parametrize("rule", RULES)


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def network(input_size: int | None = 4, **options: Any) -> PlasticRNN:
    torch.manual_seed(0)
    return PlasticRNN(input_size, N, **{"eta": 0.3, "init": "normal", "init_scale": 0.5, **options})


@ALPHAS
@EVERY_RULE
@pytest.mark.parametrize("with_clamp", [False, True])
def test_the_cell_in_a_loop_is_the_network(alpha: AlphaMode, rule: str, with_clamp: bool) -> None:
    rnn = network(alpha=alpha, rule=rule)
    cell = PlasticRNNCell(4, N, alpha=alpha, rule=rule)
    cell.load_state_dict(rnn.state_dict())
    inputs, reset, clamp = noise(T, B, 4), noise(T, B, seed=1) > 1, noise(T, B, N, seed=2) > 0.5
    assert reset[1:].any()
    whole, end = rnn(inputs, None, reset, clamp if with_clamp else None)
    state, outputs = None, []
    for t in range(T):
        y, state = cell(inputs[t], state, reset[t], clamp[t] if with_clamp else None)
        outputs.append(y)
    torch.testing.assert_close(torch.stack(outputs), whole)
    assert state is not None
    torch.testing.assert_close(state.hidden, end.hidden)
    torch.testing.assert_close(state.trace, end.trace)


def test_two_steps_by_hand() -> None:
    """One neuron: y1 = tanh(d1), H1 = 0 (nothing came before), y2 = tanh(d2 + w y1), H2 = eta y1 y2, ..."""
    rnn = PlasticRNN(None, 1, eta=0.5)
    with torch.no_grad():
        rnn.weight_hh.fill_(0.8)
        assert rnn.plasticity.alpha is not None
        rnn.plasticity.alpha.fill_(2.0)
    y, state = rnn(torch.tensor([0.3, -0.2, 0.1]).reshape(3, 1, 1))
    y1 = torch.tanh(torch.tensor(0.3))
    y2 = torch.tanh(-0.2 + 0.8 * y1)
    h2 = 0.5 * y1 * y2
    y3 = torch.tanh(0.1 + (0.8 + 2.0 * h2) * y2)
    torch.testing.assert_close(y.flatten(), torch.stack([y1, y2, y3]))
    torch.testing.assert_close(state.trace.flatten()[0], 0.5 * h2 + 0.5 * y2 * y3)
    torch.testing.assert_close(state.hidden.flatten()[0], y3)


@ALPHAS
def test_without_plasticity_it_is_the_tanh_rnn_of_torch(alpha: AlphaMode) -> None:
    rnn, twin = network(alpha=alpha), torch.nn.RNN(4, N)
    assert rnn.in_proj is not None
    with torch.no_grad():
        if rnn.plasticity.alpha is not None:
            rnn.plasticity.alpha.zero_()
        twin.weight_ih_l0.copy_(rnn.in_proj.weight)
        twin.bias_ih_l0.copy_(rnn.in_proj.bias)
        twin.weight_hh_l0.copy_(rnn.weight_hh)
        twin.bias_hh_l0.zero_()
    inputs = noise(T, B, 4)
    torch.testing.assert_close(rnn(inputs)[0], twin(inputs)[0])


@ALPHAS
def test_a_clamped_neuron_outputs_its_input_and_the_others_do_not(alpha: AlphaMode) -> None:
    rnn = network(None, alpha=alpha)
    inputs, clamp = 3 * noise(T, B, N), noise(T, B, N, seed=1) > 0
    outputs, state = rnn(inputs, None, None, clamp)
    assert torch.equal(outputs[clamp], inputs[clamp])
    assert outputs[~clamp].abs().max() <= 1
    assert outputs[clamp].abs().max() > 1  # not squashed
    assert torch.equal(state.hidden, outputs[-1])
    assert not torch.allclose(outputs[~clamp], rnn(inputs)[0][~clamp])  # the others hear it


def test_a_clamped_neuron_writes_its_trace() -> None:
    rnn = network(None)
    inputs = noise(2, B, N)
    _, state = rnn(inputs, None, None, torch.ones(2, B, N, dtype=torch.bool))
    expected = 0.3 * torch.einsum("bj,bi->bji", inputs[1], inputs[0])
    torch.testing.assert_close(state.trace, expected)


def test_without_a_projection_the_inputs_drive_the_neurons() -> None:
    rnn = network(None)
    assert rnn.in_proj is None
    assert rnn.input_size == N
    inputs = noise(1, B, N)
    torch.testing.assert_close(rnn(inputs)[0], torch.tanh(inputs))
    assert {name for name, _ in rnn.named_parameters()} == {
        "weight_hh",
        "plasticity.alpha",
        "plasticity.eta_raw",
    }


def push_eta_down(rnn: PlasticRNN) -> float:
    optimizer = torch.optim.SGD(rnn.parameters(), lr=1.0)
    for _ in range(200):
        optimizer.zero_grad()
        rnn.plasticity.eta.backward()
        optimizer.step()
    return rnn.plasticity.eta.item()


def test_a_bounded_eta_stays_inside_0_and_1() -> None:
    rnn = network(eta=0.3, bound_eta=True)
    assert rnn.plasticity.eta.item() == pytest.approx(0.3)
    assert 0 < push_eta_down(rnn) < 0.1


def test_a_free_eta_can_drift_below_zero_and_the_trace_then_grows() -> None:
    rnn = network(None, eta=0.3, bound_eta=False)
    assert rnn.plasticity.eta.item() == pytest.approx(0.3)
    assert push_eta_down(rnn) < -1
    with torch.no_grad():
        rnn.plasticity.eta.fill_(-0.2)
        _, state = rnn(noise(60, B, N))
    assert 1e3 < state.trace.abs().max() < 1e6  # 1.2^60 is 6e4


def test_a_bounded_eta_enters_the_recurrence_as_its_value() -> None:
    free, bounded = network(eta=0.3, bound_eta=False), network(eta=0.3, bound_eta=True)
    inputs = noise(T, B, 4)
    torch.testing.assert_close(free(inputs)[1].trace, bounded(inputs)[1].trace)
    assert free(inputs)[1].trace.any()


@pytest.mark.parametrize("parameter", ["weight_hh", "plasticity.alpha"])
@pytest.mark.parametrize("scale", [0.01, 0.5])
@pytest.mark.parametrize(
    ("init", "quantiles"),
    [("uniform", [0.1, 0.25, 0.5, 0.75, 0.9]), ("normal", [-1.2816, -0.6745, 0.0, 0.6745, 1.2816])],
)
def test_the_initial_distribution(init: Init, quantiles: list[float], scale: float, parameter: str) -> None:
    torch.manual_seed(0)
    drawn = PlasticRNN(4, 100, init=init, init_scale=scale).get_parameter(parameter).detach().flatten()
    at = torch.tensor([0.1, 0.25, 0.5, 0.75, 0.9])
    measured = drawn.quantile(at) / scale
    torch.testing.assert_close(measured, torch.tensor(quantiles), atol=0.06, rtol=0)  # 4 sigma at 10,000
    if init == "uniform":
        assert drawn.min() >= 0
        assert drawn.max() <= scale


def test_the_defaults_are_an_orthogonal_w_and_a_small_alpha() -> None:
    torch.manual_seed(0)
    rnn = PlasticRNN(4, 50)
    assert rnn.plasticity.rule.name == "hebb"
    assert rnn.plasticity.mode == "full"
    assert rnn.plasticity.eta.item() == pytest.approx(0.1)
    assert rnn.plasticity.bound_eta
    assert rnn.plasticity.alpha is not None
    torch.testing.assert_close(rnn.weight_hh @ rnn.weight_hh.T, torch.eye(50), rtol=0, atol=1e-5)
    assert rnn.plasticity.alpha.std().item() == pytest.approx(0.01, rel=0.1)
    assert rnn.plasticity.alpha.mean().abs() < 0.001


def test_the_papers_start_draws_w_and_alpha_alike() -> None:
    torch.manual_seed(0)
    rnn = PlasticRNN(4, 50, init="uniform")
    assert rnn.plasticity.alpha is not None
    for drawn in (rnn.weight_hh, rnn.plasticity.alpha):
        assert 0 <= drawn.min() < 0.001
        assert 0.009 < drawn.max() <= 0.01


@pytest.mark.parametrize("build", [PlasticRNN, PlasticRNNCell])
def test_the_papers_network(build: Any) -> None:
    torch.manual_seed(0)
    net = build.paper(4, 50)
    assert type(net) is build
    plasticity = net.plasticity
    assert (plasticity.rule, plasticity.mode, plasticity.bound_eta) == (Hebb(), "full", False)
    assert plasticity.eta_raw.item() == pytest.approx(0.01)
    for drawn in (net.weight_hh, plasticity.alpha):
        assert 0 <= drawn.min() < 0.001
        assert 0.009 < drawn.max() <= 0.01
        assert drawn.mean().item() == pytest.approx(0.005, rel=0.05)
    other = build.paper(None, 5, rule="oja", alpha="shared", eta=0.1)
    assert other.in_proj is None
    assert (other.plasticity.rule, other.plasticity.mode, other.init) == (Oja(), "shared", "uniform")
    assert other.plasticity.eta.item() == pytest.approx(0.1)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_an_orthogonal_start_in_every_dtype(dtype: torch.dtype) -> None:
    w = PlasticRNN(4, 20, dtype=dtype).weight_hh.detach().double()
    torch.testing.assert_close(
        w @ w.T, torch.eye(20).double(), rtol=0, atol=4 * torch.finfo(dtype).eps + 1e-7
    )


def test_parameter_counts() -> None:
    """The paper's pattern network: 2 x 1,001² parameters; one alpha more, or none, elsewhere; and eta."""
    counts = {
        alpha: sum(p.numel() for p in PlasticRNN(None, 1001, alpha=alpha).parameters())
        for alpha in ("full", "shared", "none")
    }
    assert counts == {"full": 2_004_002 + 1, "shared": 1001**2 + 2, "none": 1001**2}


@ALPHAS
@EVERY_RULE
@pytest.mark.parametrize("bound_eta", [False, True])
def test_gradients_through_the_module(alpha: AlphaMode, rule: str, bound_eta: bool) -> None:
    torch.manual_seed(0)
    rnn = PlasticRNN(
        2, 3, alpha=alpha, rule=rule, eta=0.3, bound_eta=bound_eta, init="normal", init_scale=0.5
    ).double()
    names = [name for name, _ in rnn.named_parameters()]
    inputs = noise(4, 2, 2).double().requires_grad_()
    reset, clamp = torch.zeros(4, 2, dtype=torch.bool), noise(4, 2, 3, seed=1) > 1
    reset[2, 0] = True
    assert clamp.any()

    def run(inputs: Tensor, *values: Tensor) -> tuple[Tensor, ...]:
        parameters = dict(zip(names, values, strict=True))
        outputs, state = torch.func.functional_call(rnn, parameters, (inputs, None, reset, clamp))
        return (outputs, state.hidden, state.trace) if alpha != "none" else (outputs, state.hidden)

    assert torch.autograd.gradcheck(run, (inputs, *(p.detach().requires_grad_() for p in rnn.parameters())))


def test_its_text_shows_what_it_is() -> None:
    text = repr(PlasticRNN(4, N, rule=Oja(), eta=0.02, bound_eta=True, init_scale=0.1))
    for part in (
        "4, 5, init='orthogonal', init_scale=0.1",
        "alpha='full', rule=Oja(), eta=0.02, bound_eta=True",
    ):
        assert part in text
    assert "alpha='none'" in repr(PlasticRNN(4, N, alpha="none"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"alpha": "free"}, "alpha must be one of 'full', 'shared', 'none'"),
        ({"rule": "bcm"}, "unknown rule 'bcm'"),
        ({"eta": float("nan"), "bound_eta": False}, "eta must be a finite number"),
        ({"eta": "0.1", "bound_eta": False}, "eta must be a finite number, not '0.1'"),
        ({"eta": 1e39, "bound_eta": False}, "eta must be a finite number"),  # not in float32
        ({"eta": 10**400, "bound_eta": False}, "eta must be a finite number"),
        ({"eta": float("nan")}, "eta must be between 0 and 1 when bound_eta is on"),
        ({"eta": 1 - 1e-9, "bound_eta": True}, "eta must be between 0 and 1"),  # 1 in float32
        ({"eta": 1e-50, "bound_eta": True}, "eta must be between 0 and 1"),
        ({"init_scale": 1e39, "init": "normal"}, "init_scale must be a finite number"),
        ({"eta": 1.5, "bound_eta": True}, "eta must be between 0 and 1"),
        ({"eta": 0.0, "bound_eta": True}, "eta must be between 0 and 1"),
        ({"init": "zeros"}, "init must be one of 'uniform', 'normal'"),
        ({"init_scale": "1"}, "init_scale must be a finite number, at least 0, not '1'"),
        ({"init_scale": -0.1}, "init_scale must be a finite number, at least 0"),
        ({"backend": "foo"}, "unknown backend 'foo': choose one of 'auto', 'numba', 'adjoint', 'reference'"),
        ({"init_scale": float("inf")}, "init_scale must be a finite number, at least 0"),
        ({"alpha_scale": -0.1}, "alpha_scale must be a finite number, at least 0, not -0.1"),
        ({"modulation": "relu"}, "unknown modulation 'relu': choose one of 'none', 'sigmoid', 'tanh'"),
        ({"modulate": "rows"}, "unknown modulate 'rows': choose one of 'neurons', 'network'"),
        ({"modulation": "tanh", "alpha": "none"}, "modulation 'tanh' does not apply: alpha='none' stores"),
    ],
)
def test_wrong_arguments_are_named(options: dict[str, Any], message: str) -> None:
    for build in (PlasticRNN, PlasticRNNCell):
        with pytest.raises(ValueError, match=message):
            build(4, N, **options)


def test_a_backend_that_cannot_serve_is_named_when_it_should() -> None:
    rnn = network(backend="numba").double()
    with pytest.raises(ValueError, match="does not support"):
        rnn(torch.zeros(T, B, 4, dtype=torch.float64))


@pytest.mark.parametrize("length", [2, 3])
@pytest.mark.parametrize("backend", ["auto", "reference"])
def test_a_state_that_is_none_is_named(backend: Any, length: int) -> None:
    rnn, cell = network(backend=backend), PlasticRNNCell(4, N, backend=backend)
    state: Any = (*rnn.initial_state(B), torch.zeros(1))[:length]
    x = torch.zeros(T, B, 4)
    for call in (lambda: rnn(x, state), lambda: rnn.step_(x[0], state), lambda: cell(x[0], state)):
        with pytest.raises(TypeError, match=r"state must be a PlasticState\(hidden, trace\).* not a tuple"):
            call()


def test_wrong_shapes_are_named() -> None:
    cell = PlasticRNNCell(4, N)
    with pytest.raises(ValueError, match=r"inputs must be \(B, 4\), not \(1, 3, 4\)"):
        cell(torch.zeros(1, B, 4))
    with pytest.raises(ValueError, match=r"inputs must be torch\.float32 like .*, not torch\.int64"):
        cell(torch.zeros(B, 4, dtype=torch.int64))
    with pytest.raises(ValueError, match=r"clamp must have shape \(6, 3, 5\)"):
        network()(torch.zeros(T, B, 4), None, None, torch.zeros(T, B, 4, dtype=torch.bool))


@pytest.mark.parametrize("name", ["inputs", "reset", "clamp"])
def test_the_cell_names_what_is_no_tensor(name: str) -> None:
    arguments: dict[str, Any] = {"inputs": torch.zeros(B, 4)}
    for wrong in ([True] * B, np.ones((B, N), dtype=np.bool_)):
        with pytest.raises(TypeError, match=f"{name} must be a tensor, not {type(wrong).__name__}"):
            PlasticRNNCell(4, N)(**{**arguments, name: wrong})


def test_a_layer_that_is_not_plastic_has_no_eta() -> None:
    with pytest.raises(RuntimeError, match="alpha='none' has no eta"):
        _ = network(alpha="none").plasticity.eta
