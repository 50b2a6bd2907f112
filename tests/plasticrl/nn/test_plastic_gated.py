"""The plastic LSTM and GRU: those of torch without plasticity, their cells, memory of the trace, options."""

from typing import Any

import pytest
import torch
from torch import Tensor

from plasticrl import (
    PlasticGRU,
    PlasticGRUCell,
    PlasticLSTM,
    PlasticLSTMCell,
    PlasticLSTMState,
    PlasticRNN,
    PlasticState,
)
from plasticrl.nn import AlphaMode

T, B, N_IN, N = 7, 3, 4, 5
PAIRS = [(PlasticLSTM, PlasticLSTMCell), (PlasticGRU, PlasticGRUCell)]
BOTH = pytest.mark.parametrize("build", [PlasticLSTM, PlasticGRU])
MODULATIONS = [("none", "neurons"), ("sigmoid", "neurons"), ("tanh", "neurons"), ("tanh", "network")]


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def twin_of(core: PlasticLSTM | PlasticGRU) -> torch.nn.LSTM | torch.nn.GRU:
    """Return torch's module with the same weights; its second bias is that of a GRU's inner sum."""
    kind = torch.nn.LSTM if isinstance(core, PlasticLSTM) else torch.nn.GRU
    twin = kind(N_IN, N, dtype=core.weight_hh.dtype)
    assert core.in_proj is not None
    with torch.no_grad():
        twin.weight_ih_l0.copy_(core.in_proj.weight[: core.cell.sums * N])
        twin.weight_hh_l0.copy_(core.weight_hh[: core.cell.sums * N])
        twin.bias_ih_l0.copy_(core.in_proj.bias[: core.cell.sums * N])
        twin.bias_hh_l0.zero_()
        if isinstance(core, PlasticGRU):
            twin.bias_hh_l0[2 * N :] = core.bias_hn
    return twin


@pytest.mark.parametrize("backend", ["auto", "numba", "adjoint", "reference"])
@pytest.mark.parametrize("alpha", ["none", "shared"])
@BOTH
def test_without_plasticity_values_and_gradients_are_torchs(build: Any, alpha: Any, backend: Any) -> None:
    """A trace that alpha does not read, too, whatever it stores."""
    torch.manual_seed(0)
    core = build(N_IN, N, alpha=alpha, alpha_scale=0.0, backend=backend)
    twin, inputs = twin_of(core), noise(T, B, N_IN).requires_grad_()
    start = [noise(B, N, seed=1), noise(B, N, seed=2)][: len(core.initial_state(B)) - 1]
    state = core.initial_state(B)._replace(**dict(zip(("hidden", "cell"), start, strict=False)))
    outputs, after = core(inputs, state)
    expected, end = twin(inputs, tuple(one[None] for one in start) if len(start) > 1 else start[0][None])
    torch.testing.assert_close(outputs, expected, rtol=0, atol=1e-6)
    for one, other in zip(after, end if isinstance(end, tuple) else (end,), strict=False):
        torch.testing.assert_close(one, other[0], rtol=0, atol=1e-6)
    weights = noise(T, B, N, seed=3)
    (ours,) = torch.autograd.grad((weights * outputs).sum(), inputs, retain_graph=True)
    (theirs,) = torch.autograd.grad((weights * expected).sum(), inputs, retain_graph=True)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)
    (weights * outputs).sum().backward()
    (weights * expected).sum().backward()
    rows = core.cell.sums * N
    for found, wanted in (
        (core.in_proj.weight.grad[:rows], twin.weight_ih_l0.grad),
        (core.in_proj.bias.grad[:rows], twin.bias_ih_l0.grad),
        (core.weight_hh.grad[:rows], twin.weight_hh_l0.grad),
    ):
        torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-6)
    if build is PlasticGRU:
        torch.testing.assert_close(core.bias_hn.grad, twin.bias_hh_l0.grad[2 * N :], rtol=1e-5, atol=1e-6)


@BOTH
def test_it_starts_as_torchs_with_a_trace_that_hardly_speaks(build: Any) -> None:
    n = 100
    torch.manual_seed(0)
    core = build(20, n, forget_bias=0)
    for name, parameter in core.named_parameters():
        if name.startswith("plasticity"):
            continue
        assert parameter.abs().max() <= n**-0.5
        assert parameter.std().item() == pytest.approx((3 * n) ** -0.5, rel=0.2)
    assert core.plasticity.alpha.std().item() == pytest.approx(0.1, rel=0.05)
    assert core.plasticity.eta.item() == pytest.approx(0.5)
    assert (core.plasticity.rule.name, core.modulation, core.plasticity.bound_eta) == (
        "delta",
        "sigmoid",
        True,
    )
    assert build(20, n, alpha="none").modulation == "none"


