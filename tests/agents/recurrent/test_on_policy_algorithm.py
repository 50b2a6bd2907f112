"""A second learner needs only its own arguments and its update."""

from io import BytesIO
from typing import Any, ClassVar

import pytest
import torch
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.policies import BasePolicy

from plasticrl.agents import PlasticPolicy, RecurrentA2C, TensorFileError
from plasticrl.agents.recurrent.checkpoint import COUNTERS, SETTINGS, AgentFormat
from plasticrl.agents.recurrent.on_policy_algorithm import RecurrentOnPolicyAlgorithm
from plasticrl.arguments import check_number
from plasticrl.envs import make_vec_env


class Imitator(RecurrentOnPolicyAlgorithm):
    """Makes its own actions more probable; keeps a count and a running loss."""

    file_format = AgentFormat(
        "tests.Imitator",
        1,
        "Imitator.save",
        settings={**SETTINGS, "weight": check_number},
        counters=(*COUNTERS, "n_imitated"),
        numbers={"usual_loss": check_number},
    )
    weight: float
    n_imitated = 0
    usual_loss = 0.0

    def __init__(
        self,
        policy: Any,
        env: Any,
        learning_rate: float = 1e-2,
        n_steps: int = 10,
        gamma: float = 0.9,
        gae_lambda: float = 1.0,
        ent_coef: float = 0.0,
        vf_coef: float = 0.5,
        max_grad_norm: float = 1.0,
        normalize_advantage: bool = False,
        weight: float = 1.0,
        stats_window_size: int = 100,
        verbose: int = 0,
        seed: int | None = None,
        tensorboard_log: str | None = None,
        policy_kwargs: dict[str, Any] | None = None,
        device: Any = "cpu",
        _init_setup_model: bool = True,
    ) -> None:
        given = locals()
        super().__init__(
            policy,
            env,
            {name: given[name] for name in self.file_format.settings},
            tensorboard_log=tensorboard_log,
            policy_kwargs=policy_kwargs,
            device=device,
            _init_setup_model=_init_setup_model,
        )

    def train(self) -> None:
        rollout = self.rollout_buffer
        starts = torch.as_tensor(rollout.episode_starts)
        found = self.policy(rollout.flat_observations(self.device), rollout.state, starts, self._known())
        loss = -self.weight * found[0].log_prob(rollout.flat_actions(self.device).flatten()).mean()
        self.policy.optimizer.zero_grad()
        loss.backward()
        self.policy.optimizer.step()
        self.usual_loss = 0.9 * self.usual_loss + 0.1 * loss.item()
        self.n_imitated += 1
        self._n_updates += 1
        self._end_update({"train/imitation_loss": loss.item()})


def maze() -> Any:
    return make_vec_env("PlasticMaze-v0", n_envs=3, seed=4, size=5, episode_length=10)


def imitator(**options: Any) -> Imitator:
    return Imitator("PlasticPolicy", maze(), policy_kwargs={"hidden_size": 5}, seed=1, **options)


def content(agent: RecurrentOnPolicyAlgorithm) -> bytes:
    file = BytesIO()
    agent.save(file, exclude=["ep_info_buffer"])  # it holds the time of day
    return file.getvalue()


def test_the_inheritance_is_flat() -> None:
    assert RecurrentA2C.__bases__ == (RecurrentOnPolicyAlgorithm,)
    assert RecurrentOnPolicyAlgorithm.__bases__[-1] is OnPolicyAlgorithm


def test_a_second_learner_resumes_to_the_same_bits() -> None:
    whole = imitator(weight=2.0).learn(3 * 40)
    assert (whole.n_imitated, whole._n_updates) == (4, 4)
    half = imitator(weight=2.0).learn(3 * 20)
    again = Imitator.load(BytesIO(content(half)), maze())
    assert (again.weight, again.n_imitated) == (2.0, 2)
    assert again.usual_loss == half.usual_loss != 0
    again.learn(3 * 20, reset_num_timesteps=False)
    assert again.usual_loss == whole.usual_loss
    for name, tensor in whole.policy.state_dict().items():
        assert torch.equal(tensor, again.policy.state_dict()[name]), name


def test_the_settings_of_a_second_learner_are_checked() -> None:
    with pytest.raises(ValueError, match=r"^weight must be"):
        imitator(weight=-1.0)
    agent = imitator()
    agent.weight = float("nan")
    with pytest.raises(ValueError, match=r"^weight must be"):
        content(agent)
    with pytest.raises(ValueError, match="unknown setting 'vf'"):
        Imitator.load(BytesIO(content(imitator())), vf=1)


def test_one_learner_does_not_read_the_files_of_another() -> None:
    other = RecurrentA2C("PlasticPolicy", maze(), policy_kwargs={"hidden_size": 5}, device="cpu")
    with pytest.raises(TensorFileError, match=r"this plasticrl reads 'tests\.Imitator', version 1"):
        Imitator.load(BytesIO(content(other)))
    with pytest.raises(TensorFileError, match=r"holds 'tests\.Imitator', version 1"):
        RecurrentA2C.load(BytesIO(content(imitator())))


class OtherPolicy(PlasticPolicy):
    """A policy of a user's own."""


class WithOtherPolicies(RecurrentA2C):
    """As in SB3, a subclass may name its policies."""

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = {
        **RecurrentA2C.policy_aliases,
        "OtherPolicy": OtherPolicy,
    }


@pytest.mark.parametrize(("name", "kind"), WithOtherPolicies.policy_aliases.items())
def test_a_file_names_the_policies_of_its_class(name: str, kind: type[BasePolicy]) -> None:
    agent = WithOtherPolicies(name, maze(), policy_kwargs={"hidden_size": 5}, device="cpu")
    file = BytesIO(content(agent))
    assert type(WithOtherPolicies.load(file).policy) is kind
    if kind is OtherPolicy:
        with pytest.raises(TensorFileError, match="unknown policy 'OtherPolicy' in the file"):
            RecurrentA2C.load(file)
