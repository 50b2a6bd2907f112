"""All that SB3 has for its users is here as there, or is refused with a reason; no name goes unnoticed.

The names come from SB3's own classes, so that one which a later SB3 adds fails here until it is looked at.
"""

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from sb3_contrib import RecurrentPPO
from sb3_contrib.common.recurrent.policies import RecurrentActorCriticPolicy
from stable_baselines3 import A2C
from stable_baselines3.common.envs import IdentityEnv, IdentityEnvBox
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize
from torch import nn

from plasticrl.agents import PlasticPolicy, RecurrentA2C


def box_env() -> VecNormalize:
    return VecNormalize(DummyVecEnv([lambda: IdentityEnvBox(low=-2, high=3, ep_length=5)] * 2))


def make(kind: Any = RecurrentA2C, env: Any = None, **options: Any) -> Any:
    own = kind is RecurrentA2C
    kwargs = {"hidden_size": 4} if own else {"net_arch": [4]}
    policy = "PlasticPolicy" if own else "MlpPolicy"
    defaults = {"n_steps": 5, "seed": 0, "device": "cpu", "policy_kwargs": kwargs}
    return kind(policy, env or box_env(), **{**defaults, **options})


def names(cls: type, *less: type) -> set[str]:
    return {
        n for n in set(dir(cls)).difference(*map(dir, (object, *less))) if n[:2] != "__" and n != "_abc_impl"
    }


# --- the agent -------------------------------------------------------------------------------------------


def collects(agent: RecurrentA2C, _: Path) -> None:
    agent.learn(10)
    assert agent.rollout_buffer.rewards.shape == (5, 2)


def dumps_logs(agent: RecurrentA2C, _: Path) -> None:
    agent.learn(10)
    agent.dump_logs(1)  # what SB3's loop calls; written after the update, as test_works_with_sb3.py checks
    assert agent._iteration == 1


def tells_its_env(agent: RecurrentA2C, _: Path) -> None:
    env = agent.get_env()
    assert env is agent.env
    assert agent.get_vec_normalize_env() is env
    other = box_env()
    agent.set_env(other)
    assert agent.get_env() is agent.get_vec_normalize_env() is other
    plain = DummyVecEnv([lambda: IdentityEnvBox(low=-2, high=3)])
    agent.set_env(plain)
    assert agent.get_env() is plain
    assert agent.get_vec_normalize_env() is None


def gives_and_takes_parameters(agent: RecurrentA2C, _: Path) -> None:
    given = agent.get_parameters()
    assert given.keys() == make(A2C).get_parameters().keys()
    other = make(seed=1)
    other.set_parameters(given)
    assert all(torch.equal(p, given["policy"][n]) for n, p in other.policy.state_dict().items())


def learns(agent: RecurrentA2C, _: Path) -> None:
    assert agent.learn(10, log_interval=1, tb_log_name="name", reset_num_timesteps=True) is agent
    assert agent.learn(10, reset_num_timesteps=False).num_timesteps == 20


def is_saved_and_loaded(agent: RecurrentA2C, folder: Path) -> None:
    agent.learn(10).save(folder / "agent", exclude=["seed"], include=["seed"])
    env = box_env()
    loaded = RecurrentA2C.load(folder / "agent", env=env, device="cpu")
    assert loaded.num_timesteps == 10
    assert loaded.get_vec_normalize_env() is env


def has_a_logger(agent: RecurrentA2C, _: Path) -> None:
    with pytest.raises(AttributeError):  # as in SB3, before learn()
        agent.logger  # noqa: B018
    logger = Logger(None, [])
    agent.set_logger(logger)
    assert agent.learn(10).logger is logger


def knows_its_policies_by_name(agent: RecurrentA2C, _: Path) -> None:
    assert agent.policy_aliases == {"PlasticPolicy": PlasticPolicy}
    assert agent._get_policy_from_name("PlasticPolicy") is PlasticPolicy
    with pytest.raises(ValueError, match="Policy MlpPolicy unknown"):
        agent._get_policy_from_name("MlpPolicy")