@pytest.mark.parametrize("init", ["fan_in", "orthogonal"])
@pytest.mark.parametrize("build", [PlasticRNN, PlasticLSTM, PlasticGRU])
def test_each_group_of_rows_is_a_matrix_of_its_own(build: Any, init: Any) -> None:
    n = 40
    torch.manual_seed(0)
    core = build(4, n, init=init, init_scale=0.7, alpha_scale=0.2, modulation="tanh")
    groups = core.weight_hh.detach().split(n)
    assert len(groups) == core.cell.sums + 1
    for rows in groups:
        if init == "orthogonal":
            torch.testing.assert_close(rows @ rows.T, 0.49 * torch.eye(n))
        else:
            assert 0.68 < rows.abs().max() * n**0.5 <= 0.7
    assert not torch.equal(groups[0], groups[1])
    alpha = core.plasticity.alpha
    assert alpha.std().item() == pytest.approx(0.2, rel=0.1)
    assert alpha.mean().item() == pytest.approx(0, abs=0.02)


@BOTH
@pytest.mark.parametrize(
    ("modulation", "modulate", "extra"),
    [("none", "neurons", 0), ("tanh", "neurons", N), ("tanh", "network", 1)],
)
def test_parameter_counts(build: Any, modulation: Any, modulate: Any, extra: int) -> None:
    def count(module: torch.nn.Module) -> int:
        return sum(parameter.numel() for parameter in module.parameters())

    core = build(N_IN, N, modulation=modulation, modulate=modulate)
    one_bias = count(twin_of(build(N_IN, N))) - (4 if build is PlasticLSTM else 2) * N
    assert count(core) == one_bias + extra * (N_IN + 1 + N) + N * N + 1


@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize("alpha", ["full", "shared", "none"])
@pytest.mark.parametrize("rule", ["hebb", "oja", "clipped", "delta"])
def test_the_cell_in_a_loop_is_the_network(pair: Any, alpha: AlphaMode, rule: str) -> None:
    for modulation, modulate in MODULATIONS if alpha != "none" else MODULATIONS[:1]:
        options = {"alpha": alpha, "rule": rule, "modulation": modulation, "modulate": modulate}
        core, cell = (build(N_IN, N, alpha_scale=0.5, **options) for build in pair)
        cell.load_state_dict(core.state_dict())
        inputs, reset = noise(T, B, N_IN), noise(T, B, seed=1) > 1
        assert reset[1:].any()
        whole, end = core(inputs, None, reset)
        state, outputs = None, []
        for x, first in zip(inputs, reset, strict=True):
            y, state = cell(x, state, first)
            outputs.append(y)
        torch.testing.assert_close(torch.stack(outputs), whole)
        assert state is not None
        torch.testing.assert_close(tuple(state), tuple(end))


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
@pytest.mark.parametrize("modulate", ["neurons", "network"])
@pytest.mark.parametrize("modulation", ["sigmoid", "tanh"])
def test_a_modulation_is_a_readout_of_input_and_hidden_state(
    cell: str, modulation: Any, modulate: Any
) -> None:
    """It scales what one step stores; where it is 0, that is nothing."""
    build: Any = {"rnn": PlasticRNN, "lstm": PlasticLSTM, "gru": PlasticGRU}[cell]
    core = build(
        N_IN,
        N,
        rule="clipped",
        modulation=modulation,
        modulate=modulate,
        eta=0.3,
        init="fan_in",
        init_scale=1.0,
    )
    inputs, state = noise(1, B, N_IN), core.initial_state(B)
    state = state._replace(hidden=noise(B, N, seed=1).tanh())
    rows = core.cell.sums * N
    read = core.in_proj(inputs[0])[:, rows:] + state.hidden @ core.weight_hh[rows:].T
    m = torch.sigmoid(read) if modulation == "sigmoid" else torch.tanh(read)
    with torch.no_grad():
        stored = core(inputs, state)[1].trace
        core.in_proj.bias[rows:] = 1e4
        core.weight_hh[rows:], core.in_proj.weight[rows:] = 0, 0
        wholly = core(inputs, state)[1].trace
        torch.testing.assert_close(stored, m.expand(B, N)[..., None] * wholly)
        assert wholly.abs().max() > 0.01
        core.in_proj.bias[rows:] = -1e4 if modulation == "sigmoid" else 0.0
        assert core(inputs, state)[1].trace.abs().max() < 1e-7


