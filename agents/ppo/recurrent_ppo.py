"""Proximal policy optimization on whole sequences, with a recurrent core."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from stable_baselines3.common.type_aliases import GymEnv, Schedule
from stable_baselines3.common.utils import FloatSchedule
from torch import Tensor

from plasticrl.agents import presets
from plasticrl.agents.common import tags
from plasticrl.agents.ppo.loss import PPOLoss, ppo_loss
from plasticrl.agents.recurrent.checkpoint import COUNTERS, SETTINGS, AgentFormat, Check
from plasticrl.agents.recurrent.on_policy_algorithm import RecurrentOnPolicyAlgorithm
from plasticrl.agents.recurrent.policies import PlasticPolicy
from plasticrl.agents.recurrent.rollout import normalized
from plasticrl.arguments import MOST_SIZE, check_above_zero, check_schedule, check_whole

_MINIBATCHES = 4  # by default, if they divide the rollout


def _or_none(check: Check) -> Check:
    return lambda name, value: None if value is None else check(name, value)


class _Steps(NamedTuple):
    """The steps of a rollout, of T x B, as they were before its update, and the limits of that.

    Values and returns are in the unit of the loss; advantages are those of all processes.
    """

    log_probs: Tensor
    values: Tensor
    returns: Tensor
    advantages: Tensor
    scale: float
    clip_range: float
    clip_range_vf: float | None


class RecurrentPPO(RecurrentOnPolicyAlgorithm):
    """PPO whose minibatches are whole sequences of some of the environments.

    Names and behaviour follow SB3's ``PPO``; :meth:`predict` follows sb3-contrib's ``RecurrentPPO``. Each
    minibatch is unrolled from the core's state at the rollout's start: nothing is padded, no state is
    stored, and memory is learned through all ``n_steps``. State, episodes and bootstrapping are those of
    :class:`~plasticrl.agents.RecurrentA2C`.

    The defaults serve general environments; :meth:`from_preset` has those of single environments.

    Args:
        policy: ``"PlasticPolicy"`` or a subclass of :class:`PlasticPolicy`.
        env: a Gymnasium env, its id, an SB3 ``VecEnv``, or a Gymnasium ``VectorEnv`` that resets in the
            same step. Actions that its ``action_masks()`` forbids, if it has any, are never taken.
        learning_rate: learning rate of the optimiser, or a function of the remaining progress (1 to 0).
            Default 1e-3.
        n_steps: steps per environment and rollout, through which gradients flow. Default 128, or the length
            of episodes if the env states a shorter one.
        batch_size: steps of a minibatch: a multiple of ``n_steps`` that divides the rollout. Default: up to
            4 minibatches of equally many sequences, 2 or more if there are several environments.
        n_epochs: passes over each rollout. Default 10.
        gamma: discount factor. Default 0.99.
        gae_lambda: bias-variance trade-off of the advantages; 1 for full returns. Default 0.95.
        clip_range: limit of the change of an action's probability within a rollout, as a ratio, or a
            function of the remaining progress. Default 0.2.
        clip_range_vf: the same for values, in the unit of the loss: that of normalized returns if the policy
            normalizes them. Default: no limit.
        normalize_advantage: scale advantages to zero mean and unit variance over each minibatch, unless it
            is a single step. Default True. If False, they are divided by the standard deviation of all
            returns if the policy normalizes returns.
        ent_coef: weight of an entropy bonus. Default 0.
        vf_coef: weight of the value loss, which is that of normalized returns if the policy normalizes them.
            Default 0.5.
        max_grad_norm: norm to which the gradient is clipped. Default 0.5; ``math.inf`` disables clipping.
        target_kl: stop the epochs of a rollout before a step for which the policy has diverged by more than
            1.5 times this. Default: no limit.
        stats_window_size: episodes over which the logged reward is averaged. Default 100.
        tensorboard_log: folder for TensorBoard. Default: none.
        policy_kwargs: arguments of :class:`PlasticPolicy`, such as ``dict(core="lstm")``.
        verbose: 0 silent, 1 info, 2 debug.
        seed: seed of weights, actions, minibatches and envs.
        device: ``"auto"``, ``"cpu"``, ``"cuda"``.

    Raises:
        ValueError: an argument is out of range, or minibatches of this size do not divide the rollout; the
            message names it.
    """

    file_format = AgentFormat(
        "plasticrl.RecurrentPPO",
        1,
        "RecurrentPPO.save",
        settings={
            **SETTINGS,
            "batch_size": _or_none(partial(check_whole, least=1, most=MOST_SIZE)),
            "n_epochs": partial(check_whole, least=1, most=MOST_SIZE),
            "clip_range": check_schedule,
            "clip_range_vf": _or_none(check_schedule),
            "target_kl": _or_none(check_above_zero),
        },
        counters=(*COUNTERS, "_n_rollouts"),
        schedules=("learning_rate", "clip_range", "clip_range_vf"),
    )
    presets = presets.PPO
    default_n_steps = 128
    batch_size: int | None
    n_epochs: int
    clip_range: float | Schedule
    clip_range_vf: float | Schedule | None
    target_kl: float | None
    _n_rollouts: int = 0

    def __init__(
        self,
        policy: str | type[PlasticPolicy],
        env: GymEnv | str,
        learning_rate: float | Schedule = 1e-3,
        n_steps: int | None = None,
        batch_size: int | None = None,
        n_epochs: int = 10,
        gamma: float = 0.99,
        gae_lambda: float = 0.95,
        clip_range: float | Schedule = 0.2,
        clip_range_vf: float | Schedule | None = None,
        normalize_advantage: bool = True,
        ent_coef: float = 0.0,
        vf_coef: float = 0.5,
        max_grad_norm: float = 0.5,
        target_kl: float | None = None,
        stats_window_size: int = 100,
        tensorboard_log: str | None = None,
        policy_kwargs: dict[str, Any] | None = None,
        verbose: int = 0,
        seed: int | None = None,
        device: torch.device | str = "auto",
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

    def _setup_model(self) -> None:
        self._sequences_per_minibatch()
        super()._setup_model()

    def _check_minibatches(self) -> None:
        if self._sequences_per_minibatch() == 1:
            self._warn_of_single_sequences()

    def _sequences_per_minibatch(self) -> int:
        """Return the number of environments in a minibatch, of all processes.

        Raises:
            ValueError: ``batch_size`` does not divide the rollout into whole sequences.
        """
        sequences, size = self.n_envs * self.ranks.size, self.batch_size
        if size is None:
            fits = (k for k in range(_MINIBATCHES, 0, -1) if sequences % k == 0 and sequences >= 2 * k)
            return sequences // next(fits, 1)
        if size % self.n_steps or sequences % (size // self.n_steps):
            allowed = [self.n_steps * k for k in range(1, sequences + 1) if sequences % k == 0]
            raise ValueError(
                f"batch_size={size} does not divide a rollout of {sequences} x {self.n_steps} steps into "
                f"whole sequences: give {', '.join(map(str, allowed[-8:]))}, or None"
            )
        return size // self.n_steps

    def _warn_of_single_sequences(self) -> None:
        if self.normalize_advantage and self.n_envs * self.ranks.size > 1:
            warnings.warn(
                "each minibatch is one sequence, so its advantages are compared with none of another "
                "environment: give a larger batch_size, more environments, or normalize_advantage=False",
                stacklevel=3,
            )

    def train(self) -> None:
        """Take a gradient step for each minibatch in each of ``n_epochs`` passes over the rollout."""
        self.policy.set_training_mode(True)
        self._update_learning_rate(self.policy.optimizer)
        steps, losses, norms = self._steps_of_rollout(), list[PPOLoss](), list[Tensor]()
        divergences: list[Tensor] = []
        for _ in range(self.n_epochs):
            divergences = []
            for rows in self._minibatches():
                loss = self._loss(rows, steps)
                if self.target_kl is not None:
                    seen = PPOLoss(*self.ranks.average((), *loss))
                    if seen.approx_kl.item() > 1.5 * self.target_kl:
                        losses.append(seen)
                        divergences.append(seen.approx_kl)
                        break
                loss, norm = self._step(loss)
                losses.append(loss)
                divergences.append(loss.approx_kl)
                norms.append(norm)
            self._n_updates += 1
            if len(norms) < len(losses):
                break
        self._n_rollouts += 1
        terms = PPOLoss(*(torch.stack(term).mean() for term in zip(*losses, strict=True)))
        means: dict[str, float] = {
            tags.LOSS: losses[-1].total.item(),
            tags.POLICY_GRADIENT_LOSS: terms.policy_loss.item(),
            tags.VALUE_LOSS: terms.value_loss.item(),
            tags.ENTROPY_LOSS: terms.entropy_loss.item(),
            tags.APPROX_KL: torch.stack(divergences).mean().item(),  # of the last pass, as in SB3
            tags.CLIP_FRACTION: terms.clip_fraction.item(),
            tags.CLIP_RANGE: steps.clip_range,
        }
        if steps.clip_range_vf is not None:
            means[tags.CLIP_RANGE_VF] = steps.clip_range_vf
        if norms:
            means[tags.GRAD_NORM] = torch.stack(norms).mean().item()
        self._end_update(means)

    def _steps_of_rollout(self) -> _Steps:
        """Return what every pass over the rollout compares with."""
        rollout, scale = self.rollout_buffer, self._scale()
        with torch.no_grad():
            distribution = self.policy.distribution(
                rollout.outputs.flatten(0, 1), **rollout.mask_argument(self.device)
            )
            log_probs = distribution.log_prob(self._taken())
        progress = self._current_progress_remaining
        clip_vf = self.clip_range_vf
        return _Steps(
            log_probs.view(rollout.rewards.shape),
            torch.as_tensor(rollout.values, device=self.device) / scale,
            torch.as_tensor(rollout.returns, device=self.device) / scale,
            torch.as_tensor(self.ranks.gather(rollout.advantages, axis=1), device=self.device),
            scale,
            FloatSchedule(self.clip_range)(progress),
            None if clip_vf is None else FloatSchedule(clip_vf)(progress),
        )

    def _minibatches(self) -> Iterator[npt.NDArray[np.int64]]:
        """Yield the environments of each minibatch in one pass, among those of all processes.

        Torch's generator draws them, which is the same in all processes.
        """
        order = torch.randperm(self.n_envs * self.ranks.size).numpy()
        for rows in np.split(order, len(order) // self._sequences_per_minibatch()):
            yield np.sort(rows)

    def _loss(self, every: npt.NDArray[np.int64], steps: _Steps) -> PPOLoss:
        """Return the loss of a minibatch; its mean over all processes is that of the whole minibatch.

        Args:
            every: the environments of the minibatch, among those of all processes.
            steps: what the rollout is compared with.
        """
        rollout, share = self.rollout_buffer, self.ranks.share(self.n_envs * self.ranks.size)
        own = every[(every >= share.start) & (every < share.stop)] - share.start
        weight = len(own) * self.ranks.size / len(every)
        rows = own if len(own) else np.zeros(1, dtype=np.int64)  # its gradient, times 0, has the same parts
        distribution, values, _ = self.policy(
            rollout.flat_observations(self.device, rows),
            type(rollout.state)(*(part[rows] for part in rollout.state)),
            torch.as_tensor(rollout.episode_starts[:, rows], device=self.device),
            **rollout.mask_argument(self.device, rows),
        )
        advantages = steps.advantages[:, rows + share.start]
        if self.normalize_advantage:
            advantages = normalized(advantages, steps.advantages[:, every])
        else:
            advantages = advantages / steps.scale
        loss = ppo_loss(
            distribution,
            self._taken(rows),
            steps.log_probs[:, rows].flatten(),
            values / steps.scale,
            steps.values[:, rows].flatten(),
            steps.returns[:, rows].flatten(),
            advantages.flatten(),
            clip_range=steps.clip_range,
            clip_range_vf=steps.clip_range_vf,
            vf_coef=self.vf_coef,
            ent_coef=self.ent_coef,
        )
        return PPOLoss(*(weight * term for term in loss))

    def _step(self, loss: PPOLoss) -> tuple[PPOLoss, Tensor]:
        """Take a gradient step; return the loss over all processes, and the norm of its gradient."""
        self.policy.optimizer.zero_grad()
        loss.total.backward()  # type: ignore[no-untyped-call]
        seen = PPOLoss(*(term.detach() for term in self.ranks.average(self.policy.parameters(), *loss)))
        norm = torch.nn.utils.clip_grad_norm_(self.policy.parameters(), self.max_grad_norm)
        self._check_finite({"loss": seen.total, "gradient": norm})
        self.policy.optimizer.step()
        return seen, norm

    def _n_logged(self) -> int:
        return self._n_rollouts
