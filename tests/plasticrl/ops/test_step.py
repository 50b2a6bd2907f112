"""The in-place step: T of them are a scan, and the state it is given is the state that it leaves."""

import pytest
import torch
from recurrences import ADJOINT_RULES, ALPHAS, MODULATIONS, RULES, make_case
from torch import Tensor

from plasticrl.ops import plastic_scan, plastic_step_
from plasticrl.ops.cells import CELLS
from plasticrl.state import PlasticState, RecurrentState

STEPS, BATCH, N = 9, 3, 13


def draw() -> tuple[Tensor, Tensor, Tensor, Tensor, PlasticState]:
    v = make_case(STEPS, BATCH, N).inputs
    return v["drive"], v["w"], v["alpha"], v["eta"], PlasticState(v["hidden"], v["trace"])


def clone(state: RecurrentState) -> RecurrentState:
    return type(state)(*(x.clone() for x in state))


@pytest.mark.parametrize("alpha", ALPHAS)
@pytest.mark.parametrize("modulation", MODULATIONS)
@pytest.mark.parametrize("rule", [*RULES, *ADJOINT_RULES], ids=lambda rule: rule.name)
@pytest.mark.parametrize("cell", CELLS)
def test_steps_make_a_scan(cell, rule, modulation, alpha):
    """In float32 by the kernels if they know the rule, in float64 by torch."""
    for dtype in (torch.float32, torch.float64):
        case = make_case(
            STEPS, BATCH, N, cell=cell, rule=rule, modulation=modulation, alpha=alpha, dtype=dtype
        )
        case.masks["reset"][3, 1] = True
        expected, *end = case.scan(backend="reference")
        state, v = clone(case.state()), case.inputs
        for t in range(STEPS):
            masks = {name: mask[t] for name, mask in case.masks.items()}
            rest = (v["w"], v.get("alpha"), v["eta"], state)
            y = plastic_step_(v["drive"][t], *rest, **masks, **case.options)
            torch.testing.assert_close(y, expected[t])
        torch.testing.assert_close(list(state), end)


def test_state_is_updated_in_place_without_gradient():
    drive, w, alpha, eta, start = draw()
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
    drive, w, alpha, eta, start = draw()
    state = clone(start)
    y, _ = plastic_scan(drive, w.requires_grad_(), alpha, eta, state)
    plastic_step_(drive[0], w, alpha, eta, state)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


def test_strided_state_is_updated_too():
    drive, w, alpha, eta, start = draw()
    expected = clone(start)
    plastic_step_(drive[0], w, alpha, eta, expected)
    strided = PlasticState(start.hidden.clone(), start.trace.mT.contiguous().mT)
    plastic_step_(drive[0], w, alpha, eta, strided)
    torch.testing.assert_close(strided, expected)


@pytest.mark.parametrize("name", ["w", "alpha"])
def test_an_argument_that_does_not_fit_raises_before_anything_is_written(name):
    drive, w, alpha, eta, start = draw()
    state = clone(start)
    arguments = {"w": w, "alpha": alpha, name: torch.zeros(N, N + 1)}
    with pytest.raises(ValueError, match=name):
        plastic_step_(drive[0], eta=eta, state=state, **arguments)
    torch.testing.assert_close(state, start, rtol=0, atol=0)
