"""Several processes train one learner as one process would."""

from pathlib import Path
from typing import Any

import joint_learners as joint
import numpy as np
import pytest
import torch

from plasticrl.agents import RecurrentA2C
from plasticrl.agents.checkpoint.tensor_file import read_tensors
from plasticrl.agents.common.distributed import ALONE, Ranks
from plasticrl.agents.recurrent.distributed import env_share, together
from plasticrl.agents.recurrent.on_policy_algorithm import RecurrentOnPolicyAlgorithm
from plasticrl.envs import make_vec_env

CLOSE = 1e-6


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two processes saved of each learner."""
    folder = tmp_path_factory.mktemp("trained")
    joint.run_together(joint.train_all, folder)
    return folder


def check_alike(path: Path, other: Path) -> None:
    """The same but for rounding, the time of day, and how long the last call of ``learn`` was to last."""
    (tensors, data), (others, its) = read_tensors(path), read_tensors(other)
    assert tensors.keys() == others.keys()
    for name, tensor in tensors.items():
        torch.testing.assert_close(tensor, others[name], rtol=CLOSE, atol=CLOSE, msg=name)
    for one in (data, its):
        for episode in one.get("ep_info_buffer") or ():
            episode.pop("t")
        for name in ("_num_timesteps_at_start", "_total_timesteps"):
            one.get("counters", {}).pop(name, None)
        one.pop("progress", None)
    usual, of_other = (one.pop("usual_grad_norm", 0.0) for one in (data, its))
    assert usual == pytest.approx(of_other, rel=CLOSE)
    assert data == its


@pytest.mark.parametrize("kind", joint.LEARNERS)
def test_two_processes_learn_what_one_does(kind: str, trained: Path, tmp_path: Path) -> None:
    alone = joint.LEARNERS[kind]()
    before = [p.detach().clone() for p in parameters(alone)]
    joint.train(alone, joint.UPDATES)
    assert not all(torch.equal(p, b) for p, b in zip(parameters(alone), before, strict=True))
    alone.save(tmp_path / "alone")
    for rank in range(2):
        check_alike(tmp_path / "alone.safetensors", trained / f"{kind}_{rank}.safetensors")


def test_all_processes_have_the_same_bits(trained: Path) -> None:
    for kind in joint.LEARNERS:
        one, other = (read_tensors(trained / f"{kind}_{rank}.safetensors")[0] for rank in range(2))
        assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())


def test_a_checkpoint_goes_on_with_any_number_of_processes(trained: Path, tmp_path: Path) -> None:
    for kind in joint.LOADS:
        one = joint.LEARNERS[kind]()
        joint.train(one, 2)
        one.save(tmp_path / kind)
    joint.run_together(joint.go_on, tmp_path)
    for kind, load in joint.LOADS.items():
        check_alike(tmp_path / f"{kind}_0.safetensors", trained / f"{kind}_1.safetensors")
        again = load(trained / f"{kind}_1")  # and back to one
        joint.train(again, 1)
        again.save(tmp_path / "again")
        whole = joint.LEARNERS[kind]()
        joint.train(whole, joint.UPDATES + 1)
        whole.save(tmp_path / "whole")
        check_alike(tmp_path / "again.safetensors", tmp_path / "whole.safetensors")


def test_a_signal_to_one_stops_all_at_the_same_update(tmp_path: Path) -> None:
    joint.run_together(joint.stop_one, tmp_path)
    for kind in joint.LOADS:
        whole = joint.LEARNERS[kind]()
        joint.train(whole, 2)
        whole.save(tmp_path / "whole")
        for rank in range(2):
            check_alike(tmp_path / f"{kind}_{rank}.safetensors", tmp_path / "whole.safetensors")


def test_what_is_not_finite_in_one_stops_all(tmp_path: Path) -> None:
    joint.run_together(joint.go_wrong, tmp_path)
    said = [(tmp_path / f"said_{rank}").read_text().splitlines() for rank in range(2)]
    assert [len(lines) for lines in said] == [2, 2]
    assert "another process" in said[0][0]
    assert "the core's" in said[1][0]


def test_processes_tell_each_other(tmp_path: Path) -> None:
    joint.run_together(joint.talk, tmp_path)


def test_learners_that_differ_are_refused(tmp_path: Path) -> None:
    joint.run_together(joint.refuse_others, tmp_path)
    for rank in range(2):
        assert "same seed" in (tmp_path / f"said_{rank}").read_text()


def test_alone_nothing_changes() -> None:
    rows, array = torch.ones(2, 3), np.ones(2)
    assert ALONE.among_all(rows) is rows
    assert ALONE.average([], rows) == (rows,)
    assert ALONE.gather(array, axis=0) is array
    assert (ALONE.broadcast(5), ALONE.any(True), ALONE.any(False)) == (5, True, False)
    agent = joint.agent()
    env = agent.env
    assert agent.join(ALONE).leave().env is env


def test_shares() -> None:
    assert Ranks(1, 3).share(6) == slice(2, 4)
    assert Ranks(1, 2).among_all(torch.ones(1, 1)).tolist() == [[0], [1]]
    with pytest.raises(ValueError, match="multiple of 3"):
        Ranks(0, 3).share(4)
    with pytest.raises(ValueError, match="multiple of 3"):
        joint.agent().join(Ranks(0, 3))
    with pytest.raises(ValueError, match="multiple of 3"):
        joint.learner(joint.patterns()).join(Ranks(0, 3))


def test_batch_normalization_is_not_shared() -> None:
    model = joint.learner(joint.one_shot(), network_kwargs={"batch_norm": True})
    with pytest.raises(ValueError, match="batch normalization trains in one process"):
        model.join(Ranks(0, 2))
    assert model.join(ALONE).ranks is ALONE


def test_only_mazes_are_shared() -> None:
    env = make_vec_env("CartPole-v1", n_envs=2, seed=0)
    agent = RecurrentA2C("PlasticPolicy", env, policy_kwargs={"hidden_size": 4}, seed=0, n_steps=4)
    with pytest.raises(ValueError, match="batched maze"):
        agent.join(Ranks(0, 2))
    assert agent.env is env


def test_saving_where_the_others_do_not_listen_is_refused(tmp_path: Path) -> None:
    agent = joint.agent()
    agent.ranks = Ranks(0, 2)
    with pytest.raises(RuntimeError, match="on_rollout_start"):
        agent.save(tmp_path / "agent")


@pytest.mark.parametrize("steps", [0, 7, joint.LENGTH + 3])
def test_shares_of_mazes_do_what_the_whole_does(steps: int) -> None:
    whole, rng = joint.mazes(), np.random.default_rng(0)
    if steps:
        whole.reset()
    for _ in range(steps):
        whole.step(rng.integers(4, size=4))
    shares = [env_share(whole, slice(0, 2)), env_share(whole, slice(2, 4))]
    if not steps:
        assert_same(whole.reset(), [share.reset() for share in shares])
    for _ in range(2 * joint.LENGTH):
        actions = rng.integers(4, size=4)
        seen = whole.step(actions)
        parts = [share.step(actions[2 * i : 2 * i + 2]) for i, share in enumerate(shares)]
        for k in range(3):
            assert_same(seen[k], [part[k] for part in parts])
    state = whole.state_dict()
    assert repr(together([share.state_dict() for share in shares])) == repr(state)


def assert_same(whole: Any, parts: list[Any]) -> None:
    np.testing.assert_array_equal(whole, np.concatenate(parts))


def parameters(one: Any) -> list[torch.Tensor]:
    network = one.policy if isinstance(one, RecurrentOnPolicyAlgorithm) else one.network
    return list(network.parameters())
