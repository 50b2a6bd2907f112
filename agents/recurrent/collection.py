"""Collection of rollouts: a recurrent agent steps its environments."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from numbers import Integral
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.utils import obs_as_tensor
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor

from plasticrl.agents.common.distributed import ALONE, Ranks
from plasticrl.agents.common.finite_checks import NonFiniteError, first_non_finite, non_finite_place
from plasticrl.agents.recurrent.as_written import Replay, mark
from plasticrl.agents.recurrent.native_rollout import Played, can_play, play_ahead
from plasticrl.agents.recurrent.policies import PlasticPolicy
from plasticrl.agents.recurrent.rollout import Rollout, returns_and_advantages
from plasticrl.agents.recurrent.spaces import actions_to_env, to_numpy
from plasticrl.signals import PostponedInterrupt
from plasticrl.state import PlasticState


class RolloutCollection(OnPolicyAlgorithm):
    """Base of an agent that collects rollouts; subclasses define the update."""

    policy: PlasticPolicy  # type: ignore[assignment]
    rollout_buffer: Rollout  # type: ignore[assignment]
    ranks: Ranks = ALONE  # the processes that train together
    _state: Any = None  # the core's state; None until the first rollout
    _ahead: Played | None = None  # a rollout that was played ahead, while the envs take its steps
    _played: int | None = None  # number of its steps that the envs have taken
    _replay: Replay | None = None  # of the last rollout
    _interrupt = PostponedInterrupt()  # replaced by an active one in learn()

    @property
    def core_state(self) -> Any:
        """A copy of the core's state after the last step of the training envs, B rows.

        It is None before the first step.
        """
        if self._played and self._ahead is not None:
            return self._ahead.state_after(self._played)
        return _copy(self._state if self._played is None else self.rollout_buffer.state)

    def collect_rollouts(  # type: ignore[override]
        self, env: VecEnv, callback: BaseCallback, rollout_buffer: Rollout, n_rollout_steps: int
    ) -> bool:
        """Step the envs and fill ``rollout_buffer``; return False if the callback or Ctrl-C stopped it.

        The callback's ``locals`` have SB3's names: ``self``, ``env``, ``callback``, ``rollout_buffer``,
        ``n_rollout_steps``, ``n_steps``, ``obs_tensor``, ``actions``, ``clipped_actions``, ``new_obs``,
        ``rewards``, ``dones`` and ``infos``. ``values`` and ``log_probs`` are missing: values are computed
        together after the last step, and log-probabilities in the update. Read ``rollout_buffer.values`` in
        ``_on_rollout_end`` instead.

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
        self._start_rollout(callback)
        rollout_buffer.state = _copy(self._state)  # after the callback, which may change it
        new_obs: Any = self._last_obs
        dones = np.asarray(self._last_episode_starts, dtype=np.bool_)
        given = {
            "self": self, "env": env, "callback": callback, "rollout_buffer": rollout_buffer,
            "n_rollout_steps": n_rollout_steps,
        }  # fmt: skip
        core_mark = self._core_mark
        follows = True  # each step went on from where the one before left the core
        with self._settles(), self._blames_non_finite():
            self._replay = Replay(self.policy, rollout_buffer)
            if (
                self._samples_as_written()
                and can_play(self.policy, env)
                and _arrays_fit(env, self._state, new_obs)
            ):
                self._played = 0  # from here on: play_ahead may be interrupted, too
                self._ahead = play_ahead(
                    self.policy, env, self._state, rollout_buffer.state, new_obs, dones, n_rollout_steps,
                    self.ranks,
                )  # fmt: skip
                rollout_buffer.outputs = self._ahead.outputs
                left = core_mark(rollout_buffer)
            else:
                rollout_buffer.outputs = torch.empty(
                    n_rollout_steps, env.num_envs, self.policy.core.output_size, device=self.device
                )
            for t in range(n_rollout_steps):
                ahead = self._ahead
                obs_tensor = obs_as_tensor(new_obs, self.device)
                if ahead is None:
                    outputs = self.policy.step_(
                        obs_tensor, self._state, torch.as_tensor(dones, device=self.device)
                    )
                    actions = to_numpy(self._sampled(outputs))
                    rollout_buffer.outputs[t] = outputs
                    left = core_mark(rollout_buffer)
                else:
                    actions = ahead.actions(t)
                rollout_buffer.put(t, new_obs, dones)  # before the envs may write into them

                clipped_actions = actions_to_env(actions, self.action_space)
                new_obs, rewards, dones, own_infos = env.step(clipped_actions)
                dones = np.asarray(dones, dtype=np.bool_)  # some third-party envs return numbers
                infos = self._of_all(own_infos) if (ended := np.count_nonzero(dones)) else own_infos
                # Set before the callback, so that a run stopped by it resumes where the envs are.
                self._last_obs, self._last_episode_starts = new_obs, dones
                self._played = None if ahead is None else t + 1
                self.num_timesteps += env.num_envs * self.ranks.size
                given |= {
                    "n_steps": t, "actions": actions, "clipped_actions": clipped_actions, "new_obs": new_obs,
                    "rewards": rewards, "dones": dones, "infos": infos, "obs_tensor": obs_tensor,
                }  # fmt: skip
                callback.update_locals(given)
                if not callback.on_step():
                    return False
                # Stored after the callback, which may change them in place, as in SB3.
                rollout_buffer.actions[t] = actions.reshape(env.num_envs, -1)
                rollout_buffer.rewards[t] = rewards
                if ended:
                    self._update_info_buffer(infos, dones)
                    rollout_buffer.rewards[t] += self.gamma * self._values_cut_off(dones, own_infos)
                if ahead is None:
                    follows &= core_mark(rollout_buffer) == left
                elif core_mark(rollout_buffer) != left:
                    raise RuntimeError(
                        "a callback changed the core's state or outputs within a rollout: change the state "
                        "in on_rollout_start, the outputs in on_rollout_end"
                    )
                elif not (ahead.goes_on(self.policy, t, new_obs, dones) and self._samples_as_written()):
                    ahead.check()
                    self._settle()
            if self._ahead is not None:
                self._ahead.check()
            self._played = self._ahead = None
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
        if follows:
            self._replay.note_results(self._state)
        callback.update_locals(given | {"n_steps": n_rollout_steps})
        callback.on_rollout_end()
        return True

    def _start_rollout(self, callback: BaseCallback) -> None:
        callback.on_rollout_start()

    def _sampled(self, outputs: Tensor) -> Tensor:
        """Draw actions; each process draws those of all, so that torch's generators stay the same."""
        return self.policy.sample(self.ranks.among_all(outputs))[
            self.ranks.share(len(outputs) * self.ranks.size)
        ]

    def _core_mark(self, rollout: Rollout) -> list[tuple[int, int]]:
        return mark((rollout.outputs, *rollout.state, *self._state))

    def _samples_as_written(self) -> bool:
        return getattr(self._sampled, "__func__", None) is _SAMPLED

    def _of_all(self, infos: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return the infos of all processes' environments; called where episodes end, in lockstep."""
        if self.ranks.size == 1:
            return infos
        plain = [{k: v for k, v in info.items() if not isinstance(v, np.ndarray)} for info in infos]
        parts = self.ranks.gather_bytes(json.dumps(plain).encode())
        return [info for part in parts for info in json.loads(part)]

    @contextmanager
    def _settles(self) -> Iterator[None]:
        """Call :meth:`_settle` on exit: a callback, an error or an interrupt may end a rollout early."""
        try:
            yield
        finally:
            self._settle()

    def _settle(self) -> None:
        """Restore the core's state at the envs' step if a rollout played ahead was stopped early."""
        if self._played is not None:
            self._state, self._played, self._ahead = self.core_state, None, None

    def _forget_episodes(self) -> None:
        """Begin new episodes at the next ``learn``."""
        self._last_obs = self._state = self._played = self._ahead = None

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
            for i in np.flatnonzero(dones)
            if infos[i].get("terminal_observation") is not None and infos[i].get("TimeLimit.truncated", False)
        ]
        if rows:
            observations = [infos[i]["terminal_observation"] for i in rows]
            stacked = (
                {key: np.stack([o[key] for o in observations]) for key in observations[0]}
                if isinstance(observations[0], dict)
                else np.stack(observations)
            )
            state = self._state if self._played is None else self.core_state
            state = type(state)(*(s[rows] for s in state))
            no_start = torch.zeros(len(rows), dtype=torch.bool, device=self.device)
            obs: Any = obs_as_tensor(stacked, self.device)
            by_key = obs if isinstance(obs, dict) else {"": obs}
            self._check_finite(
                {f"the terminal observation {key}".strip(): one for key, one in by_key.items()}
            )
            values[rows] = to_numpy(self.policy.predict_values(obs, state, no_start))
        return values

    def _check_rollout(self, rollout: Rollout, values: Tensor) -> None:
        """Raise an error for the first non-finite value in the order environments, core, heads."""
        for name, arrays in (("observation", rollout.observations), ("reward", rollout.rewards)):
            place = non_finite_place(arrays)
            if place is not None:
                raise self._non_finite(f"the {name} of environment {place[1]} in step {place[0]}", advice="")
        self._check_last_observation()
        self._check_finite({**self._core_tensors(), "the outputs": rollout.outputs, "the values": values})

    @contextmanager
    def _blames_non_finite(self) -> Iterator[None]:
        """Turn errors of drawing actions and stepping envs into NonFiniteError if a value is not finite.

        Such an error can come before there is a complete rollout to check.
        """
        try:
            yield
        except (RuntimeError, ValueError) as error:
            try:
                self._check_last_observation()
                self._check_finite(
                    {
                        **self._core_tensors(),
                        **{f"parameter {n}": p for n, p in self.policy.named_parameters()},
                    }
                )
            except NonFiniteError as blamed:
                raise blamed from error
            raise

    def _check_last_observation(self) -> None:
        obs: Any = self._last_obs
        batch = {key: one[None] for key, one in (obs if isinstance(obs, dict) else {"": obs}).items()}
        place = non_finite_place(batch)
        if place is not None:
            raise self._non_finite(f"the last observation of environment {place[1]}", advice="")

    def _core_tensors(self) -> dict[str, Tensor]:
        return {f"the core's {n}": s for n, s in zip(self._state._fields, self._state, strict=True)}

    def _check_finite(self, tensors: dict[str, Tensor]) -> None:
        name = first_non_finite(tensors)
        if name is not None:
            raise self._non_finite(name)

    def _non_finite(
        self, name: str, advice: str = "; try a lower learning rate, eta or max_grad_norm, or bound_eta=True"
    ) -> NonFiniteError:
        return NonFiniteError(
            f"{name} is not finite, after {self.num_timesteps:,} steps and {self._n_updates} updates. "
            f"The parameters are still those of the last update{advice}"
        )


