"""The agent that docs/export.md exports acts as the agent itself, through a whole episode."""

import re
import runpy
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from torch import Tensor

from plasticrl.agents import RecurrentA2C

PAGE = Path(__file__).parents[3] / "docs" / "export.md"


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
@pytest.mark.parametrize(
    "more", ["", ', "backend": "reference"', ', "core": "homogeneous", "rule": "oja", "backend": "reference"']
)
def test_the_exported_agent_acts_as_the_agent(
    more: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert '"hidden_size": 32' in example
    monkeypatch.chdir(tmp_path)
    Path("example.py").write_text(example.replace('"hidden_size": 32', f'"hidden_size": 32{more}'))
    agent: RecurrentA2C = runpy.run_path("example.py", run_name="__main__")["agent"]
    exported: list[Any] = [torch.jit.load("agent.pt"), torch.export.load("agent.pt2").module()]

    env = gym.make("PlasticMaze-v0", episode_length=60)
    obs, _ = env.reset(seed=1)
    state: Any = None
    inner: list[tuple[Tensor, ...]] = [tuple(agent.policy.initial_state(1)) for _ in exported]
    over = False
    while not over:
        values = agent.policy.predict_values(
            torch.as_tensor(obs[None]), agent.policy.initial_state(1), torch.ones(1, dtype=torch.bool)
        )
        first = state is None
        action, state = agent.predict(obs, state, deterministic=True)
        for k, program in enumerate(exported):
            with torch.no_grad():
                logits, value, *after = program(torch.as_tensor(obs[None]), *inner[k])
            inner[k] = tuple(after)
            assert logits.argmax() == action
            if first:
                torch.testing.assert_close(value, values)
            for ours, theirs in zip(after, state, strict=True):
                np.testing.assert_allclose(ours.numpy(), theirs, rtol=1e-4, atol=1e-5)
        obs, _, terminated, truncated, _ = env.step(int(action))
        over = terminated or truncated
    assert abs(state[1]).max() > 0
