"""The LSTM with the clamped read-out."""

import numpy as np
import pytest
import torch
from torch import nn

from plasticrl.agents.supervised.completion import LSTMCompletion
from plasticrl.agents.supervised.network import EpisodeTensors, to_tensors
from plasticrl.envs.supervised.patterns import PATTERNS_PRESETS, PatternsOptions, PatternsTask


def draw(input_gain: float | None = None) -> EpisodeTensors:
    options: PatternsOptions = {**PATTERNS_PRESETS["small"], "n_bits": 6, "input_gain": input_gain}
    task = PatternsTask(**options)
    return to_tensors(task.sample(3, np.random.default_rng(0)))


def test_the_papers_comparison_has_2000_cells() -> None:
    network = LSTMCompletion(50)
    cells = 4 * (50 * 2000 + 2000**2 + 2 * 2000)
    assert sum(p.numel() for p in network.parameters()) == cells + 2000 * 50 + 50


@pytest.mark.parametrize("input_gain", [None, 20.0])
def test_known_bits_are_the_input_and_the_others_are_read_out(input_gain: float | None) -> None:
    torch.manual_seed(0)
    episode = draw(input_gain)
    network = LSTMCompletion(6, hidden_size=8)
    plain = nn.LSTM(6, 8)
    plain.load_state_dict(network.core.lstm.state_dict())
    hidden, (last, cell) = plain(episode.inputs)
    expected = (hidden @ network.readout.weight.T + network.readout.bias).tanh()
    if input_gain is None:
        expected = torch.where(episode.inputs != 0, episode.inputs, expected)
    outputs, state = network(episode)
    torch.testing.assert_close(outputs, expected)
    torch.testing.assert_close(state.hidden, last[0])
    torch.testing.assert_close(state.cell, cell[0])


def test_what_is_clamped_teaches_nothing() -> None:
    episode = draw()
    assert episode.clamp is not None
    assert episode.hidden is not None
    network = LSTMCompletion(6, hidden_size=8)
    outputs, _ = network(episode)
    outputs[-1][~episode.hidden].sum().backward()
    assert all(p.grad is None or not p.grad.any() for p in network.parameters())
    network(episode)[0][-1][episode.hidden].sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in network.parameters())


def test_wrong_sizes_are_named() -> None:
    with pytest.raises(ValueError, match="hidden_size must be an integer above 0, not 0"):
        LSTMCompletion(6, hidden_size=0)
    with pytest.raises(ValueError, match=r"inputs must be \(T, B, 5\) with T >= 1, not \(11, 3, 6\)"):
        LSTMCompletion(5, hidden_size=8)(draw())