_SAMPLED = RolloutCollection._sampled


def _copy(state: Any) -> Any:
    return None if state is None else type(state)(*(part.clone() for part in state))


def _arrays_fit(env: VecEnv, state: Any, obs: Any) -> bool:
    """True where the kernel can read where the episodes are; where not, stepping says what is wrong."""
    shape = (env.num_envs, *(env.observation_space.shape or ()))
    return (
        isinstance(obs, np.ndarray)
        and obs.shape == shape
        and obs.dtype == np.float32
        and isinstance(state, PlasticState)
        and len(state.hidden) == len(state.trace) == env.num_envs
        and all(s.is_contiguous() and s.dtype == torch.float32 for s in state)
    )


UNKNOWN_EPISODE_LENGTH = 128  # RecurrentPPO's default number of steps per update


def episode_length(env: VecEnv) -> int:
    """Return the smaller of the env's attribute ``episode_length`` and its time limit; 128 if it has neither.

    The time limit is that of Gymnasium's wrapper ``TimeLimit``, or else the spec's ``max_episode_steps``.
    """
    limit = _attribute(env, "_max_episode_steps")
    if limit is None:
        limit = getattr(_attribute(env, "spec"), "max_episode_steps", None)
    found = (_attribute(env, "episode_length"), limit)
    lengths = [int(number) for number in found if isinstance(number, Integral)]
    return min((length for length in lengths if length > 0), default=UNKNOWN_EPISODE_LENGTH)


def _attribute(env: VecEnv, name: str) -> Any:
    # get_attr for a missing attribute would end a worker of SubprocVecEnv.
    return env.get_attr(name)[0] if env.has_attr(name) else None
