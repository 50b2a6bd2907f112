"""sb3-contrib's learner with files that are no pickles: what fits comes back, what does not is refused."""

import json
import struct
import zipfile
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sb3_contrib import RecurrentPPO
from stable_baselines3.common.vec_env import VecEnv

from plasticrl.agents import RecurrentA2C, TensorFileError
from plasticrl.agents.recurrent_ppo import PlainRecurrentPPO
from plasticrl.agents.tensor_file import read_tensors, write_tensors
from plasticrl.envs import make_vec_env

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


def test_it_learns_as_the_original_does(trained: PlainRecurrentPPO) -> None:
    original = RecurrentPPO(env=mazes(), device="cpu", **ARGUMENTS).learn(60)
    for name, tensor in original.policy.state_dict().items():
        torch.testing.assert_close(trained.policy.state_dict()[name], tensor)  # up to rounding


def test_parameters_optimiser_and_counters_come_back(trained: PlainRecurrentPPO, tmp_path: Path) -> None:
    trained.save(tmp_path / "new" / "agent")
    again = loaded(tmp_path / "new" / "agent")
    first, second = BytesIO(), BytesIO()
    trained.save(first)
    again.save(second)
    assert first.getvalue() == second.getvalue()
    assert again.num_timesteps == 60
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
    trained.save(tmp_path / "agent.safetensors")
    again = loaded(tmp_path / "agent.safetensors").learn(40, reset_num_timesteps=False)
    assert again.num_timesteps == 100
    assert any(
        not torch.equal(tensor, trained.policy.state_dict()[name])
        for name, tensor in again.policy.state_dict().items()
    )


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
    with pytest.raises(ValueError, match="needs an env"):
        PlainRecurrentPPO.load(tmp_path / "agent", **ARGUMENTS)
    with pytest.raises(ValueError, match="nothing can be left out"):
        trained.save(tmp_path / "agent", exclude=["policy"])


@pytest.mark.parametrize("wrong", [-1, 2.5, "many", None])
def test_counters_that_are_none_are_refused(wrong: Any, trained: PlainRecurrentPPO, tmp_path: Path) -> None:
    trained.save(tmp_path / "agent")
    tensors, data = read_tensors(tmp_path / "agent.safetensors")
    data["counters"]["num_timesteps"] = wrong
    write_tensors(tmp_path / "wrong.safetensors", tensors, data)
    with pytest.raises(TensorFileError, match="not whole"):
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
    assert set(json.loads(text)["data"]) == {"format", "version", "policy", "optimizer", "counters"}
