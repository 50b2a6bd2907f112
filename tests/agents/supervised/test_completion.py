"""The plastic network that completes vectors: sizes, clamp, bias, and that it learns."""

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from plasticrl.agents.supervised.completion import CompletionNetwork
from plasticrl.agents.supervised.network import to_tensors
from plasticrl.envs.supervised.patterns import PatternsTask
from plasticrl.envs.supervised.task import Episode
from plasticrl.nn.factory import PlasticName

CORES = pytest.mark.parametrize("core", ["plastic", "homogeneous", "rnn"])


def task(**options: Any) -> PatternsTask:
    return PatternsTask(
        **{
            "n_bits": 6,
            "n_patterns": 2,
            "n_cycles": 1,
            "steps_on": 2,
            "steps_off": 1,
            "test_steps": 2,
            **options,
        }
    )


def draw(batch: int = 3, **options: Any) -> Episode:
    return task(**options).sample(batch, np.random.default_rng(0))


@pytest.mark.parametrize(
    ("core", "count"),
    [("plastic", 2 * 1001**2 + 1), ("homogeneous", 1001**2 + 2), ("rnn", 1001**2)],
)
def test_parameter_counts_at_1000_bits(core: PlasticName, count: int) -> None:
    """The paper counts 2,004,002 for full plasticity; eta is one more."""
    assert sum(p.numel() for p in CompletionNetwork(1000, core).parameters()) == count


def test_the_papers_non_plastic_network_has_2051_neurons() -> None:
    network = CompletionNetwork(50, "rnn", extra_neurons=2000)
    assert sum(p.numel() for p in network.parameters()) == 2051**2


def test_the_defaults_are_those_of_the_papers_patterns() -> None:
    torch.manual_seed(0)
    core = CompletionNetwork(100).core
    assert core.plasticity.rule.name == "hebb"
    assert core.plasticity.eta.item() == pytest.approx(0.01)
    assert core.plasticity.alpha is not None
    for drawn in (core.weight_hh, core.plasticity.alpha):
        assert drawn.mean().item() == pytest.approx(0, abs=4e-4)
        assert drawn.std().item() == pytest.approx(0.01, rel=0.03)


def by_the_equations(network: CompletionNetwork, episode: Episode) -> NDArray[np.float64]:
    """Outputs ``(T, B, D)``, one neuron after another; Hebb's rule."""
    core = network.core
    w = core.weight_hh.detach().double().numpy()
    n, bits = len(w), network.n_bits
    alpha, eta = np.zeros((n, n)), 0.0
    if core.plasticity.alpha is not None:
        alpha = np.broadcast_to(core.plasticity.alpha.detach().double().numpy(), (n, n))
        eta = core.plasticity.eta.item()
    steps, batch, _ = episode.inputs.shape
    outputs = np.empty((steps, batch, bits))
    for b in range(batch):
        x, trace = np.zeros(n), np.zeros((n, n))
        for t in range(steps):
            shown = episode.inputs[t, b]
            y = np.empty(n)
            for j in range(n):
                y[j] = np.tanh((w[j] + alpha[j] * trace[j]) @ x + (shown[j] if j < bits else 0))
                if j < bits and episode.clamp is not None and episode.clamp[t, b, j]:
                    y[j] = shown[j]
            y[bits] = 1
            trace = (1 - eta) * trace + eta * np.outer(y, x)
            x = y
            outputs[t, b] = y[:bits]
    return outputs


@CORES
@pytest.mark.parametrize("input_gain", [None, 0.7])
@pytest.mark.parametrize("extra_neurons", [0, 3])
def test_it_computes_the_equations(core: PlasticName, input_gain: float | None, extra_neurons: int) -> None:
    torch.manual_seed(0)
    network = CompletionNetwork(6, core, extra_neurons=extra_neurons, eta=0.2, init_scale=0.6)
    episode = draw(input_gain=input_gain)
    outputs, _ = network(to_tensors(episode))
    np.testing.assert_allclose(outputs.detach(), by_the_equations(network, episode), atol=2e-6)


