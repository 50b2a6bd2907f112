"""The base of on-policy agents with a recurrent policy: all but the update."""

from __future__ import annotations

import inspect
import json
import warnings
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from io import BytesIO
from numbers import Integral
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
import numpy.typing as npt
import torch
from gymnasium import spaces
from stable_baselines3.common.base_class import maybe_make_env
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.type_aliases import GymEnv, MaybeCallback
from stable_baselines3.common.utils import (
    LinearSchedule,
    check_for_correct_spaces,
    explained_variance,
    get_system_info,
    obs_as_tensor,
)
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor
from typing_extensions import Self

from plasticrl.agents.checkpoint.env_state import EnvStateError, restore_env_state, restore_means
from plasticrl.agents.checkpoint.format import settings_of_a_file
from plasticrl.agents.checkpoint.optimizer import check_trained, restore_trained
from plasticrl.agents.checkpoint.parameters import ParameterExchange
from plasticrl.agents.checkpoint.random_state import restore_random_states
from plasticrl.agents.checkpoint.tensor_file import PathOrFile
from plasticrl.agents.checkpoint.tree import Absent
from plasticrl.agents.common import tags
from plasticrl.agents.common.distributed import ALONE, Ranks
from plasticrl.agents.common.finite_checks import NonFiniteError, first_non_finite, non_finite_place
from plasticrl.agents.common.tensorboard import plastic_metrics
from plasticrl.agents.presets import Preset, make_envs
from plasticrl.agents.recurrent.checkpoint import (
    AgentFormat,
    Resume,
    checked_episodes,
    fresh_policy,
    own_copy,
)
from plasticrl.agents.recurrent.distributed import Episodes
from plasticrl.agents.recurrent.native_rollout import Played, Replay, arrays_fit, can_play, mark, play_ahead
from plasticrl.agents.recurrent.policies import PlasticPolicy
from plasticrl.agents.recurrent.rollout import ALL, Rollout, Rows, by_key, returns_and_advantages
from plasticrl.agents.recurrent.spaces import (
    KINDS,
    actions_to_env,
    check_spaces,
    has_masks,
    masks_of,
    to_numpy,
)
from plasticrl.arguments import check_whole, whole_steps, with_home
from plasticrl.envs.common.vec_env import as_vec_env
from plasticrl.nn.factory import CoreName
from plasticrl.signals import PostponedInterrupt

_CONTINUE, _SAVE = 0, 1  # messages of the first process to the others before a rollout
_OF_SB3 = inspect.signature(OnPolicyAlgorithm.__init__).parameters


