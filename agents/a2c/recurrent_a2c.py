"""Advantage actor-critic on whole sequences, with a recurrent core."""

from __future__ import annotations

from math import inf, isfinite
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.base_class import maybe_make_env
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.type_aliases import GymEnv, MaybeCallback, Schedule
from stable_baselines3.common.utils import explained_variance
from stable_baselines3.common.vec_env import VecEnv
from typing_extensions import Self

from plasticrl.agents.a2c.loss import A2CLoss, UsualGradient, a2c_loss
from plasticrl.agents.checkpoint.agent import checked_settings, own_copy
from plasticrl.agents.checkpoint.agent_loading import ACTION_SPACES
from plasticrl.agents.common import tags
from plasticrl.agents.common.tensorboard import plastic_metrics
from plasticrl.agents.recurrent.collection import episode_length
from plasticrl.agents.recurrent.distributed import JointAgent
from plasticrl.agents.recurrent.policies import PlasticPolicy
from plasticrl.agents.recurrent.rollout import Rollout
from plasticrl.agents.recurrent.spaces import check_spaces
from plasticrl.arguments import check_whole, whole_steps, with_home
from plasticrl.signals import PostponedInterrupt


class RecurrentA2C(JointAgent):
    """A2C whose core is unrolled through the whole rollout: no minibatches, no stored states.

    Names and behaviour follow SB3's ``A2C``; :meth:`predict` follows ``RecurrentPPO``. There is one
    update per rollout. The core's state is carried from rollout to rollout and reset at the start of an
    episode; gradients stop at the rollout's first step. Episodes cut off by a time limit (``truncated``)
    are bootstrapped from their last observation; episodes that end (``terminated``) are not.

    The defaults are those of the paper's maze (Miconi et al. 2018, experiment 4) unless noted otherwise.

    Args:
        policy: ``"PlasticPolicy"`` or a subclass of :class:`PlasticPolicy`.
        env: a Gymnasium env, its id, an SB3 ``VecEnv``, or a Gymnasium ``VectorEnv`` that resets in the
            same step.
        learning_rate: learning rate of the optimiser, or a function of the remaining progress (1 to 0).
            Default 1e-3 (paper: 1e-4, with one episode per update).
        n_steps: steps per environment and update. Default: the env's episode length, which is the
            smaller of its attribute ``episode_length`` and its time limit; 128 if it has neither.
        gamma: discount factor. Default 0.9.
        gae_lambda: bias-variance trade-off of the advantages. Default 1: full returns.
        ent_coef: weight of an entropy bonus. Default 0.
        concentration_coef: weight of the penalty ``sum p²``. Default 0.1.
        vf_coef: weight of the value loss. Default 0.03.
        max_grad_norm: norm to which the gradient is clipped. Default 1; ``math.inf`` disables clipping,
            as in the paper.
        max_grad_ratio: skip an update if the gradient's norm exceeds this multiple of ``max_grad_norm``
            and this multiple of the usual norm, the running geometric mean of the earlier norms. Applies
            from the first update. Default ``math.inf``: no update is skipped. See
            :class:`plasticrl.agents.a2c.loss.UsualGradient`.
        normalize_advantage: scale advantages to zero mean and unit variance over the rollout; the
            advantage of a rollout of one step is not changed. Default False.
        stats_window_size: episodes over which the logged reward is averaged. Default 100.
        tensorboard_log: folder for TensorBoard. Default: none.
        policy_kwargs: arguments of :class:`PlasticPolicy`, such as ``dict(core="lstm")``.
        verbose: 0 silent, 1 info, 2 debug.
        seed: seed of weights, actions and envs.
        device: ``"auto"``, ``"cpu"``, ``"cuda"``.

    Raises:
        ValueError: an argument is out of range; the message names it.
    """

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = {"PlasticPolicy": PlasticPolicy}
    _log_interval: int | None = 1
    _iteration: int = 0
    _n_skipped: int = 0

    def __init__(
        self,
        policy: str | type[PlasticPolicy],
        env: GymEnv | str,
        learning_rate: float | Schedule = 1e-3,
        n_steps: int | None = None,
        gamma: float = 0.9,
        gae_lambda: float = 1.0,
        ent_coef: float = 0.0,
        concentration_coef: float = 0.1,
        vf_coef: float = 0.03,
        max_grad_norm: float = 1.0,
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
        own = isinstance(policy, type) and issubclass(policy, PlasticPolicy)
        if not own and not (isinstance(policy, str) and policy in self.policy_aliases):
            raise ValueError(
                f"policy must be 'PlasticPolicy' or a subclass of it, not {policy!r}{_instead_of(policy)}"
            )
        if env is None and _init_setup_model:
            raise ValueError("env must be an environment, its id, or a VecEnv, not None")
        if policy_kwargs is not None and not isinstance(policy_kwargs, dict):
            raise ValueError(f"policy_kwargs must be a dict such as dict(core='lstm'), not {policy_kwargs!r}")
        settings = checked_settings(
            {
                "learning_rate": learning_rate,
                "n_steps": 1 if n_steps is None else n_steps,
                "gamma": gamma,
                "gae_lambda": gae_lambda,
                "ent_coef": ent_coef,
                "concentration_coef": concentration_coef,
                "vf_coef": vf_coef,
                "max_grad_norm": max_grad_norm,
                "max_grad_ratio": max_grad_ratio,
                "normalize_advantage": normalize_advantage,
                "stats_window_size": stats_window_size,
                "verbose": verbose,
                "seed": seed,
            }
        )
        self.concentration_coef = settings.pop("concentration_coef")
        self.max_grad_ratio = settings.pop("max_grad_ratio")
        self.normalize_advantage = settings.pop("normalize_advantage")
        super().__init__(
            policy,  # type: ignore[arg-type]
            env,
            **settings,
            use_sde=False,
            sde_sample_freq=-1,
            tensorboard_log=with_home(tensorboard_log),
            policy_kwargs=own_copy(policy_kwargs or {}),
            device=device,
            _init_setup_model=False,
            supported_action_spaces=ACTION_SPACES,
        )
        if n_steps is None and self.env is not None:
            self.n_steps = episode_length(self.env)
        if _init_setup_model:
            self._setup_model()

    @staticmethod
    def _wrap_env(env: GymEnv | str, verbose: int = 0, monitor_wrapper: bool = True) -> VecEnv:
        """Wrap an env or an id as SB3 does; check its spaces first, before SB3's wrappers fail on them."""
        made = maybe_make_env(env, verbose)
        if isinstance(made, (gym.Env, VecEnv)):
            check_spaces(made.observation_space, made.action_space)
        return JointAgent._wrap_env(made, verbose, monitor_wrapper)

    def _setup_model(self) -> None:
        self._setup_lr_schedule()
        self.set_random_seed(self.seed)
        self.policy = self.policy_class(  # type: ignore[assignment]
            self.observation_space, self.action_space, self.lr_schedule, **self.policy_kwargs
        )
        self.policy = self.policy.to(self.device)
        self.usual_gradient = UsualGradient()

    def train(self) -> None:
        """Take one gradient step over the whole rollout; called again, another step over the same one."""
        rollout = self.rollout_buffer
        # The rollout's results, as long as they would be the same again.
        known = self._replay is not None and self._replay.holds(self.policy, rollout, self._state)
        self.policy.set_training_mode(True)
        self._update_learning_rate(self.policy.optimizer)
        distribution, values, state = self.policy(
            rollout.flat_observations(self.device),
            rollout.state,
            torch.as_tensor(rollout.episode_starts, device=self.device),
            *([(rollout.outputs, self._state)] if known else []),
        )
        returns = torch.as_tensor(rollout.returns, device=self.device).flatten()
        advantages = torch.as_tensor(rollout.advantages, device=self.device).flatten()
        if self.normalize_advantage:
            every = torch.as_tensor(
                self.ranks.gather(rollout.advantages, axis=1), device=self.device
            ).flatten()
            if len(every) > 1:  # a single value has no standard deviation
                advantages = (advantages - every.mean()) / (every.std() + 1e-8)
        actions = rollout.flat_actions(self.device)
        loss = a2c_loss(
            distribution,
            actions.flatten() if isinstance(self.action_space, spaces.Discrete) else actions,
            values,
            returns,
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
        record = self.logger.record
        record(tags.N_UPDATES, self._n_updates, exclude="tensorboard")
        estimates, targets = self.ranks.gather(np.stack((rollout.values, rollout.returns)), axis=2)
        record(tags.EXPLAINED_VARIANCE, explained_variance(estimates.flatten(), targets.flatten()))
        record(tags.LOSS, loss.total.item())
        record(tags.POLICY_LOSS, loss.policy_loss.item())
        record(tags.VALUE_LOSS, loss.value_loss.item())
        record(tags.ENTROPY_LOSS, loss.entropy_loss.item())
        if self.concentration_coef:
            record(tags.CONCENTRATION, loss.concentration.item())
        record(tags.GRAD_NORM, grad_norm.item())
        if isfinite(self.max_grad_ratio):
            record(tags.SKIPPED_UPDATES, self._n_skipped)
        if self.policy.log_std is not None:
            record(tags.STD, self.policy.log_std.exp().mean().item())
        for name, value in self.ranks.means(plastic_metrics(self.policy.core, state)).items():
            record(tags.plastic(name), value)
        if self._log_interval is not None and self._n_updates % self._log_interval == 0:
            super().dump_logs(self._iteration)

    def dump_logs(self, iteration: int = 0) -> None:
        """Write a log entry, as in SB3.

        Args:
            iteration: 0, the default for callbacks, writes at once. The number of a rollout, as passed by
                :meth:`learn`, defers writing until the update is done: SB3 logs an update with the next
                rollout, and never logs the last one.
        """
        if iteration > 0:
            self._iteration = iteration
        else:
            super().dump_logs()

    def learn(
        self,
        total_timesteps: int,
        callback: MaybeCallback = None,
        log_interval: int | None = 1,
        tb_log_name: str = "RecurrentA2C",
        reset_num_timesteps: bool = True,
        progress_bar: bool = False,
    ) -> Self:
        """Train for at least ``total_timesteps`` env steps, in whole rollouts; arguments as in SB3.

        Every update whose number is a multiple of ``log_interval`` is logged, so that a resumed training
        logs the same updates as an uninterrupted one; None leaves logging to callbacks.

        On Ctrl-C or SIGTERM, the current update is completed first; the agent can then be saved and resumed.

        Raises:
            StoppedBetweenUpdates: a KeyboardInterrupt, raised after the update and the callbacks'
                ``on_training_end``.
            NonFiniteError: an observation, a reward, a loss or a gradient is NaN or infinite; the
                parameters are still those of the previous update.
            ValueError: there is no environment (for example after ``load`` without one), ``total_timesteps``
                is not a number, or ``log_interval`` is neither None nor a whole number above 0.
        """
        total_timesteps = whole_steps("total_timesteps", total_timesteps)
        if log_interval is not None:
            log_interval = check_whole("log_interval", log_interval, least=1)
        if self.env is None:
            raise ValueError("there is no environment to train in: call set_env(), or give env= to load()")
        self._settle()  # an interrupt may have prevented it; it needs the buffer that is replaced below
        self.rollout_buffer = Rollout(self.n_steps, self.n_envs, self.observation_space, self.action_space)
        self._log_interval = log_interval
        with PostponedInterrupt() as self._interrupt:
            return super().learn(total_timesteps, callback, 1, tb_log_name, reset_num_timesteps, progress_bar)


def _instead_of(policy: object) -> str:
    """Return advice on what replaces a policy of SB3 or sb3-contrib; empty for any other value."""
    if not isinstance(policy, str) or not policy.endswith("Policy"):
        return ""
    core = ", with policy_kwargs=dict(core='lstm')" if "Lstm" in policy else ""
    return f": write 'PlasticPolicy'{core}, which takes vectors, images and dicts"