@CORES
def test_a_neuron_with_an_input_is_held_at_it(core: PlasticName) -> None:
    episode = draw()
    assert episode.clamp is not None
    torch.manual_seed(0)
    outputs = CompletionNetwork(6, core, init_scale=1.0)(to_tensors(episode))[0].detach().numpy()
    np.testing.assert_array_equal(outputs[episode.clamp], episode.inputs[episode.clamp])
    assert 0 < np.abs(outputs[1:][~episode.clamp[1:]]).max() < 1


@pytest.mark.parametrize("input_gain", [None, 20.0])
def test_the_bias_neuron_is_1_at_every_step(input_gain: float | None) -> None:
    """Without weights every trace between the bias and a neuron is the average of that neuron's outputs."""
    episode = to_tensors(draw(input_gain=input_gain))
    network = CompletionNetwork(6, extra_neurons=2, eta=0.5, init_scale=0.0)
    outputs, state = network(episode)
    assert state.hidden[:, 6].tolist() == [1, 1, 1]
    average = torch.zeros(3, 6)
    for y in outputs[1:]:  # at the first step nothing came before
        average = 0.5 * average + 0.5 * y
    torch.testing.assert_close(state.trace[:, :6, 6], average)
    assert not state.hidden[:, 7:].any()


def test_each_episode_is_lived_apart() -> None:
    episode = to_tensors(draw())
    network = CompletionNetwork(6, init_scale=0.5, eta=0.3)
    together, _ = network(episode)
    assert episode.clamp is not None
    for b in range(3):
        alone = episode._replace(inputs=episode.inputs[:, b : b + 1], clamp=episode.clamp[:, b : b + 1])
        torch.testing.assert_close(network(alone)[0], together[:, b : b + 1])


def test_the_answer_is_not_looked_at() -> None:
    episode = to_tensors(draw())
    network = CompletionNetwork(6, init_scale=0.5, eta=0.3)
    other = episode._replace(target=-episode.target, target_mask=~episode.target_mask, hidden=None)
    torch.testing.assert_close(network(other)[0], network(episode)[0])


@pytest.mark.filterwarnings("ignore:eta is .*, outside")  # the paper's is free
@pytest.mark.parametrize("core", ["plastic", "homogeneous"])
def test_it_learns_to_complete_what_it_was_shown(core: PlasticName) -> None:
    """And the same network without plasticity cannot: patterns are new in every episode."""
    assert hidden_bit_error(core) < 0.15
    assert hidden_bit_error("rnn") > 0.4


def hidden_bit_error(core: PlasticName) -> float:
    """After 100 updates, on 64 new episodes."""
    torch.manual_seed(0)
    rng = np.random.default_rng(1)
    patterns = task(n_bits=40, n_cycles=2, steps_on=5, steps_off=3, test_steps=3)
    network = CompletionNetwork(40, core)
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    for _ in range(100):
        episode = to_tensors(patterns.sample(4, rng))
        optimizer.zero_grad()
        (network(episode)[0][-1] - episode.target).square().sum().backward()
        optimizer.step()
    episode = to_tensors(patterns.sample(64, rng))
    with torch.no_grad():
        wrong = network(episode)[0][-1] * episode.target <= 0
    assert episode.hidden is not None
    return float(wrong[episode.hidden].float().mean())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"core": "lstm"}, "core must be one of 'plastic', 'homogeneous', 'rnn', not 'lstm'"),
        ({"extra_neurons": -1}, "extra_neurons must be a whole number of at least 0 .*, not -1"),
        ({"extra_neurons": 1.5}, "extra_neurons must be a whole number of at least 0 .*, not 1.5"),
        ({"n_bits": 0}, "n_bits must be a whole number of at least 1 .*, not 0"),
        ({"rule": "bcm"}, "unknown rule 'bcm'"),
    ],
)
def test_wrong_arguments_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CompletionNetwork(**{"n_bits": 6, **options})


def test_an_episode_of_another_task_is_named() -> None:
    episode = to_tensors(draw())
    with pytest.raises(ValueError, match=r"inputs must be \(T, B, 7\) with T >= 1, not \(8, 3, 6\)"):
        CompletionNetwork(7)(episode)
    with pytest.raises(ValueError, match=r"clamp must have shape \(8, 3, 6\), not \(8, 3\)"):
        CompletionNetwork(6)(episode._replace(clamp=episode.target_mask))