class RecurrentOnPolicyAlgorithm(ParameterExchange, OnPolicyAlgorithm):
    """Base of an agent that trains a :class:`PlasticPolicy` on whole rollouts.

    A subclass defines :meth:`train`, its constructor's arguments, ``default_n_steps``, and in ``file_format``
    which of its arguments and attributes are checked and saved.

    Args:
        policy: as in :class:`~plasticrl.agents.RecurrentA2C`, like all others.
        env: the training env.
        settings: the arguments that ``file_format.settings`` names; ``n_steps`` may be None.
        tensorboard_log: folder for TensorBoard.
        policy_kwargs: arguments of the policy.
        device: device of the policy.
        _init_setup_model: build the policy.

    Raises:
        ValueError: an argument is out of range; the message names it.
    """

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = {"PlasticPolicy": PlasticPolicy}
    file_format: ClassVar[AgentFormat]
    presets: ClassVar[Mapping[str, Preset]] = {}
    default_n_steps: ClassVar[int]

    policy: PlasticPolicy  # type: ignore[assignment]
    rollout_buffer: Rollout  # type: ignore[assignment]
    normalize_advantage: bool
    ranks: Ranks = ALONE  # the processes that train together
    _whole_env: VecEnv | None = None  # environments of all processes
    _others_wait = False  # the other processes wait for a message of the first
    _state: Any = None  # the core's state; None until the first rollout
    _masked: bool = False  # the training envs have masks of their actions
    _discounted: Any = None  # rewards since the episodes began, discounted, (B,); None until then
    _ahead: Played | None = None  # a rollout that was played ahead, while the envs take its steps
    _replay: Replay | None = None  # of the last rollout
    _resume: Resume | None = None  # set by load() until the next learn()
    _interrupt = PostponedInterrupt()  # replaced by an active one in learn()
    _log_interval: int | None = 1
    _iteration: int = 0

    def __init__(
        self,
        policy: str | type[PlasticPolicy],
        env: GymEnv | str | None,
        settings: Mapping[str, Any],
        *,
        tensorboard_log: str | None,
        policy_kwargs: dict[str, Any] | None,
        device: torch.device | str,
        _init_setup_model: bool,
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
        n_steps = settings["n_steps"]
        checked = self.file_format.checked_settings(
            {**settings, "n_steps": self.default_n_steps if n_steps is None else n_steps}
        )
        for name in checked.keys() - _OF_SB3.keys():
            setattr(self, name, checked[name])
        super().__init__(
            policy,  # type: ignore[arg-type]
            env,  # type: ignore[arg-type]
            **{name: value for name, value in checked.items() if name in _OF_SB3},
            use_sde=False,
            sde_sample_freq=-1,
            tensorboard_log=with_home(tensorboard_log),
            policy_kwargs=own_copy(policy_kwargs or {}),
            device=device,
            _init_setup_model=False,
            supported_action_spaces=KINDS,
        )
        if n_steps is None and self.env is not None:
            self.n_steps = min([self.default_n_steps, *_episode_lengths(self.env)])
        self._masked = self.env is not None and has_masks(self.env)
        if _init_setup_model:
            self._setup_model()

    @classmethod
    def from_preset(
        cls,
        env_id: str,
        core: CoreName = "plastic",
        env: GymEnv | None = None,
        n_envs: int | None = None,
        **changes: Any,
    ) -> Self:
        """Build an agent with the settings that were tuned for an environment.

        Args:
            env_id: id of the environment, one of ``presets``.
            core: core of the policy.
            env: the training env. Default: parallel ones with this id and the preset's wrappers.
            n_envs: their number. Default: the preset's.
            **changes: arguments of the constructor that replace the preset's; those in ``policy_kwargs``
                are merged with it.

        The learning rate falls over the steps of ``learn``; ``presets[env_id].total_timesteps`` is the
        number that it was tuned for.

        Raises:
            ValueError: there is no preset for this environment, its package is missing, or an argument is
                not allowed.
        """
        if env_id not in cls.presets:
            raise ValueError(
                f"{cls.__name__} has no preset for {env_id!r}, only for {', '.join(cls.presets)}: call "
                f"{cls.__name__}('PlasticPolicy', {env_id!r}), whose defaults serve any environment"
            )
        own = dict(changes.get("policy_kwargs") or {})
        if "core" in own:
            raise ValueError(f"give the core as from_preset({env_id!r}, core=...), not within policy_kwargs")
        if env is not None and n_envs is not None:
            raise ValueError("give env or n_envs, not both")
        preset = cls.presets[env_id].for_core(core)
        if env is None:
            env = make_envs(env_id, preset, n_envs, changes.get("seed"))
        rate, last = preset.learning_rate, preset.final_learning_rate
        settings = {
            "learning_rate": rate if last == rate else LinearSchedule(rate, last, end_fraction=1.0),
            **preset.learner,
            **changes,
            "policy_kwargs": {"core": core, **preset.policy, **own},
        }
        return cls("PlasticPolicy", env, **settings)

    @staticmethod
    def _wrap_env(env: Any, verbose: int = 0, monitor_wrapper: bool = True) -> VecEnv:
        """Wrap an env, an id or a ``VectorEnv`` after checking its spaces, on which SB3 may fail."""
        made = as_vec_env(maybe_make_env(env, verbose))
        if isinstance(made, (gym.Env, VecEnv)):
            check_spaces(made.observation_space, made.action_space)
        return OnPolicyAlgorithm._wrap_env(made, verbose, monitor_wrapper)

    def _setup_model(self) -> None:
        self._setup_lr_schedule()
        self.set_random_seed(self.seed)
        self.policy = self.policy_class(  # type: ignore[assignment]
            self.observation_space, self.action_space, self.lr_schedule, **self.policy_kwargs
        )
        self.policy = self.policy.to(self.device)

    def _check_minibatches(self) -> None:
        """Check before a training that updates can use the rollouts; there is nothing to check here.

        Raises:
            ValueError: they cannot.
        """

    def learn(
        self,
        total_timesteps: int,
        callback: MaybeCallback = None,
        log_interval: int | None = 1,
        tb_log_name: str | None = None,
        reset_num_timesteps: bool = True,
        progress_bar: bool = False,
    ) -> Self:
        """Train for at least ``total_timesteps`` env steps, in whole rollouts; arguments as in SB3.

        Every update whose number is a multiple of ``log_interval`` is logged, so that a resumed training
        logs the same updates as an uninterrupted one; None leaves logging to callbacks. ``tb_log_name`` is
        the name of the agent by default.

        On Ctrl-C or SIGTERM, the current update is completed first; the agent can then be saved and resumed.

        Raises:
            StoppedBetweenUpdates: a KeyboardInterrupt, raised after the update and the callbacks'
                ``on_training_end``.
            NonFiniteError: an observation, a reward, a loss or a gradient is NaN or infinite; the
                parameters are still those of the previous update.
            ValueError: there is no environment (for example after ``load`` without one), ``total_timesteps``
                is not a number, ``log_interval`` is neither None nor a whole number above 0, or minibatches
                do not divide the rollout.
        """
        total_timesteps = whole_steps("total_timesteps", total_timesteps)
        if log_interval is not None:
            log_interval = check_whole("log_interval", log_interval, least=1)
        if self.env is None:
            raise ValueError("there is no environment to train in: call set_env(), or give env= to load()")
        self._check_minibatches()
        self._settle()  # an interrupt may have prevented it
        self.rollout_buffer = Rollout(
            self.n_steps, self.n_envs, self.observation_space, self.action_space, self._masked
        )
        self._log_interval = log_interval
        name = self.file_format.name.rpartition(".")[2] if tb_log_name is None else tb_log_name
        with PostponedInterrupt() as self._interrupt:
            return super().learn(total_timesteps, callback, 1, name, reset_num_timesteps, progress_bar)

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

    def _scale(self) -> float:
        """Return the standard deviation by which a loss divides returns and values; 1 without moments."""
        moments = self.policy.return_moments
        return 1.0 if moments is None else moments.std.item()

    def _taken(self, rows: Rows = ALL) -> Tensor:
        """Return the rollout's actions as ``log_prob`` expects them, of all or of some environments."""
        actions = self.rollout_buffer.flat_actions(self.device, rows)
        return actions.flatten() if isinstance(self.action_space, spaces.Discrete) else actions

    def _end_update(self, means: Mapping[str, float]) -> None:
        """Log an update, count the rollout's observations, once, and write the log entry that is due.

        Args:
            means: numbers of the update by their tag.
        """
        rollout, record = self.rollout_buffer, self.logger.record
        record(tags.N_UPDATES, self._n_updates, exclude="tensorboard")
        estimates, targets = self.ranks.gather(np.stack((rollout.values, rollout.returns)), axis=2)
        record(tags.EXPLAINED_VARIANCE, explained_variance(estimates.flatten(), targets.flatten()))
        for tag, mean in means.items():
            record(tag, mean)
        if self.policy.log_std is not None:
            record(tags.STD, self.policy.log_std.exp().mean().item())
        for name, value in self.ranks.means(plastic_metrics(self.policy.core, self._state)).items():
            record(tags.PLASTIC + name, value)
        if self.policy.observation_normalizer is not None and not rollout.counted:
            self.policy.observation_normalizer.update(rollout.observations, self.ranks)
        rollout.counted = True
        if self._log_interval is not None and self._n_logged() % self._log_interval == 0:
            super().dump_logs(self._iteration)

    def _n_logged(self) -> int:
        """Return the number of updates, which decides whether one is logged."""
        return self._n_updates

    # Rollouts

    @property
    def core_state(self) -> Any:
        """A copy of the core's state after the last step of the training envs, B rows.

        It is None before the first step.
        """
        return _copy(self._state) if self._ahead is None else self._ahead.state()

    def collect_rollouts(  # type: ignore[override]
        self, env: VecEnv, callback: BaseCallback, rollout_buffer: Rollout, n_rollout_steps: int
    ) -> bool:
        """Step the envs and fill ``rollout_buffer``; return False if the callback or Ctrl-C stopped it.

        The callback's ``locals`` have SB3's names: ``self``, ``env``, ``callback``, ``rollout_buffer``,
        ``n_rollout_steps``, ``n_steps``, ``obs_tensor``, ``actions``, ``clipped_actions``, ``new_obs``,
        ``rewards``, ``dones`` and ``infos``, and ``action_masks`` if the envs have them. ``values`` and
        ``log_probs`` are missing: values are computed together after the last step, and log-probabilities in
        the update. Read ``rollout_buffer.values`` in ``_on_rollout_end`` instead.

        Raises:
            NonFiniteError: an observation, a reward, the core's state or a value is NaN or infinite.
            RuntimeError: a callback changed the policy or the core's state within the rollout in a way that
                cannot be followed.
        """
        if self.ranks.any(self._interrupt.pending):  # the state is consistent here: the last update is done
            self._interrupt.pending = True
            return False
        assert self._last_obs is not None
        assert self._last_episode_starts is not None
        self.policy.set_training_mode(False)
        if self._state is None:
            self._state = self.policy.initial_state(env.num_envs)
        moments, discounted = self.policy.return_moments, list[Any]()
        if moments is not None and self._discounted is None:
            self._discounted = np.zeros(env.num_envs)
        self._start_rollout(callback)
        new_obs: Any = self._last_obs
        dones = np.asarray(self._last_episode_starts, dtype=np.bool_)
        given = {
            "self": self, "env": env, "callback": callback, "rollout_buffer": rollout_buffer,
            "n_rollout_steps": n_rollout_steps,
        }  # fmt: skip
        follows = True  # nothing but the steps changed the core's state and outputs
        with self._rollout_guard():
            rollout_buffer.counted = False
            rollout_buffer.state = self._state  # after the callback, which may change it
            self._replay = Replay(self.policy, rollout_buffer)
            if (
                rollout_buffer.action_masks is None
                and self._draws_unmodified()
                and can_play(self.policy, env)
                and arrays_fit(env, self._state, new_obs)
            ):
                self._ahead = play_ahead(
                    self.policy, env, _copy(self._state), rollout_buffer.state, new_obs, dones,
                    n_rollout_steps, self.ranks,
                )  # fmt: skip
                rollout_buffer.outputs = self._ahead.outputs
            else:
                self._state = _copy(self._state)
                rollout_buffer.outputs = torch.empty(
                    n_rollout_steps, env.num_envs, self.policy.core.output_size, device=self.device
                )
            left = self._core_mark(rollout_buffer)
            for t in range(n_rollout_steps):
                ahead = self._ahead
                obs_tensor = obs_as_tensor(new_obs, self.device)
                if ahead is None:
                    outputs = self.policy.step_(
                        obs_tensor, self._state, torch.as_tensor(dones, device=self.device)
                    )
                    if rollout_buffer.action_masks is not None:
                        rollout_buffer.action_masks[t] = given["action_masks"] = masks_of(env)
                    masks = rollout_buffer.mask_argument(self.device, steps=slice(t, t + 1))
                    actions = to_numpy(self._sampled(outputs, **masks))
                    rollout_buffer.outputs[t] = outputs
                    left = self._core_mark(rollout_buffer)
                else:
                    actions = ahead.actions(t)
                rollout_buffer.put(t, new_obs, dones)  # before the envs may write into them

                clipped_actions = actions_to_env(actions, self.action_space)
                so_far = None if moments is None else self.gamma * self._discounted * ~dones
                new_obs, rewards, dones, own_infos = env.step(clipped_actions)
                dones = np.asarray(dones, dtype=np.bool_)  # some third-party envs return numbers
                infos = self._of_all(own_infos) if (ended := np.count_nonzero(dones)) else own_infos
                # Set before the callback, so that a run stopped by it resumes where the envs are.
                self._last_obs, self._last_episode_starts = new_obs, dones
                self._count(rewards, so_far)
                if ahead is not None:
                    ahead.taken = t + 1
                self.num_timesteps += env.num_envs * self.ranks.size
                given |= {
                    "n_steps": t, "actions": actions, "clipped_actions": clipped_actions, "new_obs": new_obs,
                    "rewards": rewards, "dones": dones, "infos": infos, "obs_tensor": obs_tensor,
                }  # fmt: skip
                callback.update_locals(given)
                goes_on = callback.on_step()
                # Read again after the callback, which may change them in place, as in SB3.
                self._count(rewards, so_far)
                discounted.append(self._discounted)
                if not goes_on:
                    return False
                rollout_buffer.actions[t] = actions.reshape(env.num_envs, -1)
                rollout_buffer.rewards[t] = rewards
                if ended:
                    self._update_info_buffer(infos, dones)
                    rollout_buffer.rewards[t] += self.gamma * self._values_cut_off(dones, own_infos)
                if ahead is None:
                    follows &= self._core_mark(rollout_buffer) == left
                elif not (ahead.goes_on(self.policy, t, new_obs, dones) and self._draws_unmodified()):
                    self._check_ahead(ahead, left)
                    self._settle()
            if self._ahead is not None:
                self._check_ahead(self._ahead, left)
                self._state = self._ahead.final
                self._ahead = None
            last_values = self.policy.predict_values(
                obs_as_tensor(new_obs, self.device), self._state, torch.as_tensor(dones, device=self.device)
            )

        with torch.no_grad():
            values = self.policy.values(rollout_buffer.outputs)
        with self.ranks.non_finite_together():
            self._check_rollout(rollout_buffer, values)
        rollout_buffer.values = to_numpy(values)
        rollout_buffer.returns, rollout_buffer.advantages = returns_and_advantages(
            rollout_buffer.rewards,
            rollout_buffer.values,
            rollout_buffer.episode_starts,
            to_numpy(last_values),
            dones,
            gamma=self.gamma,
            gae_lambda=self.gae_lambda,
        )
        if moments is not None:
            moments.update(np.concatenate(discounted), self.ranks)
        if follows:
            self._replay.note_results(self._state)
        callback.update_locals(given | {"n_steps": n_rollout_steps})
        callback.on_rollout_end()
        return True

    def _known(self) -> tuple[Tensor, Any] | None:
        """Return the rollout's outputs and last state, if an update would compute the same again."""
        rollout = self.rollout_buffer
        if self._replay is None or not self._replay.holds(self.policy, rollout, self._state):
            return None
        return rollout.outputs, self._state

    def _start_rollout(self, callback: BaseCallback) -> None:
        self._others_wait = True
        callback.on_rollout_start()
        self._others_wait = False
        if self.ranks.size > 1:
            while self.ranks.broadcast(_CONTINUE) == _SAVE:  # the others send their shares to the first
                self._gather()

    def _sampled(self, outputs: Tensor, **masks: Tensor) -> Tensor:
        """Draw actions; each process draws those of all, so that torch's generators stay the same."""
        of_all = {name: self.ranks.among_all(mask) for name, mask in masks.items()}
        return self.policy.sample(self.ranks.among_all(outputs), **of_all)[
            self.ranks.share(len(outputs) * self.ranks.size)
        ]

    def _draws_unmodified(self) -> bool:
        return getattr(self._sampled, "__func__", None) is _SAMPLED

    def _core_mark(self, rollout: Rollout) -> list[tuple[int, int]]:
        return mark((rollout.outputs, *rollout.state, *self._state))

    def _check_ahead(self, ahead: Played, left: list[tuple[int, int]]) -> None:
        """Raise RuntimeError if the steps taken so far are not those that stepping would have taken.

        Raises:
            RuntimeError: a callback changed the policy, the core's state or its outputs unnoticed.
        """
        ahead.check()
        if self._core_mark(self.rollout_buffer) != left:
            raise RuntimeError(
                "a callback changed the core's state or outputs within a rollout: change the state "
                "in on_rollout_start, the outputs in on_rollout_end"
            )

    def _of_all(self, infos: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return the infos of all processes' environments; called where episodes end, in lockstep."""
        if self.ranks.size == 1:
            return infos
        plain = [{k: v for k, v in info.items() if not isinstance(v, np.ndarray)} for info in infos]
        parts = self.ranks.gather_bytes(json.dumps(plain).encode())
        return [info for part in parts for info in json.loads(part)]

    def _count(self, rewards: Any, so_far: npt.NDArray[np.float64] | None) -> None:
        """Add the rewards of a step, as they are stored, to the discounted ones before it, if these count."""
        if so_far is not None:
            self._discounted = np.asarray(rewards, dtype=np.float32) + so_far

    def _settle(self) -> None:
        """Restore the core's state at the envs' step if a rollout played ahead was stopped early."""
        if self._ahead is not None:
            self._state = self._ahead.state()
            self._ahead = None

    @contextmanager
    def _rollout_guard(self) -> Iterator[None]:
        """Call :meth:`_settle` on exit, and name the non-finite value that made a step fail.

        A callback, an error or an interrupt may end a rollout before it is complete and can be checked.
        """
        try:
            yield
        except (RuntimeError, ValueError) as error:
            self._settle()
            parameters = {f"parameter {n}": p for n, p in self.policy.named_parameters()}
            try:
                self._check_last_observation()
                self._check_finite({**self._core_tensors(), **parameters})
            except NonFiniteError as cause:
                raise cause from error
            raise
        finally:
            self._settle()
            if self._discounted is not None:  # rewards that are not finite are reported, and do not count
                self._discounted = np.nan_to_num(self._discounted, nan=0.0, posinf=0.0, neginf=0.0)

    def _values_cut_off(
        self, dones: npt.NDArray[np.bool_], infos: list[dict[str, Any]]
    ) -> npt.NDArray[np.float32]:
        """Return the value of the last observation of truncated episodes, else 0, ``(B,)``.

        It is 0 if the env does not provide that observation, as in SB3. The step that computes the value
        does not change the trace, since the episode is over.
        """
        values = np.zeros(len(dones), dtype=np.float32)
        rows = [
            i
            for i in np.flatnonzero(dones).tolist()
            if infos[i].get("terminal_observation") is not None and infos[i].get("TimeLimit.truncated", False)
        ]
        if rows:
            observations = [infos[i]["terminal_observation"] for i in rows]
            stacked = (
                {key: np.stack([o[key] for o in observations]) for key in observations[0]}
                if isinstance(observations[0], dict)
                else np.stack(observations)
            )
            state = self._state if self._ahead is None else self._ahead.state()
            state = type(state)(*(s[rows] for s in state))
            no_start = torch.zeros(len(rows), dtype=torch.bool, device=self.device)
            obs = obs_as_tensor(stacked, self.device)
            self._check_finite(
                {f"the terminal observation {key}".strip(): o for key, o in by_key(obs).items()}
            )
            values[rows] = to_numpy(self.policy.predict_values(obs, state, no_start))
        return values

    def _check_rollout(self, rollout: Rollout, values: Tensor) -> None:
        """Raise an error for the first non-finite value in the order environments, core, heads."""
        for name, arrays in (("observation", rollout.observations), ("reward", rollout.rewards)):
            if place := non_finite_place(by_key(arrays)):
                raise self._non_finite(f"the {name} of environment {place[1]} in step {place[0]}", advice="")
        self._check_last_observation()
        self._check_finite({**self._core_tensors(), "the outputs": rollout.outputs, "the values": values})

    def _check_last_observation(self) -> None:
        if place := non_finite_place({key: obs[None] for key, obs in by_key(self._last_obs).items()}):
            raise self._non_finite(f"the last observation of environment {place[1]}", advice="")

    def _core_tensors(self) -> dict[str, Tensor]:
        return {f"the core's {n}": s for n, s in zip(self._state._fields, self._state, strict=True)}

    def _check_finite(self, tensors: dict[str, Tensor]) -> None:
        if name := first_non_finite(tensors):
            raise self._non_finite(name)

    def _non_finite(
        self, name: str, advice: str = "; try a lower learning rate, eta or max_grad_norm, or bound_eta=True"
    ) -> NonFiniteError:
        return NonFiniteError(
            f"{name} is not finite, after {self.num_timesteps:,} steps and {self._n_updates} updates. "
            f"The parameters are still those of the last update{advice}"
        )

    def predict(
        self,
        observation: npt.NDArray[Any] | dict[str, npt.NDArray[Any]],
        state: tuple[npt.NDArray[Any], ...] | None = None,
        episode_start: npt.NDArray[Any] | None = None,
        deterministic: bool = False,
        action_masks: npt.NDArray[Any] | None = None,
    ) -> tuple[npt.NDArray[Any], tuple[npt.NDArray[Any], ...] | None]:
        """Return actions and the new state; arguments and errors are those of :meth:`PlasticPolicy.predict`.

        Raises:
            ValueError: the training env has masks, but ``action_masks`` are missing.
        """
        if action_masks is not None:
            return self.policy.predict(observation, state, episode_start, deterministic, action_masks)
        if self._masked:
            raise ValueError(
                "predict() got no action_masks, but the training env has them: give those of the env acted "
                "in, or evaluate with evaluate_policy or MaskedEvalCallback of plasticrl.agents, in an env "
                "that has the method action_masks"
            )
        return self.policy.predict(observation, state, episode_start, deterministic)

    # Environments

    def set_env(self, env: GymEnv | str, force_reset: bool = True) -> None:
        """Replace the training env; the new one may have another number of environments.

        Args:
            env: as in the constructor; its spaces must be the same.
            force_reset: begin new episodes at the next :meth:`learn`; this always happens if the number of
                environments changes. After :meth:`load` without env, ``env`` is used as if passed there.

        Raises:
            ValueError: the spaces differ.
        """
        before, loaded = self.n_envs, self.env is None and self._resume is not None
        self._replace_env(env)
        if self._resume is not None and loaded:
            self._restore_means(self._resume.env)
        if self._resume is not None:
            self._resume = self._resume._replace(force_reset=force_reset) if loaded else None
        if self.n_envs != before or (force_reset and not loaded):
            self._start_over()

    def set_random_seed(self, seed: int | None = None) -> None:
        """Seed all generators, as in SB3; a loaded agent then begins new episodes with new random numbers."""
        super().set_random_seed(seed)
        if self._resume is not None and seed is not None:
            self._resume = None
            self._start_over()

    def _replace_env(self, env: GymEnv | str) -> None:
        """Replace the training env by one with any number of environments; keep the current episodes.

        Raises:
            ValueError: the spaces differ.
        """
        env = self._wrap_env(env, self.verbose)
        check_for_correct_spaces(env, self.observation_space, self.action_space)
        self.n_envs = env.num_envs  # SB3 would refuse another number: its buffer has a fixed size
        self._masked = has_masks(env)
        super().set_env(env, force_reset=False)

    def _restore_means(self, saved: Any) -> None:
        """Give the moments of a file to a ``VecNormalize``, also for another number of environments."""
        if self.env is not None:
            with suppress(EnvStateError):  # what else does not fit is said by learn()
                restore_means(self.env, saved)

    def _start_over(self) -> None:
        """Begin new episodes at the next ``learn``, even if a checkpoint holds current ones."""
        self._last_obs = self._state = self._discounted = self._ahead = None
        if self._resume is not None:
            self._resume = self._resume._replace(env=None)

    # Several processes

    def join(self, ranks: Ranks) -> Self:
        """Train with other processes from now on; all of them must call it with the same agent.

        The agent keeps its share of the environments: process 0 has the first ones, and so on. The updates
        are those of a single process with all environments. Each process has its own callbacks and logs,
        which see the episodes of all processes. Only the first process can save, in a callback's
        ``on_rollout_start``.

        Args:
            ranks: the processes. With a single one, nothing changes.

        Raises:
            ValueError: the agents differ, or the environments cannot be shared.
        """
        if ranks.size == 1:
            return self
        self._settle()
        own = ranks.share(self.n_envs)
        self._episodes.rows(own)  # raises before anything has changed if env cannot be split
        content = BytesIO()
        self.save(content)
        ranks.check_alike(content.getvalue())
        self._take_up(silent=False)
        self._whole_env = self.env
        self._episodes = self._episodes.rows(own)
        self.ranks = ranks
        return self

    def leave(self) -> Self:
        """Continue alone with the environments and episodes of all processes; all of them must call it."""
        if self.ranks.size > 1:
            self._episodes = self._gather()
            self.ranks, self._whole_env = ALONE, None
        return self

    @property
    def _episodes(self) -> Episodes:
        assert self.env is not None
        return Episodes(self.env, self._last_obs, self._last_episode_starts, self._state, self._discounted)

    @_episodes.setter
    def _episodes(self, episodes: Episodes) -> None:
        self.env, self._last_obs, self._last_episode_starts, self._state, self._discounted = episodes
        self.n_envs = self.env.num_envs

    def _gather(self) -> Episodes:
        """Return the episodes of all processes; all of them must call it."""
        assert self._whole_env is not None
        return self._episodes.gathered(self.ranks, self._whole_env)

    @contextmanager
    def _with_all_episodes(self) -> Iterator[None]:
        """Hold the episodes of all processes in the block, to save them as one process would.

        Raises:
            RuntimeError: this is not the first process, or the others are not at the start of a rollout.
        """
        if self.ranks.size == 1:
            yield
            return
        if self.ranks.rank > 0 or not self._others_wait:
            raise RuntimeError(
                "while several processes train, only the first can save, and only from a callback's "
                "on_rollout_start: elsewhere call leave() on all of them first"
            )
        self.ranks.broadcast(_SAVE)
        own, self._episodes = self._episodes, self._gather()
        try:
            yield
        finally:
            self._episodes = own

    # Checkpoints

    def save(
        self,
        path: PathOrFile,
        exclude: Iterable[str] | None = None,
        include: Iterable[str] | None = None,
    ) -> None:
        """Write a checkpoint: parameters, optimiser, counters, current episodes and random states.

        The file is safetensors with JSON; nothing in it is pickled. The content is checked as by :meth:`load`
        before anything is written. If several processes train, the file has the episodes of all of them.

        Args:
            path: path of the file, or a binary file object, whose content is replaced. ``.safetensors`` is
                added to a path without suffix, ``~`` is the home folder, and the parent folder is created.
                The file is written atomically.
            exclude: parts to leave out: names of settings, ``"_last_obs"`` (the current episodes),
                ``"env"``, ``"random_states"``, ``"ep_info_buffer"``, ``"ep_success_buffer"``.
            include: parts to write even if ``exclude`` names them.

        Raises:
            OSError: the file cannot be written.
            RuntimeError: several processes train, and this is not the first one, or they are not at the start
                of a rollout.
            TypeError: a space or a part of the policy cannot be stored in a file, or ``path`` is neither a
                path nor a binary file object.
            ValueError: ``exclude`` names an unknown part, or :meth:`load` would refuse the file; the message
                says why.
        """
        left_out = set(exclude or ()) - set(include or ())
        form = self.file_format
        with self._with_all_episodes():
            parts = form.parts(self, self.core_state, self._discounted, self._resume, left_out)
            form.save(path, parts, partial(form.check_loads, self))

    @classmethod
    def load(
        cls,
        path: PathOrFile,
        env: GymEnv | str | None = None,
        device: torch.device | str = "auto",
        custom_objects: dict[str, Any] | None = None,
        print_system_info: bool = False,
        force_reset: bool = True,
        **kwargs: Any,
    ) -> Self:
        """Return an agent that resumes where the saved one stopped; no code from the file is run.

        Args:
            path: as in :meth:`save`; ``PATH``, ``PATH.safetensors`` and ``PATH.zip`` are interchangeable
                if only one of them exists. A file object is read from its start.
            env: environment to train in. If it can load the saved state (the package's own environments
                can), training resumes within the saved episodes, with the same random numbers; otherwise
                new episodes begin.
            device: as in the constructor.
            custom_objects: settings that replace those of the file.
            print_system_info: print the versions of the libraries, those here and those at saving.
            force_reset: begin new episodes if ``env`` cannot load the saved state. False leaves the
                environment and the agent's memory as they are. Default True.
            **kwargs: further arguments of the constructor, which replace the saved ones. Values that a file
                cannot hold must be given: a function as ``learning_rate``, custom classes.

        Raises:
            OSError: the file cannot be read.
            TensorFileError: it is damaged, or not the file of an agent.
            ValueError: it does not fit ``env``, or a value that it cannot hold is not given.
        """
        parts = cls._parts_in_file(path)
        if print_system_info:
            print("== CURRENT SYSTEM INFO ==")
            get_system_info()
            print("== SAVED MODEL SYSTEM INFO ==")
            print("\n".join(f"- {name}: {version}" for name, version in dict(parts["versions"]).items()))
        settings = cls.file_format.loaded_settings(parts, cls.policy_aliases, custom_objects, kwargs)
        saved = cls.file_format.validated(parts)
        keep = "policy_kwargs" in (custom_objects or {})  # these include optimizer_kwargs
        made = fresh_policy(settings, saved)
        check_trained(made, made.optimizer, parts, keep_options=keep)
        with settings_of_a_file():
            agent = cls(**settings, env=None, device=device, _init_setup_model=False)
        agent.observation_space, agent.action_space = saved.observations, saved.actions
        agent.n_envs = saved.n_envs
        if env is not None:
            agent._replace_env(env)
        agent._setup_model()
        policy = agent.policy
        restore_trained(policy, policy.optimizer, parts, keep_options=keep)
        for name, value in saved.numbers.items():
            setattr(agent, name, value)
        with settings_of_a_file():
            for name, kept in saved.buffers.items():
                setattr(agent, name, None if kept is None else deque(kept, maxlen=agent._stats_window_size))
        fits = agent.n_envs == saved.n_envs
        if saved.episodes is not None:
            episodes = checked_episodes(policy, saved.episodes, saved.n_envs)
            if fits:
                agent._last_obs, agent._last_episode_starts, agent._state, agent._discounted = episodes
        agent._restore_means(saved.env)
        agent._resume = Resume(saved.env if fits else None, saved.random_states, force_reset)
        return agent

    @classmethod
    def _parts_in_file(cls, file: PathOrFile) -> dict[str, Any]:
        return cls.file_format.load(file)

    def _setup_learn(
        self,
        total_timesteps: int,
        callback: MaybeCallback = None,
        reset_num_timesteps: bool = True,
        tb_log_name: str = "run",
        progress_bar: bool = False,
    ) -> tuple[int, BaseCallback]:
        self._take_up(silent=reset_num_timesteps)
        return super()._setup_learn(total_timesteps, callback, reset_num_timesteps, tb_log_name, progress_bar)

    def _take_up(self, *, silent: bool) -> None:
        """Restore the state of the environments and of the random generators that a file held."""
        if (resume := self._resume) is None:
            return
        assert self.env is not None
        try:
            if isinstance(resume.env, Absent):
                raise EnvStateError(resume.env.what)
            if resume.env is not None:
                restore_env_state(self.env, resume.env)
        except EnvStateError as error:
            where = "the current episodes of the environments"
            if resume.force_reset or self._last_obs is None:
                where = "new episodes"
                self._start_over()
            if not silent:
                warnings.warn(
                    f"training resumes in {where}, so it will not be bit-exact: {error}", stacklevel=4
                )
        if resume.random_states is not None:
            restore_random_states(resume.random_states, self.device)
        self._resume = None


_SAMPLED = RecurrentOnPolicyAlgorithm._sampled


def _copy(state: Any) -> Any:
    return None if state is None else type(state)(*(part.clone() for part in state))


def _episode_lengths(env: VecEnv) -> list[int]:
    """Return the lengths of episodes that an env states: ``episode_length``, and its time limit."""
    # get_attr for a missing attribute would end a worker of SubprocVecEnv.
    names = ("episode_length", "_max_episode_steps", "spec")
    length, limit, spec = (env.get_attr(name)[0] if env.has_attr(name) else None for name in names)
    found = (length, limit, getattr(spec, "max_episode_steps", None))
    lengths = [int(number) for number in found if isinstance(number, Integral)]
    return [length for length in lengths if length > 0]


def _instead_of(policy: object) -> str:
    """Return advice on what replaces a policy of SB3 or sb3-contrib; empty for any other value."""
    if not isinstance(policy, str) or not policy.endswith("Policy"):
        return ""
    core = ", with policy_kwargs=dict(core='lstm')" if "Lstm" in policy else ""
    return f": write 'PlasticPolicy'{core}, which takes vectors, images and dicts"