def predicts(agent: RecurrentA2C, _: Path) -> None:
    action, state = agent.predict(np.zeros(1, dtype=np.float32), None, None, True)
    assert agent.action_space.contains(action)
    assert [part.shape for part in state or ()] == [(1, 4), (1, 4, 4)]


def is_seeded(agent: RecurrentA2C, _: Path) -> None:
    drawn = []
    for _again in range(2):
        agent.set_random_seed(5)
        drawn.append([torch.rand(()).item(), agent.action_space.sample().item()])
    assert drawn[0] == drawn[1]


def trains_again_on_the_same_rollout(agent: RecurrentA2C, _: Path) -> None:
    """A second update of one rollout is that of the new parameters, not of those that played it."""
    agent.learn(10)
    agent.lr_schedule = lambda _: 0.1
    start = deepcopy(agent.get_parameters())
    trained: list[Any] = []
    for replay in (
        agent.policy.core.replay,
        lambda x, state, reset, _known: agent.policy.core(x, state, reset),
    ):
        agent.set_parameters(deepcopy(start))
        agent.policy.core.replay = replay  # type: ignore[method-assign]
        for _again in range(3):
            agent.train()
        trained.append({name: p.clone() for name, p in agent.policy.state_dict().items()})
    learned = dict(agent.policy.named_parameters())  # the moments of the same rollout are the same
    for name, ours in trained[0].items():
        assert name not in learned or not torch.equal(ours, start["policy"][name]), name
        torch.testing.assert_close(ours, trained[1][name], msg=lambda m, n=name: f"{n}: {m}")


Check = Callable[[Any, Path], None]
AGENT: dict[str, Check] = {
    "collect_rollouts": collects,
    "dump_logs": dumps_logs,
    **dict.fromkeys(("get_env", "set_env", "get_vec_normalize_env"), tells_its_env),
    **dict.fromkeys(("get_parameters", "set_parameters"), gives_and_takes_parameters),
    "learn": learns,
    **dict.fromkeys(("save", "load"), is_saved_and_loaded),
    **dict.fromkeys(("logger", "set_logger"), has_a_logger),
    **dict.fromkeys(("policy_aliases", "_get_policy_from_name"), knows_its_policies_by_name),
    "predict": predicts,
    "set_random_seed": is_seeded,
    "train": trains_again_on_the_same_rollout,
}
# Called by SB3 alone, while it makes an agent, learns or saves.
INSIDE_AGENT = {
    *("_dump_logs", "_excluded_save_params", "_get_torch_save_params", "_init_callback"),
    *("_maybe_recommend_cpu", "_setup_learn", "_setup_lr_schedule", "_setup_model", "_wrap_env"),
    *("_update_current_progress_remaining", "_update_info_buffer", "_update_learning_rate"),
}


def test_every_name_of_the_agent_is_classified() -> None:
    assert not AGENT.keys() & INSIDE_AGENT
    assert names(OnPolicyAlgorithm) == AGENT.keys() | INSIDE_AGENT


@pytest.mark.parametrize("name", AGENT)
def test_the_agent_has(name: str, tmp_path: Path) -> None:
    AGENT[name](make(), tmp_path)


def test_after_learning_it_has_all_attributes_of_sb3s() -> None:
    """Callbacks and other tools read them."""
    ours, theirs = (make(kind, gamma=0.7, learning_rate=1e-3).learn(10) for kind in (RecurrentA2C, A2C))
    lacking = {name for name in vars(theirs) if not hasattr(ours, name)}
    assert not lacking
    same = ("n_envs", "n_steps", "num_timesteps", "gamma", "seed", "device", "use_sde", "sde_sample_freq")
    same += ("action_noise", "observation_space", "action_space", "tensorboard_log", "rollout_buffer_kwargs")
    same += ("_n_updates", "_total_timesteps", "_num_timesteps_at_start", "_current_progress_remaining")
    assert {n: getattr(ours, n) for n in same} == {n: getattr(theirs, n) for n in same}


# --- the policy ------------------------------------------------------------------------------------------


def policies() -> tuple[PlasticPolicy, Any]:
    return make().policy, make(A2C).policy


