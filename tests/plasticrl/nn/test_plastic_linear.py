"""The feed-forward plastic layer: the head of the paper's one-shot classifier."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from plasticrl import PlasticLinear
from plasticrl.nn import AlphaMode


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("rule", ["hebb", "oja", "clipped", "delta", "stp"])
def test_three_steps_by_hand(rule: str) -> None:
    """One neuron, one input: y(t) = tanh((w + alpha H) x + d), and H after it by the rule."""
    w, alpha, eta = 0.4, 1.5, 0.6
    layer = PlasticLinear(1, 1, rule=rule, eta=eta, activation="tanh")
    with torch.no_grad():
        layer.weight.fill_(w)
        assert layer.plasticity.alpha is not None
        layer.plasticity.alpha.fill_(alpha)
    inputs, drive = [0.9, -0.7, 1.3], [0.1, 0.0, -0.2]
    y, state = layer(torch.tensor(inputs)[:, None, None], drive=torch.tensor(drive)[:, None, None])
    trace, expected = 0.0, []
    for x, d in zip(inputs, drive, strict=True):
        out = math.tanh((w + alpha * trace) * x + d)
        expected.append(out)
        trace = {
            "hebb": (1 - eta) * trace + eta * x * out,
            "oja": trace + eta * out * (x - out * trace),
            "clipped": max(-1.0, min(1.0, trace + eta * x * out)),
            "delta": trace + eta * (out - trace * x) * x,
            "stp": (1 - eta) * trace + eta * x * out,
        }[rule]
    assert y.flatten().tolist() == pytest.approx(expected, rel=1e-6)
    assert state.trace.item() == pytest.approx(trace, rel=1e-6)


def test_the_trace_binds_features_to_the_label_shown_with_them() -> None:
    """One presentation, then the same features without a label: the output is the label."""
    layer = PlasticLinear(8, 5, eta=0.5)
    with torch.no_grad():
        assert layer.plasticity.alpha is not None
        layer.plasticity.alpha.fill_(20.0)
    features = noise(1, 5, 8).sign()
    label = torch.eye(5)[None]  # row b of the batch shows class b
    outputs, _ = layer(features.repeat(2, 1, 1), drive=torch.cat([1000 * label, 0 * label]))
    assert outputs[1].argmax(dim=-1).tolist() == [0, 1, 2, 3, 4]
    assert outputs[1].max(dim=-1).values.min() > 0.9


@pytest.mark.parametrize("rule", ["hebb", "oja", "delta", "retroactive"])
@pytest.mark.parametrize("alpha", ["full", "shared", "none"])
def test_what_is_recalled_are_the_sums_of_the_next_step_whatever_comes_before(
    alpha: AlphaMode, rule: str
) -> None:
    layer = PlasticLinear(6, 4, alpha=alpha, rule=rule, eta=0.3, alpha_scale=1.0, init_scale=0.5)
    _, state = layer(noise(3, 2, 6))
    before = state.trace.clone()
    asked = noise(5, 2, 6, seed=1)
    recalled = layer.recall(asked, state)
    for query, found in zip(asked, recalled, strict=True):
        torch.testing.assert_close(layer.sums(query[None], state)[0][0], found)
    assert torch.equal(state.trace, before)
    with pytest.raises(ValueError, match=r"state.trace must have shape \(3, "):
        layer.recall(noise(5, 3, 6), state)


def test_a_label_of_1000_clamps_the_softmax_to_one_hot() -> None:
    layer = PlasticLinear(64, 5)
    label = torch.eye(5)[:, None]
    outputs, state = layer(10 * noise(5, 1, 64), drive=1000 * label)
    assert torch.equal(outputs, label)
    assert state.trace.any()


def test_the_outputs_without_a_label_are_a_distribution() -> None:
    outputs, _ = PlasticLinear(64, 5)(noise(4, 3, 64))
    torch.testing.assert_close(outputs.sum(dim=-1), torch.ones(4, 3))
    assert outputs.max() < 0.9


@pytest.mark.parametrize(("alpha", "count"), [("full", 641), ("shared", 322), ("none", 320)])
def test_parameter_count_of_the_papers_omniglot_head(alpha: AlphaMode, count: int) -> None:
    assert sum(p.numel() for p in PlasticLinear(64, 5, alpha=alpha).parameters()) == count


def test_the_defaults_are_those_of_the_papers_omniglot_head() -> None:
    torch.manual_seed(0)
    layer = PlasticLinear(100, 100)
    assert layer.plasticity.rule.name == "oja"
    assert layer.plasticity.eta.item() == pytest.approx(0.01)
    assert layer.plasticity.alpha is not None
    alpha = layer.plasticity.alpha
    assert 0 <= alpha.min() < 1e-4
    assert 0.0099 < alpha.max() <= 0.01
    assert alpha.mean().item() == pytest.approx(0.005, rel=0.03)
    assert layer.weight.mean().item() == pytest.approx(0, abs=4e-4)
    assert layer.weight.std().item() == pytest.approx(0.01, rel=0.03)


def test_the_initial_scale_is_an_argument() -> None:
    torch.manual_seed(0)
    layer = PlasticLinear(100, 100, init_scale=0.2)
    assert layer.weight.std().item() == pytest.approx(0.2, rel=0.03)


@pytest.mark.parametrize("alpha", ["full", "shared", "none"])
@pytest.mark.parametrize("rule", ["hebb", "oja", "clipped", "retroactive", "stp"])
@pytest.mark.parametrize("activation", ["softmax", "tanh"])
def test_gradients(alpha: AlphaMode, rule: str, activation: Any) -> None:
    torch.manual_seed(0)
    layer = PlasticLinear(
        3, 2, alpha=alpha, rule=rule, eta=0.3, activation=activation, init_scale=0.7
    ).double()
    names = [name for name, _ in layer.named_parameters()]
    reset = torch.zeros(4, 2, dtype=torch.bool)
    reset[2, 1] = True

    def run(inputs: Tensor, drive: Tensor, *values: Tensor) -> tuple[Tensor, ...]:
        parameters = dict(zip(names, values, strict=True))
        outputs, state = torch.func.functional_call(layer, parameters, (inputs, None, reset, drive))
        return (outputs, state.trace) if alpha != "none" else (outputs,)

    arguments = (noise(4, 2, 3), noise(4, 2, 2, seed=1), *layer.parameters())
    assert torch.autograd.gradcheck(run, tuple(a.detach().double().requires_grad_() for a in arguments))


@pytest.mark.parametrize("alpha", ["full", "none"])
def test_an_activation_of_ones_own_sees_one_step_at_a_time(alpha: AlphaMode) -> None:
    """``dim=1`` is the output's dimension of a tensor (B, out), and would be the batch's of (T, B, out)."""
    torch.manual_seed(0)
    own = PlasticLinear(4, 3, alpha=alpha, activation=lambda z: torch.softmax(z, dim=1))
    named = PlasticLinear(4, 3, alpha=alpha, activation="softmax")
    named.load_state_dict(own.state_dict())
    inputs = noise(5, 2, 4)
    torch.testing.assert_close(own(inputs)[0], named(inputs)[0])


@pytest.mark.parametrize("alpha", ["full", "none"])
def test_the_activation_of_the_sums_is_the_output(alpha: AlphaMode) -> None:
    layer = PlasticLinear(4, 3, alpha=alpha, activation="tanh", eta=0.5, init_scale=1.0)
    inputs, drive, reset = noise(5, 2, 4), noise(5, 2, 3, seed=1), noise(5, 2, seed=2) > 0.5
    state = layer(noise(2, 2, 4, seed=3))[1]
    outputs, after = layer(inputs, state, reset, drive)
    sums, same = layer.sums(inputs, state, reset, drive)
    torch.testing.assert_close(torch.tanh(sums), outputs)
    torch.testing.assert_close(same.trace, after.trace)


def test_the_log_softmax_of_the_sums_is_finite_where_the_softmax_is_0() -> None:
    layer = PlasticLinear(4, 3)
    label = 1000 * torch.eye(3)[:1, None]
    outputs, _ = layer(noise(1, 1, 4), drive=label)
    sums, _ = layer.sums(noise(1, 1, 4), drive=label)
    assert outputs[..., 1:].max() == 0
    torch.testing.assert_close(sums.log_softmax(-1)[..., 1:], torch.full((1, 1, 2), -1000.0), atol=1, rtol=0)


def test_identity_reads_the_sums_themselves() -> None:
    layer = PlasticLinear(4, 3, activation="identity")
    inputs = noise(1, 2, 4)
    torch.testing.assert_close(layer(inputs)[0], inputs @ layer.weight.T)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"activation": "relu"}, "activation must be a function or one of 'softmax', 'tanh', 'identity'"),
        ({"alpha": "free"}, "alpha must be one of"),
        ({"rule": "bcm"}, "unknown rule 'bcm'"),
        ({"init_scale": float("nan")}, "init_scale must be a finite number"),
    ],
)
def test_wrong_arguments_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PlasticLinear(4, 3, **options)


def test_a_drive_of_another_shape_is_named() -> None:
    with pytest.raises(ValueError, match=r"drive must have shape \(2, 1, 3\)"):
        PlasticLinear(4, 3)(torch.zeros(2, 1, 4), drive=torch.zeros(1, 3))


def test_a_drive_that_is_no_tensor_is_named() -> None:
    drive: Any = np.zeros((2, 1, 3), dtype=np.float32)
    with pytest.raises(TypeError, match="drive must be a tensor, not ndarray"):
        PlasticLinear(4, 3)(torch.zeros(2, 1, 4), drive=drive)


def test_its_text_shows_what_it_is() -> None:
    text = repr(PlasticLinear(64, 5))
    assert "64, 5, init_scale=0.01" in text
    assert "alpha='full', rule=Oja(), eta=0.01, bound_eta=True" in text


@pytest.mark.parametrize("activation", ["softmax", "tanh", "identity"])
@pytest.mark.parametrize("rule", ["hebb", "oja", "clipped", "delta", "retroactive", "stp"])
@pytest.mark.parametrize("alpha", ["full", "shared", "none"])
def test_under_autocast_it_is_as_precise_as_linear_and_its_trace_stays(
    alpha: AlphaMode, rule: str, activation: Any
) -> None:
    layer = PlasticLinear(5, 3, alpha=alpha, rule=rule, activation=activation, eta=0.1, init_scale=0.3)
    linear = torch.nn.Linear(5, 3)
    x = noise(6, 2, 5)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        sums, _ = layer.sums(x)
        _, after = layer(x)
        assert sums.dtype == linear(x).dtype == torch.bfloat16
    exact, last = layer.sums(x)
    torch.testing.assert_close(sums.float(), exact, rtol=0.03, atol=0.03)
    assert after.trace.dtype == torch.float32
    torch.testing.assert_close(after.trace, last.trace, rtol=0.03, atol=0.03)
