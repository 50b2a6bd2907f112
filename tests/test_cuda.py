"""On a GPU the same numbers come out as on the CPU; skipped where there is none."""

from typing import Any

import pytest
import torch
from torch import Tensor

from plasticrl import PlasticGRU, PlasticLSTM, PlasticRNN
from plasticrl.agents import EpisodeLearner, RecurrentA2C
from plasticrl.envs import make_task, make_vec_env
from plasticrl.nn.factory import CORE_NAMES
from plasticrl.rules import RULES

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


def unrolled(device: str, build: Any, **options: Any) -> dict[str, Tensor]:
    """Outputs, final state and all gradients of one network on one device, in double precision."""
    torch.manual_seed(3)
    rnn = build(input_size=4, hidden_size=7, **options).double()
    with torch.no_grad():
        for parameter in rnn.parameters():
            parameter.copy_(torch.rand_like(parameter) * 0.4)
    inputs, starts = torch.randn(9, 5, 4, dtype=torch.float64), torch.rand(9, 5) < 0.2
    rnn, inputs = rnn.to(device), inputs.to(device).requires_grad_()
    outputs, state = rnn(inputs, None, starts.to(device))
    (outputs.sum() + state.trace.square().sum()).backward()
    gradients = {name: parameter.grad for name, parameter in rnn.named_parameters()}
    found = {"outputs": outputs, **state._asdict(), "inputs": inputs.grad}
    return {name: one.detach().cpu() for name, one in {**found, **gradients}.items() if one is not None}


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("alpha", ["full", "shared"])
@pytest.mark.parametrize("build", [PlasticRNN, PlasticLSTM, PlasticGRU])
@pytest.mark.parametrize(
    ("modulation", "modulate"), [("none", "neurons"), ("sigmoid", "neurons"), ("tanh", "network")]
)
def test_the_recurrence_and_its_gradients(
    build: Any, modulation: str, modulate: str, rule: str, alpha: str
) -> None:
    options = {"rule": rule, "alpha": alpha, "modulation": modulation, "modulate": modulate}
    expected, found = unrolled("cpu", build, **options), unrolled("cuda", build, **options)
    assert expected.keys() == found.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, rtol=1e-9, atol=1e-12, msg=lambda m: f"{name}: {m}")  # noqa: B023


@pytest.mark.parametrize("rule", ["hebb", "oja"])
def test_mixed_precision_is_as_precise_as_its_projection(rule: str) -> None:
    torch.manual_seed(3)
    rnn = PlasticRNN(input_size=4, hidden_size=32, rule=rule, init="normal", init_scale=0.1).to("cuda")
    inputs = torch.randn(20, 5, 4, device="cuda")
    found = []
    for half in (False, True):
        with torch.autocast("cuda", dtype=torch.bfloat16, enabled=half):
            outputs, state = rnn(inputs)
        assert outputs.dtype == state.trace.dtype == torch.float32
        gradients = torch.autograd.grad(outputs.square().sum(), list(rnn.parameters()))
        found.append((outputs, state.trace, *gradients))
    for ours, theirs in zip(*found, strict=True):
        assert 0 < (theirs - ours).norm() < 0.02 * ours.norm()  # bfloat16 has 8 bits


@pytest.mark.parametrize("core", CORE_NAMES)
def test_an_agent_learns_there_and_its_file_is_read_on_the_cpu(core: str, tmp_path: Any) -> None:
    env = make_vec_env("PlasticMaze-v0", 3, seed=1, size=5, episode_length=12)
    kwargs = {"core": core, "hidden_size": 8}
    agent = RecurrentA2C("PlasticPolicy", env, n_steps=12, policy_kwargs=kwargs, seed=0, device="cuda")
    agent.learn(72)
    agent.save(tmp_path / "agent")
    again = RecurrentA2C.load(tmp_path / "agent", env=env, device="cpu")
    for name, tensor in again.policy.state_dict().items():
        torch.testing.assert_close(tensor, agent.policy.state_dict()[name].cpu(), rtol=0, atol=0)
    again.learn(36, reset_num_timesteps=False)


@pytest.mark.parametrize("core", ["plastic", "homogeneous", "rnn", "lstm"])
def test_a_learner_learns_the_same_there(core: Any) -> None:
    def learned(device: str) -> Tensor:
        learner = EpisodeLearner(core, make_task("patterns", n_bits=20), seed=0, device=device).learn(3)
        return torch.cat([parameter.detach().cpu().flatten() for parameter in learner.network.parameters()])

    before = EpisodeLearner(core, make_task("patterns", n_bits=20), seed=0, device="cpu").network.parameters()
    moved = (learned("cpu") - torch.cat([one.detach().flatten() for one in before])).abs().mean()
    assert (learned("cuda") - learned("cpu")).abs().mean() < 0.01 * moved