def converts_observations(policy: PlasticPolicy, _: Path) -> None:
    _, theirs = policies()
    for obs in (np.zeros(1, dtype=np.float32), np.ones((3, 1), dtype=np.float32)):
        (own, own_several), (other, other_several) = policy.obs_to_tensor(obs), theirs.obs_to_tensor(obs)
        assert torch.equal(own, other)
        assert own_several == other_several == policy.is_vectorized_observation(obs)


def has_one_features_extractor(policy: PlasticPolicy, _: Path) -> None:
    obs = torch.ones(3, 1)
    assert type(policy.make_features_extractor()) is type(policy.features_extractor)
    assert torch.equal(policy.extract_features(obs, policy.features_extractor), obs)
    assert torch.equal(policy.extract_features(obs), obs)


def draws_orthogonal_weights(policy: PlasticPolicy, _: Path) -> None:
    layer = nn.Linear(3, 3)
    policy.init_weights(layer, gain=2.0)
    torch.testing.assert_close(layer.weight @ layer.weight.T, 4 * torch.eye(3))


def is_a_vector(policy: PlasticPolicy, folder: Path) -> None:
    vector = policy.parameters_to_vector()
    assert vector.shape == (sum(p.numel() for p in policy.parameters()),)
    other = make(seed=3)
    other.policy.load_from_vector(vector)
    assert all(torch.equal(a, b) for a, b in zip(policy.parameters(), other.policy.parameters(), strict=True))
    kept = vector.copy()
    other.learn(20)
    assert np.array_equal(vector, kept)  # it is not what is trained
    other.save(folder / "agent")
    for wrong in (vector[:-1], np.append(vector, 0), vector[None]):
        with pytest.raises(ValueError, match=r"the vector must have shape \(\d+,\), not"):
            policy.load_from_vector(wrong)


def is_a_file(policy: PlasticPolicy, folder: Path) -> None:
    policy.save(folder / "policy")
    loaded = PlasticPolicy.load(folder / "policy", device="cpu")
    assert all(torch.equal(a, b) for a, b in zip(policy.parameters(), loaded.parameters(), strict=True))
    assert loaded._get_constructor_parameters().keys() == policy._get_constructor_parameters().keys()


def acts(policy: PlasticPolicy, _: Path) -> None:
    action, _state = policy.predict(np.zeros((3, 1), dtype=np.float32), deterministic=True)
    assert action.shape == (3, 1)
    with pytest.raises(NotImplementedError, match="a recurrent policy needs its state"):
        policy._predict(torch.zeros(1, 1))


def scales_actions(policy: PlasticPolicy, _: Path) -> None:
    _, theirs = policies()
    actions = np.linspace(-2, 3, 7, dtype=np.float32)
    assert np.array_equal(policy.scale_action(actions), theirs.scale_action(actions))
    assert np.array_equal(policy.unscale_action(actions), theirs.unscale_action(actions))
    discrete = make(env=IdentityEnv(2)).policy
    for scale in (discrete.scale_action, discrete.unscale_action):
        with pytest.raises(AssertionError, match="not a Box"):
            scale(actions)
    assert policy.squash_output is theirs.squash_output is False


def has_modes(policy: PlasticPolicy, _: Path) -> None:
    for mode in (True, False):
        policy.set_training_mode(mode)
        assert all(module.training is mode for module in policy.modules())


def is_somewhere(policy: PlasticPolicy, _: Path) -> None:
    assert policy.device == torch.device("cpu")
    assert policy.to("meta").device == torch.device("meta")


def judges_actions(policy: PlasticPolicy, _: Path) -> None:
    """In detail in test_policy.py; here that the order of the results is SB3's."""
    obs, actions = torch.zeros(3, 1), torch.zeros(3, 1)
    starts = torch.ones(3, dtype=torch.bool)
    values, log_prob, entropy = policy.evaluate_actions(obs, actions, None, starts)
    assert torch.equal(values, policy.predict_values(obs, None, starts))
    distribution, state = policy.get_distribution(obs, None, starts)
    assert torch.equal(log_prob, distribution.log_prob(actions))
    assert torch.equal(entropy, distribution.entropy())  # type: ignore[arg-type]
    assert type(state) is type(policy.initial_state(3))