@pytest.mark.parametrize("rule", ["hebb", "oja", "clipped", "delta"])
@pytest.mark.parametrize("alpha", ["full", "shared", "none"])
@BOTH
def test_gradients_through_the_module(build: Any, alpha: AlphaMode, rule: str) -> None:
    torch.manual_seed(0)
    core = build(2, 2, alpha=alpha, rule=rule, alpha_scale=0.5).double()
    names = [name for name, _ in core.named_parameters()]
    inputs, reset = noise(3, 2, 2).double().requires_grad_(), torch.zeros(3, 2, dtype=torch.bool)
    reset[2, 0] = True

    def run(inputs: Tensor, *values: Tensor) -> tuple[Tensor, ...]:
        parameters = dict(zip(names, values, strict=True))
        outputs, state = torch.func.functional_call(core, parameters, (inputs, None, reset))
        return outputs, *(part for part in state if part.numel())

    assert torch.autograd.gradcheck(run, (inputs, *(p.detach().requires_grad_() for p in core.parameters())))


@BOTH
def test_an_adjoint_that_is_known_gives_the_same_gradients(build: Any) -> None:
    core = build(N_IN, N, alpha_scale=0.5)
    inputs, reset, state = noise(T, B, N_IN), noise(T, B, seed=1) > 1, core.initial_state(B)
    outputs = torch.stack([core.step_(x, state, first) for x, first in zip(inputs, reset, strict=True)])
    found = []
    for results in (
        core.replay(inputs, core.initial_state(B), reset, (outputs, state)),
        core(inputs, None, reset),
    ):
        core.zero_grad()
        (results[0].square().sum() + results[1].trace.sum()).backward()
        found.append([parameter.grad.clone() for parameter in core.parameters()])
    torch.testing.assert_close(found[0], found[1])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"alpha": "free"}, "alpha must be one of 'full', 'shared', 'none'"),
        ({"rule": "bcm"}, "unknown rule 'bcm': choose one of 'hebb', 'oja', 'clipped', 'delta'"),
        ({"eta": 1.0}, "eta must be between 0 and 1 when bound_eta is on"),
        ({"init": "zeros"}, "init must be one of 'uniform', 'normal', 'fan_in', 'orthogonal'"),
        ({"init_scale": float("nan")}, "init_scale must be a finite number, at least 0"),
        ({"alpha_scale": -1.0}, "alpha_scale must be a finite number, at least 0, not -1.0"),
        (
            {"backend": "cuda"},
            "unknown backend 'cuda': choose one of 'auto', 'numba', 'adjoint', 'reference'",
        ),
        ({"modulation": "relu"}, "unknown modulation 'relu': choose one of 'none', 'sigmoid', 'tanh'"),
        ({"modulate": "rows"}, "unknown modulate 'rows': choose one of 'neurons', 'network'"),
        (
            {"modulation": "tanh", "alpha": "none"},
            "modulation 'tanh' does not apply: alpha='none' stores nothing",
        ),
    ],
)
@pytest.mark.parametrize("build", [build for pair in PAIRS for build in pair])
def test_wrong_arguments_are_named(build: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}") as error:
        build(N_IN, N, **options)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("build", [build for pair in PAIRS for build in pair])
def test_an_input_size_is_needed(build: Any) -> None:
    """For every alpha and modulation: a gate has an input of its own."""
    for options in ({}, {"modulation": "none"}, {"alpha": "none"}):
        with pytest.raises(ValueError, match="input_size must be an integer above 0, not None"):
            build(None, N, **options)


def test_a_modulation_of_an_rnn_needs_an_input_size() -> None:
    with pytest.raises(ValueError, match="modulation 'tanh' does not apply: it needs an input_size"):
        PlasticRNN(None, N, modulation="tanh")


@pytest.mark.parametrize("backend", ["auto", "reference"])
@pytest.mark.parametrize("pair", PAIRS)
def test_the_state_of_the_other_cell_is_named(pair: Any, backend: Any) -> None:
    core, cell = (build(N_IN, N, backend=backend) for build in pair)
    kind, other = (PlasticLSTMState, PlasticState)
    if isinstance(core, PlasticGRU):
        kind, other = other, kind
    zeros = torch.zeros(B, N)
    wrong = other(*[zeros] * (len(other._fields) - 1), torch.zeros(B, N, N))
    says = rf"state must be a {kind.__name__}\({', '.join(kind._fields)}\).* not a {other.__name__}"
    x = noise(T, B, N_IN)
    for call in (lambda: core(x, wrong), lambda: core.step_(x[0], wrong), lambda: cell(x[0], wrong)):
        with pytest.raises(TypeError, match=says):
            call()
