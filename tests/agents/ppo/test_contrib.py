"""sb3-contrib's learner with files that are no pickles: what fits comes back, what does not is refused."""

import json
import math
import os
import signal
import struct
import zipfile
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sb3_contrib import RecurrentPPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import VecEnv

from plasticrl.agents import NonFiniteError, RecurrentA2C, TensorFileError
from plasticrl.agents.checkpoint.tensor_file import read_tensors, write_tensors
from plasticrl.agents.ppo.contrib import PlainRecurrentPPO
from plasticrl.envs import make_vec_env
from plasticrl.signals import StoppedBetweenUpdates

ARGUMENTS: dict[str, Any] = {
    "policy": "MlpLstmPolicy",
    "n_steps": 10,
    "batch_size": 20,
    "n_epochs": 2,
    "learning_rate": 3e-3,
    "policy_kwargs": {"lstm_hidden_size": 5},
    "seed": 1,
}


def mazes() -> VecEnv:
    return make_vec_env("PlasticMaze-v0", 2, seed=5, size=5, episode_length=10)


@pytest.fixture(scope="module")
def trained() -> PlainRecurrentPPO:
    return PlainRecurrentPPO(env=mazes(), device="cpu", **ARGUMENTS).learn(60)


def loaded(path: Any) -> PlainRecurrentPPO:
    return PlainRecurrentPPO.load(path, mazes(), "cpu", **ARGUMENTS)


@pytest.mark.parametrize("n_steps", [10, 7], ids=["with the episodes", "across them"])
def test_it_learns_as_the_original_does(n_steps: int) -> None:
    arguments = {**ARGUMENTS, "n_steps": n_steps, "batch_size": 2 * n_steps}
    ours, original = (
        kind(env=mazes(), device="cpu", **arguments).learn(60) for kind in (PlainRecurrentPPO, RecurrentPPO)
    )
    for name, tensor in original.policy.state_dict().items():
        torch.testing.assert_close(ours.policy.state_dict()[name], tensor)  # up to rounding


def test_parameters_optimiser_and_counters_come_back(trained: PlainRecurrentPPO, tmp_path: Path) -> None:
    trained.save(tmp_path / "new" / "agent")
    again = loaded(tmp_path / "new" / "agent")
    first, second = BytesIO(), BytesIO()
    trained.save(first)
    again.save(second)
    assert first.getvalue() == second.getvalue()
    assert again.num_timesteps == 60
    assert read_tensors(tmp_path / "new" / "agent.safetensors")[1]["counters"] == {
        "num_timesteps": 60,
        "_n_updates": trained._n_updates,
        "_episode_num": trained._episode_num,
    }
    observation = mazes().reset()
    starts = np.ones(2, dtype=np.bool_)
    ours, theirs = (
        agent.predict(observation, None, starts, deterministic=True)[1] for agent in (trained, again)
    )
    assert ours is not None
    assert theirs is not None
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_loaded_agent_goes_on(trained: PlainRecurrentPPO, tmp_path: Path) -> None:
    def steps_of_adam(agent: PlainRecurrentPPO) -> list[float]:
        return [state["step"].item() for state in agent.policy.optimizer.state.values()]

    trained.save(tmp_path / "agent.safetensors")
    before = steps_of_adam(trained)
    again = loaded(tmp_path / "agent.safetensors")
    assert steps_of_adam(again) == before
    again.learn(40, reset_num_timesteps=False)
    assert again.num_timesteps == 100
    more = 2 * 2 * 1  # rollouts, epochs, batches of each
    assert steps_of_adam(again) == [step + more for step in before]


def test_a_training_that_goes_on_sees_other_episodes(trained: PlainRecurrentPPO, tmp_path: Path) -> None:
    trained.save(tmp_path / "agent")

    def first(env: VecEnv) -> list[Any]:
        return [env.reset()[:, :9].tolist(), torch.rand(4).tolist()]

    fresh, resumed = mazes(), mazes()
    PlainRecurrentPPO(env=fresh, device="cpu", **ARGUMENTS)
    begun = first(fresh)
    PlainRecurrentPPO.load(tmp_path / "agent", resumed, "cpu", **ARGUMENTS)
    assert first(resumed)[1] != begun[1]
    PlainRecurrentPPO.load(tmp_path / "agent", resumed, "cpu", **ARGUMENTS)
    again = first(resumed)
    PlainRecurrentPPO.load(tmp_path / "agent", resumed, "cpu", **ARGUMENTS)
    assert first(resumed) == again  # but the same each time


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_lets_the_update_end(number: signal.Signals) -> None:
    class Interrupt(BaseCallback):
        def _on_step(self) -> bool:
            if self.num_timesteps == 26:  # within the second of three rollouts
                os.kill(os.getpid(), number)
            return True

    agent = PlainRecurrentPPO(env=mazes(), device="cpu", **ARGUMENTS)
    with pytest.raises(StoppedBetweenUpdates):
        agent.learn(60, Interrupt())
    assert agent.num_timesteps == 40
    assert agent._n_updates == 2 * ARGUMENTS["n_epochs"]


