"""The policies compute what sb3-contrib's do, wherever episodes start, in fewer calls of the LSTM."""

from pathlib import Path
from typing import Any

import pytest
import torch
from sb3_contrib import RecurrentPPO
from sb3_contrib.ppo_recurrent.policies import MlpLstmPolicy
from torch import Tensor, nn

from plasticrl.agents.ppo.contrib import WHOLE_SEQUENCE_POLICIES, PlainRecurrentPPO, WholeSequences

ROWS, STEPS, FEATURES, HIDDEN = 3, 7, 4, 5
WHERE = {  # (row, step) of the starts
    "nowhere": [],
    "at the beginning of all": [(row, 0) for row in range(ROWS)],
    "at the beginning of one": [(1, 0)],
    "later in one": [(1, 3)],
    "later in neighbouring steps": [(0, 2), (1, 3), (2, 4)],
    "at the beginning and the end": [(0, 0), (2, STEPS - 1)],
    "everywhere": [(row, step) for row in range(ROWS) for step in range(STEPS)],
}


def starts_at(where: str) -> Tensor:
    starts = torch.zeros(ROWS, STEPS, dtype=torch.float64)
    for row, step in WHERE[where]:
        starts[row, step] = 1
    return starts


def inputs(steps: int, layers: int) -> tuple[nn.LSTM, dict[str, Tensor]]:
    torch.manual_seed(0)
    lstm = nn.LSTM(FEATURES, HIDDEN, layers).double()
    shapes = {
        "features": (ROWS * steps, FEATURES),
        "hidden": (layers, ROWS, HIDDEN),
        "cell": (layers, ROWS, HIDDEN),
    }
    leaves = {n: torch.randn(shape, dtype=torch.float64, requires_grad=True) for n, shape in shapes.items()}
    return lstm, leaves


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("first", [0, STEPS - 1], ids=["all steps", "the last one"])
@pytest.mark.parametrize("where", WHERE)
def test_outputs_states_and_gradients_are_the_originals(where: str, first: int, layers: int) -> None:
    starts = starts_at(where)[:, first:].flatten()
    lstm, leaves = inputs(STEPS - first, layers)
    weights = torch.randn(len(starts), HIDDEN, dtype=torch.float64)
    found: list[list[Tensor]] = []
    for policy in (MlpLstmPolicy, WholeSequences):
        states = (leaves["hidden"], leaves["cell"])
        output, (hidden, cell) = policy._process_sequence(leaves["features"], states, starts, lstm)
        loss = (weights * output).sum() + hidden.square().sum() + (cell * cell.roll(1)).sum()
        gradients = torch.autograd.grad(loss, [*leaves.values(), *lstm.parameters()])
        found.append([output, hidden, cell, *gradients])
    for theirs, ours in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("where", ["nowhere", "at the beginning of all", "at the beginning of one"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.bool])
def test_without_later_starts_it_is_one_call(where: str, dtype: torch.dtype) -> None:
    lstm, leaves = inputs(STEPS, layers=1)
    calls = []
    lstm.register_forward_hook(lambda *_: calls.append(1))
    states = (leaves["hidden"], leaves["cell"])
    WholeSequences._process_sequence(leaves["features"], states, starts_at(where).flatten().to(dtype), lstm)
    assert len(calls) == 1


@pytest.mark.parametrize("name", RecurrentPPO.policy_aliases)
def test_the_learner_uses_them_under_sb3s_names(name: str) -> None:
    policy = PlainRecurrentPPO.policy_aliases[name]
    assert issubclass(policy, WholeSequences)
    assert RecurrentPPO.policy_aliases[name] in policy.__mro__


@pytest.mark.parametrize("policy", WHOLE_SEQUENCE_POLICIES.values())
def test_a_policy_alone_is_neither_pickled_nor_unpickled(policy: Any, tmp_path: Path) -> None:
    torch.save({"data": {}, "state_dict": {}}, tmp_path / "policy.pth")
    with pytest.raises(NotImplementedError, match="can run code: save and load the whole agent"):
        policy.load(str(tmp_path / "policy.pth"))
    agent = PlainRecurrentPPO("MlpLstmPolicy", "CartPole-v1", device="cpu")
    with pytest.raises(NotImplementedError, match="can run code: save and load the whole agent"):
        agent.policy.save(str(tmp_path / "mine.pth"))
    assert not (tmp_path / "mine.pth").exists()
