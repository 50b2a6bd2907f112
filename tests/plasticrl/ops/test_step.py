"""The in-place step: T of them are a scan, and the state it is given is the state that it leaves."""

import pytest
import torch
from torch import Tensor

from plasticrl.ops import plastic_scan, plastic_step_
from plasticrl.rules import ClippedHebb, Hebb, Oja
from plasticrl.state import PlasticState

STEPS, BATCH, N = 9, 3, 13


def draw(alpha: str, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor | None, Tensor, PlasticState]:
    g = torch.Generator().manual_seed(4)
    alphas = {"full": torch.randn(N, N, generator=g) / 5, "shared": torch.tensor(0.3), "none": None}
    chosen = alphas[alpha]
    state = PlasticState(
        torch.randn(BATCH, N, generator=g).to(dtype), torch.randn(BATCH, N, N, generator=g).to(dtype)
    )
    drive, w = (
        torch.randn(STEPS, BATCH, N, generator=g).to(dtype),
        torch.randn(N, N, generator=g).to(dtype) / 5,
    )
    return drive, w, None if chosen is None else chosen.to(dtype), torch.tensor(0.1, dtype=dtype), state


def clone(state: PlasticState) -> PlasticState:
    return PlasticState(*(x.clone() for x in state))


@pytest.mark.parametrize("rule", [Hebb(), Oja(), ClippedHebb(0.4)])
@pytest.mark.parametrize("alpha", ["full", "shared", "none"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_steps_make_a_scan(rule, alpha, dtype):
    drive, w, a, eta, start = draw(alpha, dtype)
    g = torch.Generator().manual_seed(5)
    reset = torch.rand(STEPS, BATCH, generator=g) < 0.2
    clamp = torch.rand(STEPS, BATCH, N, generator=g) < 0.2
    expected, end = plastic_scan(drive, w, a, eta, clone(start), reset, clamp, rule=rule, backend="reference")
    state = clone(start)
    for t in range(STEPS):
        y = plastic_step_(drive[t], w, a, eta, state, reset[t], clamp[t], rule=rule)
        torch.testing.assert_close(y, expected[t])
    torch.testing.assert_close(state, end)


def test_state_is_updated_in_place_without_gradient():
    drive, w, alpha, eta, start = draw("full", torch.float32)
    state = clone(start)
    hidden, trace = state
    y = plastic_step_(drive[0].requires_grad_(), w.requires_grad_(), alpha, eta, state)
    assert not y.requires_grad
    torch.testing.assert_close(hidden, y, rtol=0, atol=0)
    assert not torch.equal(trace, start.trace)
    before = y.clone()
    plastic_step_(drive[1], w, alpha, eta, state)
    torch.testing.assert_close(y, before, rtol=0, atol=0)  # outputs handed out are not written again


def test_autograd_notices_that_a_saved_trace_was_overwritten():
    drive, w, alpha, eta, start = draw("full", torch.float32)
    state = clone(start)
    y, _ = plastic_scan(drive, w.requires_grad_(), alpha, eta, state)
    plastic_step_(drive[0], w, alpha, eta, state)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


def test_strided_state_is_updated_too():
    drive, w, alpha, eta, start = draw("full", torch.float32)
    expected = clone(start)
    plastic_step_(drive[0], w, alpha, eta, expected)
    strided = PlasticState(start.hidden.clone(), start.trace.mT.contiguous().mT)
    plastic_step_(drive[0], w, alpha, eta, strided)
    torch.testing.assert_close(strided, expected)


@pytest.mark.parametrize("name", ["w", "alpha"])
def test_an_argument_that_does_not_fit_raises_before_anything_is_written(name):
    drive, w, alpha, eta, start = draw("full", torch.float32)
    state = clone(start)
    arguments = {"w": w, "alpha": alpha, name: torch.zeros(N, N + 1)}
    with pytest.raises(ValueError, match=name):
        plastic_step_(drive[0], eta=eta, state=state, **arguments)
    torch.testing.assert_close(state, start, rtol=0, atol=0)
