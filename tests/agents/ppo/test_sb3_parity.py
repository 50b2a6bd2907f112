"""With the memory off and the same minibatches, the agent is SB3's PPO."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from sb3_contrib import MaskablePPO
from sb3_contrib.common.maskable.buffers import MaskableRolloutBuffer
from sb3_parity import ACTIONS, OPTIMIZERS, RandomWalk, assert_equal_parameters, walks
from sb3_parity import train_both as train_alike
from stable_baselines3 import PPO
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.type_aliases import RolloutBufferSamples
from stable_baselines3.common.vec_env import VecEnv, VecNormalize

from plasticrl.agents import RecurrentPPO

N_STEPS = 6
OPTIONS: dict[str, Any] = {"batch_size": 2 * N_STEPS, "n_epochs": 3, "normalize_advantage": True}


class SequenceBuffer(RolloutBuffer):
    """SB3's storage, with minibatches of whole sequences of environments that are drawn as ours are."""

    names = ("observations", "actions", "values", "log_probs", "advantages", "returns")

    def get(self, batch_size: int | None = None) -> Iterator[RolloutBufferSamples]:
        assert batch_size is not None
        if not self.generator_ready:
            for name in self.names:
                vars(self)[name] = self.swap_and_flatten(getattr(self, name))
            self.generator_ready = True
        for rows in torch.randperm(self.n_envs).split(batch_size // self.buffer_size):
            steps = rows.numpy()[:, None] * self.buffer_size + np.arange(self.buffer_size)
            yield self._get_samples(steps.flatten())


class MaskedSequenceBuffer(SequenceBuffer, MaskableRolloutBuffer):
    """sb3-contrib's, with the same minibatches."""

    names = (*SequenceBuffer.names, "action_masks")


class MaskedWalk(RandomWalk):
    """Forbids some actions, others at each step."""

    def _observe(self) -> Any:
        space, draw = self.action_space, self.np_random
        sizes = [space.n] if isinstance(space, spaces.Discrete) else space.nvec.tolist()  # type: ignore[attr-defined]
        self._masks = np.concatenate([draw.permutation(n) < draw.integers(1, n + 1) for n in sizes])
        return super()._observe()

    def action_masks(self) -> Any:
        return self._masks


PPOOfSequences = partial(PPO, rollout_buffer_class=SequenceBuffer)
train_both = partial(train_alike, RecurrentPPO, PPOOfSequences)


@pytest.fixture(autouse=True)
def _separate_starts() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize("actions", ACTIONS)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_five_rollouts(actions: str, optimizer: str) -> None:
    ours, theirs = train_both(lambda: walks(ACTIONS[actions]), optimizer, **OPTIONS)
    assert ours._n_updates == 5 * OPTIONS["n_epochs"]
    assert_equal_parameters(ours, theirs)


@pytest.mark.parametrize(
    "options",
    [
        {"gae_lambda": 0.7},
        {"ent_coef": 0.05},
        {"normalize_advantage": False},
        {"clip_range": 0.02},
        {"clip_range": lambda remaining: 0.05 * remaining},
        {"clip_range_vf": 0.05},
        {"clip_range_vf": lambda remaining: 0.2 * remaining},
        {"n_epochs": 1},
        {"batch_size": 4 * N_STEPS},
        {"n_steps": 1, "batch_size": 2},
        {"max_grad_norm": 1e-3},
        {"learning_rate": 0.003},
    ],
    ids=" ".join,
)
def test_five_rollouts_with(options: dict[str, Any]) -> None:
    ours, theirs = train_both(lambda: walks(ACTIONS["discrete"]), **{**OPTIONS, **options})
    assert_equal_parameters(ours, theirs)


@pytest.mark.parametrize("target_kl", [1e-4, 1e-3])
def test_epochs_end_alike(target_kl: float) -> None:
    options = {**OPTIONS, "n_epochs": 20, "target_kl": target_kl}
    ours, theirs = train_both(lambda: walks(ACTIONS["discrete"]), **options)
    assert ours._n_updates < 5 * 20
    assert_equal_parameters(ours, theirs)


def test_five_rollouts_on_normalised_observations() -> None:
    ours, theirs = train_both(lambda: VecNormalize(walks(ACTIONS["discrete"]), gamma=0.95), **OPTIONS)
    assert_equal_parameters(ours, theirs)


@pytest.mark.parametrize("actions", ["discrete", "multi-discrete"])
def test_five_rollouts_with_masks(actions: str) -> None:
    """Its policies for MultiBinary have two logits for each bit, ours one."""
    masked_ppo = partial(MaskablePPO, rollout_buffer_class=MaskedSequenceBuffer)

    def masked_walks() -> VecEnv:
        return make_vec_env(lambda: MaskedWalk(ACTIONS[actions]), n_envs=4, seed=5)

    ours, theirs = train_alike(RecurrentPPO, masked_ppo, masked_walks, ent_coef=0.05, **OPTIONS)
    assert not ours.rollout_buffer.action_masks.all()  # type: ignore[union-attr]
    assert_equal_parameters(ours, theirs)


def test_both_log_the_same() -> None:
    ours, theirs = train_both(lambda: walks(ACTIONS["discrete"]), clip_range_vf=0.1, **OPTIONS)
    ours._log_interval = None  # what is written is forgotten
    for model in (ours, theirs):
        torch.manual_seed(1)
        model.train()
    logged, expected = (model.logger.name_to_value for model in (ours, theirs))
    names = {name for name in expected if name.startswith("train/")}
    assert names <= logged.keys()
    for name in names:
        assert logged[name] == pytest.approx(expected[name], rel=1e-4, abs=1e-6), name


@pytest.mark.parametrize("other", [{"clip_range": 0.19}, {"n_epochs": 2}, {"gamma": 0.94}], ids=str)
def test_the_comparison_can_fail(other: dict[str, Any]) -> None:
    options = {**OPTIONS, "clip_range": 0.02 if "clip_range" in other else 0.2}
    ours, _ = train_both(lambda: walks(ACTIONS["discrete"]), **{**options, **other})
    _, theirs = train_both(lambda: walks(ACTIONS["discrete"]), **options)
    with pytest.raises(AssertionError, match="core"):
        assert_equal_parameters(ours, theirs)
