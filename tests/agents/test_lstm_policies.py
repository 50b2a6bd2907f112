"""The faster policies compute what sb3-contrib's do, wherever episodes start."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from sb3_contrib.ppo_recurrent.policies import MlpLstmPolicy
from torch import Tensor, nn

from plasticrl.agents.lstm_policies import FastMlpLstmPolicy
from plasticrl.agents.recurrent_ppo import PlainRecurrentPPO

ROWS, STEPS, FEATURES, HIDDEN = 3, 7, 4, 5


def nowhere(starts: Tensor) -> None:
    pass


def at_the_beginning(starts: Tensor) -> None:
    starts[:, 0] = 1


def in_one_row_only(starts: Tensor) -> None:
    starts[1, 3] = 1


def in_neighbouring_steps(starts: Tensor) -> None:
    starts[0, 2] = starts[1, 3] = starts[2, 4] = 1


def at_the_end(starts: Tensor) -> None:
    starts[2, -1] = 1


def everywhere(starts: Tensor) -> None:
    starts[:] = 1


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("steps", [1, STEPS])
@pytest.mark.parametrize(
    "where",
    [nowhere, at_the_beginning, in_one_row_only, in_neighbouring_steps, at_the_end, everywhere],
    ids=lambda where: str(where.__name__),
)
def test_outputs_states_and_gradients_are_the_originals(
    where: Callable[[Tensor], None], steps: int, layers: int
) -> None:
    torch.manual_seed(0)
    starts = torch.zeros(ROWS, STEPS, dtype=torch.float64)
    where(starts)
    starts = starts[:, -steps:].reshape(-1)
    lstm = nn.LSTM(FEATURES, HIDDEN, layers).double()
    leaves: dict[str, Tensor] = {
        "features": torch.randn(ROWS * steps, FEATURES, dtype=torch.float64, requires_grad=True),
        "hidden": torch.randn(layers, ROWS, HIDDEN, dtype=torch.float64, requires_grad=True),
        "cell": torch.randn(layers, ROWS, HIDDEN, dtype=torch.float64, requires_grad=True),
        **dict(lstm.named_parameters()),
    }
    weights = torch.randn(ROWS * steps, HIDDEN, dtype=torch.float64)
    found: list[list[Tensor]] = []
    for policy in (MlpLstmPolicy, FastMlpLstmPolicy):
        states = (leaves["hidden"], leaves["cell"])
        output, (hidden, cell) = policy._process_sequence(leaves["features"], states, starts, lstm)
        loss = (weights * output).sum() + hidden.square().sum() + (cell * cell.roll(1)).sum()
        gradients = torch.autograd.grad(loss, list(leaves.values()))
        found.append([output, hidden, cell, *gradients])
    for name, theirs, ours in zip(("output", "hidden", "cell", *leaves), *found, strict=True):
        assert torch.allclose(ours, theirs, rtol=1e-9, atol=1e-12), name


@pytest.mark.parametrize("name", ["MlpLstmPolicy", "CnnLstmPolicy", "MultiInputLstmPolicy"])
def test_the_learner_uses_them_under_sb3s_names(name: str) -> None:
    policy: Any = PlainRecurrentPPO.policy_aliases[name]
    assert policy._process_sequence is FastMlpLstmPolicy._process_sequence
    assert issubclass(policy, MlpLstmPolicy)