def has_no_gsde(policy: PlasticPolicy, _: Path) -> None:
    with pytest.raises(NotImplementedError, match="gSDE"):
        policy.reset_noise(4)
    with pytest.raises(AssertionError, match="gSDE"):  # as SB3's refuse it
        policies()[1].reset_noise(4)


def unrolls(policy: PlasticPolicy, _: Path) -> None:
    """Another signature than SB3's, whose policies draw actions in it: what is missing is named."""
    with pytest.raises(
        TypeError, match="missing 2 required positional arguments: 'state' and 'episode_starts'"
    ):
        policy(torch.zeros(3, 1))


POLICY: dict[str, Check] = {
    **dict.fromkeys(("obs_to_tensor", "is_vectorized_observation"), converts_observations),
    **dict.fromkeys(("make_features_extractor", "extract_features"), has_one_features_extractor),
    "init_weights": draws_orthogonal_weights,
    **dict.fromkeys(("load_from_vector", "parameters_to_vector"), is_a_vector),
    **dict.fromkeys(("save", "load", "_get_constructor_parameters"), is_a_file),
    **dict.fromkeys(("predict", "_predict"), acts),
    **dict.fromkeys(("scale_action", "unscale_action", "squash_output"), scales_actions),
    "set_training_mode": has_modes,
    "device": is_somewhere,
    **dict.fromkeys(("evaluate_actions", "get_distribution", "predict_values"), judges_actions),
    "reset_noise": has_no_gsde,
    "forward": unrolls,
}
# Called by SB3's policies alone, while they are made or saved.
INSIDE_POLICY = {
    *("_build", "_build_mlp_extractor", "_dummy_schedule", "_get_action_dist_from_latent"),
    *("_process_sequence", "_update_features_extractor"),
}
# Parts of SB3's and sb3-contrib's actors and critics: they have two networks, where here is one core.
OTHER_PARTS = {
    *("activation_fn", "dist_kwargs", "features_dim", "net_arch", "share_features_extractor", "use_sde"),
    *("pi_features_extractor", "vf_features_extractor", "mlp_extractor"),
    *("critic", "enable_critic_lstm", "lstm_actor", "lstm_critic", "lstm_hidden_state_shape", "lstm_kwargs"),
    *("lstm_output_dim", "shared_lstm"),
}


def test_every_name_of_the_policy_is_classified() -> None:
    assert not POLICY.keys() & INSIDE_POLICY
    # Those of torch's modules work as there, but for what a policy overrides.
    overridden = {"forward"}
    known = names(BasePolicy, nn.Module) | names(RecurrentActorCriticPolicy, nn.Module) | overridden
    assert known == POLICY.keys() | INSIDE_POLICY


@pytest.mark.parametrize("name", POLICY)
def test_the_policy_has(name: str, tmp_path: Path) -> None:
    POLICY[name](make().policy, tmp_path)


def test_the_policy_has_the_attributes_of_sb3s_but_for_other_parts() -> None:
    ours = make().policy
    theirs = make(A2C).policy, RecurrentPPO("MlpLstmPolicy", box_env(), device="cpu").policy
    found = {n for one in theirs for n in (*vars(one), *one._modules, *one._parameters)}
    assert {name for name in found if not hasattr(ours, name)} == OTHER_PARTS


def test_spaces_that_sb3_can_do_can_be_done_here() -> None:
    """The kinds of spaces that its algorithms support."""
    for space in (
        spaces.Box(-1, 1, (2,)),
        spaces.Discrete(2),
        spaces.MultiDiscrete([2]),
        spaces.MultiBinary(2),
    ):
        assert make(env=DummyVecEnv([lambda s=space: Still(s)])).learn(10).num_timesteps == 10


class Still(IdentityEnv[Any]):
    """Sees what it does."""

    def __init__(self, space: spaces.Space[Any]) -> None:
        super().__init__(space=space)

    def _get_reward(self, action: Any) -> float:
        return 1.0
