"""LSTM and GRU: torch's own; with and without plasticity, separate episodes where there are resets."""

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor

from plasticrl.nn import GRU, LSTM, PlasticGRU, PlasticLSTM

T, B, N_IN, N = 9, 3, 4, 5


@pytest.fixture
def inputs() -> Tensor:
    return torch.randn(T, B, N_IN, generator=torch.Generator().manual_seed(1))


def test_lstm_is_torchs() -> None:
    torch.manual_seed(0)
    core = LSTM(N_IN, N)
    torch.manual_seed(0)
    twin = torch.nn.LSTM(N_IN, N)
    inputs, h, c = torch.randn(T, B, N_IN), torch.randn(B, N), torch.randn(B, N)
    for state, given in ((None, None), ((h, c), (h[None], c[None]))):
        outputs, after = core(inputs, state)
        expected, (h_end, c_end) = twin(inputs, given)
        torch.testing.assert_close(outputs, expected, rtol=0, atol=0)
        torch.testing.assert_close(after.hidden, h_end[0], rtol=0, atol=0)
        torch.testing.assert_close(after.cell, c_end[0], rtol=0, atol=0)


def test_gru_is_torchs() -> None:
    torch.manual_seed(0)
    core = GRU(N_IN, N)
    torch.manual_seed(0)
    twin = torch.nn.GRU(N_IN, N)
    inputs, h = torch.randn(T, B, N_IN), torch.randn(B, N)
    for state, given in ((None, None), ((h,), h[None])):
        outputs, after = core(inputs, state)
        expected, h_end = twin(inputs, given)
        torch.testing.assert_close(outputs, expected, rtol=0, atol=0)
        torch.testing.assert_close(after.hidden, h_end[0], rtol=0, atol=0)


@pytest.mark.parametrize("build", [LSTM, GRU, PlasticLSTM, PlasticGRU])
@pytest.mark.parametrize(
    "borders",
    [
        [(0, 0), (0, 1), (0, 2)],
        [(4, 1)],
        [(2, 0), (2, 2), (5, 1), (6, 0), (8, 2)],
        [(1, 0), (2, 0), (3, 0)],
    ],
    ids=["only at the start", "one row", "several", "steps in a row"],
)
def test_resets_make_separate_sequences(build: Any, borders: list[tuple[int, int]], inputs: Tensor) -> None:
    torch.manual_seed(0)
    core = build(N_IN, N)
    reset = torch.zeros(T, B, dtype=torch.bool)
    for t, b in borders:
        reset[t, b] = True
    outputs, end = core(inputs, None, reset)
    for b in range(B):
        cuts = [0, *(t for t, row in borders if row == b and t > 0), T]
        pieces = [core(inputs[s:e, b : b + 1]) for s, e in itertools.pairwise(cuts)]
        torch.testing.assert_close(outputs[:, b : b + 1], torch.cat([y for y, _ in pieces]))
        torch.testing.assert_close(tuple(part[b : b + 1] for part in end), tuple(pieces[-1][1]))


@pytest.mark.parametrize("build", [LSTM, GRU, PlasticLSTM, PlasticGRU])
def test_the_reset_flags_given_are_not_changed(build: Any, inputs: Tensor) -> None:
    reset = torch.zeros(T, B, dtype=torch.bool)
    build(N_IN, N)(inputs, None, reset)
    assert not reset.any()
