"""Advantage actor-critic on whole sequences, with a recurrent core."""

from __future__ import annotations

from math import inf, isfinite
from typing import Any

import torch
from stable_baselines3.common.type_aliases import GymEnv, Schedule

from plasticrl.agents import presets
from plasticrl.agents.a2c.loss import A2CLoss, UsualGradient, a2c_loss, check_norm
from plasticrl.agents.common import tags
from plasticrl.agents.recurrent.checkpoint import COUNTERS, SETTINGS, AgentFormat, from_version_2
from plasticrl.agents.recurrent.on_policy_algorithm import RecurrentOnPolicyAlgorithm
from plasticrl.agents.recurrent.policies import PlasticPolicy
from plasticrl.agents.recurrent.rollout import normalized
from plasticrl.arguments import check_max_grad_ratio, check_number


class RecurrentA2C(RecurrentOnPolicyAlgorithm):
    """A2C whose core is unrolled through the whole rollout: no minibatches, no stored states.

    Names and behaviour follow SB3's ``A2C``; :meth:`predict` follows ``RecurrentPPO``. There is one
    update per rollout. The core's state is carried from rollout to rollout and reset at the start of an
    episode; gradients stop at the rollout's first step. Episodes cut off by a time limit (``truncated``)
    are bootstrapped from their last observation; episodes that end (``terminated``) are not.

    The defaults serve general environments; :meth:`from_preset` has those of single environments.

    Args:
        policy: ``"PlasticPolicy"`` or a subclass of :class:`PlasticPolicy`.
        env: a Gymnasium env, its id, an SB3 ``VecEnv``, or a Gymnasium ``VectorEnv`` that resets in the
            same step. Actions that its ``action_masks()`` forbids, if it has any, are never taken.
        learning_rate: learning rate of the optimiser, or a function of the remaining progress (1 to 0).
            Default 2e-3.
        n_steps: steps per environment and update, through which gradients flow: longer ones learn to
            remember for longer. Default 32, or the length of episodes if the env states a shorter one.
        gamma: discount factor. Default 0.99.
        gae_lambda: bias-variance trade-off of the advantages; 1 for full returns. Default 0.95.
        ent_coef: weight of an entropy bonus. Default 0.01.
        concentration_coef: weight of the penalty ``sum p²`` of the paper's maze. Default 0.
        vf_coef: weight of the value loss, which is that of normalized returns if the policy normalizes them.
            Default 0.5.
        max_grad_norm: norm to which the gradient is clipped. Default 0.5; ``math.inf`` disables clipping,
            as in the paper.
        max_grad_ratio: skip an update if the gradient's norm exceeds this multiple of ``max_grad_norm``
            and this multiple of the usual norm, the running geometric mean of the earlier norms. Applies
            from the first update. Default ``math.inf``: no update is skipped. See
            :class:`plasticrl.agents.a2c.loss.UsualGradient`.
        normalize_advantage: scale advantages to zero mean and unit variance over the rollout, unless it is a
            single value. Default False: they are divided by the standard deviation of all returns if the
            policy normalizes returns, which does not enlarge the noise of a policy that is nearly perfect.
        stats_window_size: episodes over which the logged reward is averaged. Default 100.
        tensorboard_log: folder for TensorBoard. Default: none.
        policy_kwargs: arguments of :class:`PlasticPolicy`, such as ``dict(core="lstm")``.
        verbose: 0 silent, 1 info, 2 debug.
        seed: seed of weights, actions and envs.
        device: ``"auto"``, ``"cpu"``, ``"cuda"``.

    Raises:
        ValueError: an argument is out of range; the message names it.
    """

    file_format = AgentFormat(
        "plasticrl.RecurrentA2C",
        3,
        "RecurrentA2C.save",
        upgrade={2: from_version_2},
        settings={
            **SETTINGS,
            "concentration_coef": check_number,
            "max_grad_ratio": lambda _, ratio: check_max_grad_ratio(ratio),
        },
        counters=(*COUNTERS, "_n_skipped"),
        numbers={"usual_grad_norm": check_norm},
        check_together=lambda s: check_max_grad_ratio(s["max_grad_ratio"], s["max_grad_norm"]),
    )
    presets = presets.A2C
    default_n_steps = 32
    concentration_coef: float
    max_grad_ratio: float
    _n_skipped: int = 0

    def __init__(
        self,
        policy: str | type[PlasticPolicy],
        env: GymEnv | str,
        learning_rate: float | Schedule = 2e-3,
        n_steps: int | None = None,
        gamma: float = 0.99,
        gae_lambda: float = 0.95,
        ent_coef: float = 0.01,
        concentration_coef: float = 0.0,
        vf_coef: float = 0.5,
        max_grad_norm: float = 0.5,
        max_grad_ratio: float = inf,
        normalize_advantage: bool = False,
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
        super()._setup_model()
        self.usual_gradient = UsualGradient()

    @property
    def usual_grad_norm(self) -> float:
        """The running geometric mean of the gradient's norms; 0 before the first."""
        return self.usual_gradient.usual

    @usual_grad_norm.setter
    def usual_grad_norm(self, norm: float) -> None:
        self.usual_gradient.usual = norm

    def train(self) -> None:
        """Take one gradient step over the whole rollout; called again, another step over the same one."""
        rollout = self.rollout_buffer
        known = self._known()
        self.policy.set_training_mode(True)
        self._update_learning_rate(self.policy.optimizer)
        distribution, values, _ = self.policy(
            rollout.flat_observations(self.device),
            rollout.state,
            torch.as_tensor(rollout.episode_starts, device=self.device),
            *([known] if known else []),
            **rollout.mask_argument(self.device),
        )
        returns = torch.as_tensor(rollout.returns, device=self.device).flatten()
        advantages = torch.as_tensor(rollout.advantages, device=self.device).flatten()
        scale = self._scale()
        if self.normalize_advantage:
            every = torch.as_tensor(
                self.ranks.gather(rollout.advantages, axis=1), device=self.device
            ).flatten()
            advantages = normalized(advantages, every)
        else:
            advantages = advantages / scale
        loss = a2c_loss(
            distribution,
            self._taken(),
            values / scale,
            returns / scale,
            advantages,
            vf_coef=self.vf_coef,
            ent_coef=self.ent_coef,
            concentration_coef=self.concentration_coef,
        )
        self.policy.optimizer.zero_grad()
        loss.total.backward()  # type: ignore[no-untyped-call]
        loss = A2CLoss(*self.ranks.average(self.policy.parameters(), *loss))
        grad_norm = torch.nn.utils.clip_grad_norm_(self.policy.parameters(), self.max_grad_norm)
        self._check_finite({"loss": loss.total, "gradient": grad_norm})
        if self.usual_gradient.admits(grad_norm.item(), self.max_grad_norm, self.max_grad_ratio):
            self.policy.optimizer.step()
        else:
            self._n_skipped += 1

        self._n_updates += 1
        means = {
            tags.LOSS: loss.total.item(),
            tags.POLICY_LOSS: loss.policy_loss.item(),
            tags.VALUE_LOSS: loss.value_loss.item(),
            tags.ENTROPY_LOSS: loss.entropy_loss.item(),
            tags.GRAD_NORM: grad_norm.item(),
        }
        if self.concentration_coef:
            means[tags.CONCENTRATION] = loss.concentration.item()
        if isfinite(self.max_grad_ratio):
            means[tags.SKIPPED_UPDATES] = self._n_skipped
        self._end_update(means)
