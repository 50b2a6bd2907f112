"""LSTM and GRU: torch's own; with and without plasticity, separate episodes where there are resets."""

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor

from plasticrl.nn import GRU, LSTM, PlasticGRU, PlasticLSTM
from plasticrl.nn.gated import FORGET_BIAS

T, B, N_IN, N = 9, 3, 4, 5


@pytest.fixture
def inputs() -> Tensor:
    return torch.randn(T, B, N_IN, generator=torch.Generator().manual_seed(1))


def test_lstm_is_torchs() -> None:
    torch.manual_seed(0)
    core = LSTM(N_IN, N, forget_bias=0)
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
    core = GRU(N_IN, N, forget_bias=0)
    torch.manual_seed(0)
    twin = torch.nn.GRU(N_IN, N)
    inputs, h = torch.randn(T, B, N_IN), torch.randn(B, N)
    for state, given in ((None, None), ((h,), h[None])):
        outputs, after = core(inputs, state)
        expected, h_end = twin(inputs, given)
        torch.testing.assert_close(outputs, expected, rtol=0, atol=0)
        torch.testing.assert_close(after.hidden, h_end[0], rtol=0, atol=0)


def biases(core: Any) -> dict[str, Tensor]:
    """Copies of all biases by name; those that are added to the second gate are the first of them."""
    every = {name: p.detach().clone() for name, p in core.named_parameters() if "bias" in name}
    return dict(sorted(every.items(), key=lambda item: "bias_ih" not in item[0] and "in_proj" not in item[0]))


@pytest.mark.parametrize("forget_bias", [None, 0.0, 1.5])
@pytest.mark.parametrize("build", [LSTM, GRU, PlasticLSTM, PlasticGRU])
def test_only_the_gate_that_keeps_memories_starts_further_open(build: Any, forget_bias: float | None) -> None:
    """At first and after ``reset_parameters``; by ``FORGET_BIAS`` unless another bias is given."""
    given = {} if forget_bias is None else {"forget_bias": forget_bias}
    added = FORGET_BIAS if forget_bias is None else forget_bias
    torch.manual_seed(0)
    core = build(N_IN, N, **given)
    torch.manual_seed(0)
    plain = build(N_IN, N, forget_bias=0.0)
    for again in (False, True):
        if again:
            for one in (core, plain):
                torch.manual_seed(1)
                one.reset_parameters()
        (first, opened), *others = biases(core).items()
        expected = biases(plain)
        expected[first][N : 2 * N] += added
        torch.testing.assert_close(opened, expected[first], rtol=0, atol=1e-6)
        assert all(torch.equal(one, expected[name]) for name, one in others)
        for name, parameter in core.named_parameters():
            if "bias" not in name:
                assert torch.equal(parameter, dict(plain.named_parameters())[name]), name


@pytest.mark.parametrize("build", [LSTM, GRU, PlasticLSTM, PlasticGRU])
@pytest.mark.parametrize("wrong", [-1.0, float("inf"), float("nan"), "1", None])
def test_a_forget_bias_that_is_no_number_is_named(build: Any, wrong: Any) -> None:
    with pytest.raises(ValueError, match=r"^forget_bias must be"):
        build(N_IN, N, forget_bias=wrong)


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
