"""Advantage actor-critic on whole sequences, with a recurrent core."""

from math import isfinite
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
from gymnasium import spaces
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.type_aliases import GymEnv, MaybeCallback, Schedule
from stable_baselines3.common.utils import check_for_correct_spaces, explained_variance, obs_as_tensor
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor
from typing_extensions import Self

from plasticrl.agents.a2c_loss import a2c_loss
from plasticrl.agents.argument_checks import check_number
from plasticrl.agents.episode_length import episode_length
from plasticrl.agents.finite_checks import NonFiniteError, first_non_finite
from plasticrl.agents.maze_rollout import can_play, play_ahead
from plasticrl.agents.plastic_metrics import plastic_metrics
from plasticrl.agents.policy import PlasticPolicy
from plasticrl.agents.returns import returns_and_advantages
from plasticrl.agents.rollout import Rollout
from plasticrl.nn.core import positive


class RecurrentA2C(OnPolicyAlgorithm):
    """A2C whose core is unrolled through the whole rollout: no minibatches, no stored states.

    Follows SB3's ``A2C`` in names and behaviour and ``RecurrentPPO`` in :meth:`predict`. One update
    per rollout; the core's state goes on from rollout to rollout and is cleared where an episode
    starts, gradients stop at the rollout's first step. Episodes that a time limit cuts off
    (``truncated``) are bootstrapped from their last observation, ended ones (``terminated``) are not.

    The defaults are those of the paper's maze (Miconi et al. 2018, experiment 4) except where the
    text says otherwise.

    Args:
        policy: ``"PlasticPolicy"`` or a subclass of :class:`PlasticPolicy`.
        env: a Gymnasium env, its id, or an SB3 ``VecEnv``.
        learning_rate: of the optimiser, or a function of the remaining progress (1 to 0).
            Default 1e-3 (paper: 1e-4, with one episode per update).
        n_steps: steps per environment and update. Default: the env's episode length (its
            attribute ``episode_length`` or its spec's ``max_episode_steps``); 128 where neither is.
        gamma: discount factor. Default 0.9.
        gae_lambda: bias-variance trade-off of the advantages; default 1: whole returns.
        ent_coef: weight of an entropy bonus. Default 0.
        concentration_coef: weight of the penalty ``sum p²``. Default 0.1.
        vf_coef: weight of the value loss. Default 0.03.
        max_grad_norm: the gradient is clipped to this norm. Default 1; ``math.inf`` for none, as
            in the paper.
        normalize_advantage: zero mean and unit variance over the rollout. Default False.
        stats_window_size: episodes over which the logged reward is averaged. Default 100.
        tensorboard_log: folder for TensorBoard; default none.
        policy_kwargs: arguments of :class:`PlasticPolicy`, such as ``dict(core="lstm")``.
        verbose: 0 silent, 1 info, 2 debug.
        seed: of weights, actions and envs.
        device: ``"auto"``, ``"cpu"``, ``"cuda"``.

    Raises:
        ValueError: an argument is out of its range; the text names it.
    """

    policy: PlasticPolicy  # type: ignore[assignment]
    rollout_buffer: Rollout  # type: ignore[assignment]
    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = {"PlasticPolicy": PlasticPolicy}

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
        normalize_advantage: bool = False,
        stats_window_size: int = 100,
        tensorboard_log: str | None = None,
        policy_kwargs: dict[str, Any] | None = None,
        verbose: int = 0,
        seed: int | None = None,
        device: torch.device | str = "auto",
        _init_setup_model: bool = True,
    ) -> None:
        if n_steps is not None:
            n_steps = positive("n_steps", n_steps)
        if not callable(learning_rate) and not (isfinite(learning_rate) and learning_rate > 0):
            raise ValueError(
                f"learning_rate must be finite and above 0, or a function, not {learning_rate!r}"
            )
        if not max_grad_norm > 0:
            raise ValueError(f"max_grad_norm must be above 0 (math.inf: no clipping), not {max_grad_norm!r}")
        check_number("gamma", gamma, most=1)
        check_number("gae_lambda", gae_lambda, most=1)
        check_number("ent_coef", ent_coef)
        check_number("concentration_coef", concentration_coef)
        check_number("vf_coef", vf_coef)
        super().__init__(
            policy,  # type: ignore[arg-type]
            env,
            learning_rate=learning_rate,
            n_steps=0 if n_steps is None else n_steps,
            gamma=gamma,
            gae_lambda=gae_lambda,
            ent_coef=ent_coef,
            vf_coef=vf_coef,
            max_grad_norm=max_grad_norm,
            use_sde=False,
            sde_sample_freq=-1,
            stats_window_size=stats_window_size,
            tensorboard_log=tensorboard_log,
            policy_kwargs=policy_kwargs,
            verbose=verbose,
            seed=seed,
            device=device,
            _init_setup_model=False,
            supported_action_spaces=(spaces.Box, spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary),
        )
        self.concentration_coef = concentration_coef
        self.normalize_advantage = normalize_advantage
        self._state: Any = None  # the core's state; None until the first rollout
        if n_steps is None and self.env is not None:
            self.n_steps = episode_length(self.env)
        if _init_setup_model:
            self._setup_model()

    def _setup_model(self) -> None:
        self._setup_lr_schedule()
        self.set_random_seed(self.seed)
        self.policy = self.policy_class(  # type: ignore[assignment]
            self.observation_space, self.action_space, self.lr_schedule, **self.policy_kwargs
        )
        self.policy = self.policy.to(self.device)

    @property
    def core_state(self) -> Any:
        """The core's state after the last step of the training envs, B rows; None before the first."""
        return self._state

    def set_env(self, env: GymEnv, force_reset: bool = True) -> None:
        """Train on another env from now on; it may have another number of environments.

        Args:
            env: as in the constructor; its spaces must be the same.
            force_reset: start new episodes at the next :meth:`learn`; always so where the number of
                environments changes.

        Raises:
            ValueError: the spaces differ.
        """
        env = self._wrap_env(env, self.verbose)
        check_for_correct_spaces(env, self.observation_space, self.action_space)
        force_reset = force_reset or env.num_envs != self.n_envs
        self.n_envs = env.num_envs  # SB3 would refuse another number: its buffer has a fixed size
        super().set_env(env, force_reset)
        if force_reset:
            self._state = None

    def collect_rollouts(  # type: ignore[override]
        self, env: VecEnv, callback: BaseCallback, rollout_buffer: Rollout, n_rollout_steps: int
    ) -> bool:
        """Step the envs and fill ``rollout_buffer``; False where the callback stopped it."""
        assert self._last_obs is not None
        assert self._last_episode_starts is not None
        self.policy.set_training_mode(False)
        if self._state is None:
            self._state = self.policy.initial_state(env.num_envs)
        rollout_buffer.state = type(self._state)(*(s.clone() for s in self._state))
        callback.on_rollout_start()
        obs: Any = self._last_obs
        starts = np.asarray(self._last_episode_starts, dtype=np.bool_)
        played = None
        if can_play(self.policy, env):
            played = play_ahead(self.policy, env, self._state, obs, starts, n_rollout_steps)
            rollout_buffer.outputs = played.outputs
        else:
            rollout_buffer.outputs = torch.empty(
                n_rollout_steps, env.num_envs, self.policy.core.output_size, device=self.device
            )
        for t in range(n_rollout_steps):
            if played is None:
                outputs = self.policy.step_(
                    obs_as_tensor(obs, self.device), self._state, torch.as_tensor(starts, device=self.device)
                )
                actions = self.policy.sample(outputs).cpu().numpy()
                rollout_buffer.outputs[t] = outputs
            else:
                actions = played.actions[t]
            rollout_buffer.put_observation(t, obs)
            rollout_buffer.episode_starts[t] = starts
            rollout_buffer.actions[t] = actions.reshape(env.num_envs, -1)

            obs, rewards, dones, infos = env.step(self._allowed(actions))
            # Before the callback, so that a run it stops goes on from where the envs are.
            self._last_obs, self._last_episode_starts = obs, dones
            starts = dones
            self.num_timesteps += env.num_envs
            callback.update_locals(locals())
            if not callback.on_step():
                if played is not None:
                    self._state = self._state_after(t + 1)
                return False
            rollout_buffer.rewards[t] = rewards
            if dones.any():
                self._update_info_buffer(infos, dones)
                rollout_buffer.rewards[t] += self.gamma * self._values_cut_off(dones, infos)

        with torch.no_grad():
            values = self.policy.values(rollout_buffer.outputs)
        self._check_finite({"values": values})
        rollout_buffer.values = values.cpu().numpy()
        last_values = self.policy.predict_values(
            obs_as_tensor(obs, self.device), self._state, torch.as_tensor(starts, device=self.device)
        )
        rollout_buffer.returns, rollout_buffer.advantages = returns_and_advantages(
            rollout_buffer.rewards,
            rollout_buffer.values,
            rollout_buffer.episode_starts,
            last_values.cpu().numpy(),
            starts,
            gamma=self.gamma,
            gae_lambda=self.gae_lambda,
        )
        callback.update_locals(locals())
        callback.on_rollout_end()
        return True

    def _state_after(self, steps: int) -> Any:
        """The core's state where a rollout that was played to its end is broken off."""
        rollout = self.rollout_buffer
        seen: Any = rollout.flat_observations(self.device)
        starts = torch.as_tensor(rollout.episode_starts[:steps], device=self.device)
        with torch.no_grad():
            return self.policy(seen[: starts.numel()], rollout.state, starts)[2]

    def train(self) -> None:
        """One gradient step over the whole rollout."""
        self.policy.set_training_mode(True)
        self._update_learning_rate(self.policy.optimizer)
        rollout = self.rollout_buffer
        distribution, values, state = self.policy(
            rollout.flat_observations(self.device),
            rollout.state,
            torch.as_tensor(rollout.episode_starts, device=self.device),
            (rollout.outputs, self._state),
        )
        returns = torch.as_tensor(rollout.returns, device=self.device).flatten()
        advantages = torch.as_tensor(rollout.advantages, device=self.device).flatten()
        if self.normalize_advantage:
            advantages = (advantages - advantages.mean()) / (advantages.std() + 1e-8)
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
        grad_norm = torch.nn.utils.clip_grad_norm_(self.policy.parameters(), self.max_grad_norm)
        self._check_finite({"loss": loss.total, "gradient": grad_norm})
        self.policy.optimizer.step()

        self._n_updates += 1
        record = self.logger.record
        record("train/n_updates", self._n_updates, exclude="tensorboard")
        record(
            "train/explained_variance",
            explained_variance(rollout.values.flatten(), rollout.returns.flatten()),
        )
        record("train/loss", loss.total.item())
        record("train/policy_loss", loss.policy_loss.item())
        record("train/value_loss", loss.value_loss.item())
        record("train/entropy_loss", loss.entropy_loss.item())
        if self.concentration_coef:
            record("train/concentration", loss.concentration.item())
        record("train/grad_norm", grad_norm.item())
        if self.policy.log_std is not None:
            record("train/std", self.policy.log_std.exp().mean().item())
        for name, value in plastic_metrics(self.policy.core, state).items():
            record(f"plastic/{name}", value)

    def learn(
        self,
        total_timesteps: int,
        callback: MaybeCallback = None,
        log_interval: int = 1,
        tb_log_name: str = "RecurrentA2C",
        reset_num_timesteps: bool = True,
        progress_bar: bool = False,
    ) -> Self:
        """Train for at least ``total_timesteps`` env steps, in whole rollouts; arguments as in SB3."""
        assert self.env is not None
        self.rollout_buffer = Rollout(self.n_steps, self.n_envs, self.observation_space, self.action_space)
        return super().learn(
            total_timesteps, callback, log_interval, tb_log_name, reset_num_timesteps, progress_bar
        )

    def _check_finite(self, tensors: dict[str, Tensor]) -> None:
        name = first_non_finite(tensors)
        if name is not None:
            raise NonFiniteError(
                f"the training diverged: {name} not finite after {self.num_timesteps:,} steps and "
                f"{self._n_updates} updates; "
                "try a lower learning rate, eta or max_grad_norm, or bound_eta=True"
            )

    def _allowed(self, actions: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Gaussian actions clipped to the space, as in SB3: the unclipped ones are what is learned from."""
        if isinstance(self.action_space, spaces.Box):
            shaped = actions.reshape(-1, *self.action_space.shape)
            clipped: npt.NDArray[Any] = np.clip(shaped, self.action_space.low, self.action_space.high)
            return clipped
        return actions

    def _values_cut_off(
        self, dones: npt.NDArray[np.bool_], infos: list[dict[str, Any]]
    ) -> npt.NDArray[np.float32]:
        """Value of the last observation where a time limit cut an episode off, else 0: ``(B,)``.

        The step that values it is not committed to the trace: the episode is over.
        """
        values = np.zeros(len(dones), dtype=np.float32)
        rows = [i for i in np.flatnonzero(dones) if infos[i].get("TimeLimit.truncated", False)]
        if rows:
            observations = [infos[i]["terminal_observation"] for i in rows]
            stacked = (
                {key: np.stack([o[key] for o in observations]) for key in observations[0]}
                if isinstance(observations[0], dict)
                else np.stack(observations)
            )
            state = type(self._state)(*(s[rows] for s in self._state))
            no_start = torch.zeros(len(rows), dtype=torch.bool, device=self.device)
            obs: Any = obs_as_tensor(stacked, self.device)
            values[rows] = self.policy.predict_values(obs, state, no_start).cpu().numpy()
        return values

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "_state"]