def test_parameters_that_are_not_finite_end_the_training() -> None:
    spoilt = {**ARGUMENTS, "n_epochs": 1, "max_grad_norm": math.nan}  # clipped to it, gradients are NaN
    agent = PlainRecurrentPPO(env=mazes(), device="cpu", **spoilt)
    with pytest.raises(NonFiniteError, match="not finite after 20 steps"):
        agent.learn(60)


def test_files_of_others_are_refused(trained: PlainRecurrentPPO, tmp_path: Path) -> None:
    RecurrentPPO.save(trained, tmp_path / "zip")
    assert zipfile.is_zipfile(tmp_path / "zip.zip")
    with pytest.raises(TensorFileError, match="never unpickled"):
        loaded(tmp_path / "zip.zip")
    RecurrentA2C("PlasticPolicy", mazes(), device="cpu").save(tmp_path / "a2c")
    with pytest.raises(TensorFileError, match=r"PlainRecurrentPPO\.save wrote"):
        loaded(tmp_path / "a2c")


def test_other_settings_and_spaces_are_refused(trained: PlainRecurrentPPO, tmp_path: Path) -> None:
    trained.save(tmp_path / "agent")
    other = {**ARGUMENTS, "policy_kwargs": {"lstm_hidden_size": 6}}
    with pytest.raises(TensorFileError, match=r"policy/.* in the file and .* in the agent"):
        PlainRecurrentPPO.load(tmp_path / "agent", mazes(), "cpu", **other)
    blind = make_vec_env("PlasticMaze-v0", 2, size=5, episode_length=10, observe_action=False)
    with pytest.raises(TensorFileError, match="policy/"):
        PlainRecurrentPPO.load(tmp_path / "agent", blind, "cpu", **ARGUMENTS)
    with pytest.raises(ValueError, match="are not supported"):
        trained.save(tmp_path / "agent", exclude=["policy"])


@pytest.mark.parametrize("wrong", [-1, 2.5, "many", None, 2**63])
def test_counters_that_are_none_are_refused(wrong: Any, trained: PlainRecurrentPPO, tmp_path: Path) -> None:
    trained.save(tmp_path / "agent")
    tensors, data = read_tensors(tmp_path / "agent.safetensors")
    data["counters"]["num_timesteps"] = wrong
    write_tensors(tmp_path / "wrong.safetensors", tensors, data)
    with pytest.raises(TensorFileError, match="incomplete or invalid"):
        loaded(tmp_path / "wrong.safetensors")


def test_a_flipped_bit_is_found(trained: PlainRecurrentPPO, tmp_path: Path) -> None:
    trained.save(tmp_path / "agent")
    content = bytearray((tmp_path / "agent.safetensors").read_bytes())
    content[-1] ^= 1
    (tmp_path / "flipped.safetensors").write_bytes(content)
    with pytest.raises(TensorFileError, match="damaged"):
        loaded(tmp_path / "flipped.safetensors")


def test_no_setting_is_in_the_file(trained: PlainRecurrentPPO) -> None:
    file = BytesIO()
    trained.save(file)
    (length,) = struct.unpack("<Q", file.getvalue()[:8])
    text = json.loads(file.getvalue()[8 : 8 + length])["__metadata__"]["plasticrl"]
    data = json.loads(text)["data"]
    assert set(data) == {"format", "version", "policy", "optimizer", "counters"}
    names = [name for name, _ in trained.policy.named_parameters()]
    assert set(data["optimizer"]) == set(names)
    assert all(set(one) == {"step", "exp_avg", "exp_avg_sq"} for one in data["optimizer"].values())
