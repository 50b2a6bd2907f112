"""Files from before observations and returns were normalized are read with the defaults of that time."""

from collections.abc import Callable
from io import BytesIO
from typing import Any

import pytest
import torch
from stable_baselines3.common.vec_env import VecEnv

from plasticrl.agents import CORE_NAMES, CoreName, PlasticPolicy, RecurrentA2C, TensorFileError
from plasticrl.agents.checkpoint.tensor_file import read_tensors, write_tensors
from plasticrl.envs import make_vec_env

EVERY_CORE = pytest.mark.parametrize("core", CORE_NAMES)
UPDATE = 3 * 7  # steps
NEW = ("normalize_observations", "normalize_returns")


def mazes() -> VecEnv:
    return make_vec_env("PlasticMaze-v0", 3, seed=5, size=5, episode_length=10)


def former_defaults(core: CoreName) -> dict[str, Any]:
    bounds = {"bound_eta": False} if core in ("plastic", "homogeneous") else {}
    return {"hidden_size": 200, "normalize_observations": False, "normalize_returns": False, **bounds}


def agent(core: CoreName, **options: Any) -> RecurrentA2C:
    kwargs = {"core": core, **former_defaults(core), **options}
    return RecurrentA2C("PlasticPolicy", mazes(), n_steps=7, policy_kwargs=kwargs, seed=2, device="cpu")


def rewritten(save: Callable[[Any], None], change: Callable[[dict[str, Any]], object]) -> BytesIO:
    """What was saved, with other JSON."""
    file, other = BytesIO(), BytesIO()
    save(file)
    tensors, data = read_tensors(BytesIO(file.getvalue()))
    change(data)
    write_tensors(other, tensors, data)
    return BytesIO(other.getvalue())


def as_version_2(core: CoreName, left_out: Any) -> Callable[[dict[str, Any]], None]:
    """Make an agent's file one of version 2, which names no argument that had its default."""

    def change(data: dict[str, Any]) -> None:
        assert data["version"] == 3
        data["version"] = 2
        for name in left_out:
            del data["settings"]["policy_kwargs"][name]

    return change


def same(one: Any, other: Any) -> bool:
    a, b = one.state_dict(), other.state_dict()
    return a.keys() == b.keys() and all(torch.equal(part, b[name]) for name, part in a.items())


@EVERY_CORE
def test_an_agent_of_version_2_goes_on_to_the_same_bits(core: CoreName) -> None:
    whole = agent(core).learn(4 * UPDATE)
    half = agent(core).learn(2 * UPDATE)
    file = rewritten(half.save, as_version_2(core, former_defaults(core)))
    resumed = RecurrentA2C.load(file, mazes(), "cpu")
    assert resumed.policy.core.output_size == 200
    assert resumed.policy.observation_normalizer is None
    assert resumed.policy.return_moments is None
    resumed.learn(2 * UPDATE, reset_num_timesteps=False)
    assert same(resumed.policy, whole.policy)


@EVERY_CORE
def test_what_an_agent_of_version_2_names_is_kept(core: CoreName) -> None:
    bounds = {"bound_eta": True} if core in ("plastic", "homogeneous") else {}
    half = agent(core, hidden_size=6, **bounds).learn(2 * UPDATE)
    resumed = RecurrentA2C.load(rewritten(half.save, as_version_2(core, NEW)), mazes(), "cpu")
    assert resumed.policy_kwargs == {"core": core, **former_defaults(core), "hidden_size": 6, **bounds}
    assert same(resumed.policy, half.policy)
    assert (resumed.gamma, resumed.n_steps) == (half.gamma, half.n_steps)


def test_an_agent_of_version_2_is_saved_as_one_of_version_3() -> None:
    file = rewritten(agent("plastic").learn(UPDATE).save, as_version_2("plastic", former_defaults("plastic")))
    again = BytesIO()
    RecurrentA2C.load(file, mazes(), "cpu").save(again)
    data = read_tensors(BytesIO(again.getvalue()))[1]
    assert data["version"] == 3
    assert {name: data["settings"]["policy_kwargs"][name] for name in NEW} == dict.fromkeys(NEW, False)


@EVERY_CORE
def test_a_policy_of_version_1_is_read(core: CoreName) -> None:
    policy = agent(core, hidden_size=6).policy

    def change(data: dict[str, Any]) -> None:
        assert data["version"] == 2
        data["version"] = 1
        for name in (*NEW, "bound_eta"):
            data["arguments"].pop(name, None)

    loaded = PlasticPolicy.load(rewritten(policy.save, change), device="cpu")
    assert loaded.observation_normalizer is None
    assert loaded.return_moments is None
    assert same(loaded, policy)
    if core in ("plastic", "homogeneous"):
        assert loaded.core.plasticity.eta == policy.core.plasticity.eta  # type: ignore[union-attr]


class OwnPolicy(PlasticPolicy):
    """A policy of a user's own, with a default of its own."""

    def __init__(self, *given: Any, hidden_size: int = 5, **options: Any) -> None:
        super().__init__(*given, hidden_size=hidden_size, **options)


def test_a_policy_of_one_s_own_keeps_its_own_defaults() -> None:
    kwargs = dict.fromkeys(NEW, False)
    half = RecurrentA2C(OwnPolicy, mazes(), n_steps=7, policy_kwargs=kwargs, seed=2, device="cpu").learn(
        UPDATE
    )
    file = rewritten(half.save, as_version_2("plastic", NEW))
    resumed = RecurrentA2C.load(file, mazes(), "cpu", policy_class=OwnPolicy)
    assert resumed.policy.core.output_size == 5
    assert same(resumed.policy, half.policy)


@pytest.mark.parametrize("version", [1, 4, 2.0, True, "2", None])
def test_an_agent_of_another_version_is_refused(version: Any) -> None:
    file = rewritten(agent("rnn", hidden_size=3).save, lambda data: data.update(version=version))
    with pytest.raises(
        TensorFileError, match=rf"version {version!r}; this plasticrl reads .*, version 2 or 3"
    ):
        RecurrentA2C.load(file, device="cpu")


@pytest.mark.parametrize("version", [0, 3, 1.0, True, "1", None])
def test_a_policy_of_another_version_is_refused(version: Any) -> None:
    policy = agent("rnn", hidden_size=3).policy
    file = rewritten(policy.save, lambda data: data.update(version=version))
    with pytest.raises(
        TensorFileError, match=rf"version {version!r}; this plasticrl reads .*, version 1 or 2"
    ):
        PlasticPolicy.load(file, device="cpu")


@pytest.mark.parametrize("wrong", [{"settings": None}, {"settings": {"policy_kwargs": 3}}, {}])
def test_an_agent_of_version_2_without_its_settings_is_refused(wrong: dict[str, Any]) -> None:
    def change(data: dict[str, Any]) -> None:
        data["version"] = 2
        del data["settings"]
        data |= wrong

    file = rewritten(agent("rnn", hidden_size=3).save, change)
    with pytest.raises(TensorFileError, match=r"incomplete or invalid|settings"):
        RecurrentA2C.load(file, device="cpu")
