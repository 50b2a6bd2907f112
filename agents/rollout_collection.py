"""How a recurrent agent steps its environments and fills a rollout."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.utils import obs_as_tensor
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor

from plasticrl.agents.data_parallel import ALONE, Ranks
from plasticrl.agents.finite_checks import NonFiniteError, first_non_finite, non_finite_place
from plasticrl.agents.maze_rollout import can_play, play_ahead
from plasticrl.agents.policy import PlasticPolicy
from plasticrl.agents.postponed_interrupt import PostponedInterrupt
from plasticrl.agents.returns import returns_and_advantages
from plasticrl.agents.rollout import Rollout
from plasticrl.agents.spaces import actions_to_env


class RolloutCollection(OnPolicyAlgorithm):
    """The part of an agent that plays; what it learns from that is a subclass's business."""

    policy: PlasticPolicy  # type: ignore[assignment]
    rollout_buffer: Rollout  # type: ignore[assignment]
    ranks: Ranks = ALONE  # the processes that play and learn together
    _state: Any = None  # the core's state; None until the first rollout
    _played: int | None = None  # steps taken of a rollout that was played ahead, while it is taken
    _interrupt = PostponedInterrupt()  # replaced by one that listens while learning

    @property
    def core_state(self) -> Any:
        """The core's state after the last step of the training envs, B rows; None before the first."""
        if self._played is None:
            return self._state
        rollout = self.rollout_buffer
        if self._played == 0:
            return rollout.state
        seen: Any = rollout.flat_observations(self.device)
        starts = torch.as_tensor(rollout.episode_starts[: self._played], device=self.device)
        return self.policy.state_after(seen[: starts.numel()], rollout.state, starts)

    def collect_rollouts(  # type: ignore[override]
        self, env: VecEnv, callback: BaseCallback, rollout_buffer: Rollout, n_rollout_steps: int
    ) -> bool:
        """Step the envs and fill ``rollout_buffer``; False where the callback or Ctrl-C stopped it.

        Raises:
            NonFiniteError: an observation, a reward, the core's state or a value is NaN or infinite.
        """
        if self.ranks.any(self._interrupt.pending):  # here everything is whole: the update before is done
            self._interrupt.pending = True
            return False
        assert self._last_obs is not None
        assert self._last_episode_starts is not None
        self.policy.set_training_mode(False)
        if self._state is None:
            self._state = self.policy.initial_state(env.num_envs)
        rollout_buffer.state = type(self._state)(*(s.clone() for s in self._state))
        rollout_buffer.trained = False
        self._start_rollout(callback)
        obs: Any = self._last_obs
        starts = np.asarray(self._last_episode_starts, dtype=np.bool_)
        played = None
        with self._settles(), self._blames_non_finite():
            if can_play(self.policy, env):
                self._played = 0  # from here on: play_ahead may be interrupted, too
                played = play_ahead(self.policy, env, self._state, obs, starts, n_rollout_steps, self.ranks)
                rollout_buffer.outputs = played.outputs
            else:
                rollout_buffer.outputs = torch.empty(
                    n_rollout_steps, env.num_envs, self.policy.core.output_size, device=self.device
                )
            for t in range(n_rollout_steps):
                if played is None:
                    outputs = self.policy.step_(
                        obs_as_tensor(obs, self.device),
                        self._state,
                        torch.as_tensor(starts, device=self.device),
                    )
                    actions = self._sampled(outputs).cpu().numpy()
                    rollout_buffer.outputs[t] = outputs
                else:
                    actions = played.actions[t]
                rollout_buffer.put_observation(t, obs)
                rollout_buffer.episode_starts[t] = starts
                rollout_buffer.actions[t] = actions.reshape(env.num_envs, -1)

                obs, rewards, dones, own_infos = env.step(actions_to_env(actions, self.action_space))
                dones = np.asarray(dones, dtype=np.bool_)  # some envs of others have numbers
                infos = self._of_all(own_infos) if (ended := dones.any()) else own_infos
                # Before the callback, so that a run it stops goes on from where the envs are.
                self._last_obs, self._last_episode_starts = obs, dones
                starts = dones
                self._played = None if played is None else t + 1
                self.num_timesteps += env.num_envs * self.ranks.size
                callback.update_locals(locals())
                if not callback.on_step():
                    return False
                rollout_buffer.rewards[t] = rewards
                if ended:
                    self._update_info_buffer(infos, dones)
                    rollout_buffer.rewards[t] += self.gamma * self._values_cut_off(dones, own_infos)
            self._played = None
            last_values = self.policy.predict_values(
                obs_as_tensor(obs, self.device), self._state, torch.as_tensor(starts, device=self.device)
            )

        with torch.no_grad():
            values = self.policy.values(rollout_buffer.outputs)
        with self.ranks.non_finite_together():
            self._check_rollout(rollout_buffer, values)
        rollout_buffer.values = values.cpu().numpy()
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

    def _start_rollout(self, callback: BaseCallback) -> None:
        callback.on_rollout_start()

    def _sampled(self, outputs: Tensor) -> Tensor:
        """Actions; torch's numbers are drawn for all processes, so that they stay the same on each."""
        return self.policy.sample(self.ranks.among_all(outputs))[
            self.ranks.share(len(outputs) * self.ranks.size)
        ]

    def _of_all(self, infos: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """What ended episodes told, in all processes: their mazes run in lockstep."""
        if self.ranks.size == 1:
            return infos
        plain = [{k: v for k, v in info.items() if not isinstance(v, np.ndarray)} for info in infos]
        parts = self.ranks.gather_bytes(json.dumps(plain).encode())
        return [info for part in parts for info in json.loads(part)]

    @contextmanager
    def _settles(self) -> Iterator[None]:
        """Inside, a callback, an error or an interrupt may break a rollout off."""
        try:
            yield
        finally:
            self._settle()

    def _settle(self) -> None:
        """Where a rollout that was played ahead was broken off, go back to the state that fits the envs."""
        if self._played is not None:
            self._state, self._played = self.core_state, None

    def _forget_episodes(self) -> None:
        """Begin new episodes at the next ``learn``."""
        self._last_obs = self._state = self._played = None

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
            by_key = obs if isinstance(obs, dict) else {"": obs}
            self._check_finite(
                {f"the terminal observation {key}".strip(): one for key, one in by_key.items()}
            )
            values[rows] = self.policy.predict_values(obs, state, no_start).cpu().numpy()
        return values

    def _check_rollout(self, rollout: Rollout, values: Tensor) -> None:
        """Blame what came first: the environments, then the core, then the heads."""
        for name, arrays in (("observation", rollout.observations), ("reward", rollout.rewards)):
            place = non_finite_place(arrays)
            if place is not None:
                raise self._non_finite(f"the {name} of environment {place[1]} in step {place[0]}", advice="")
        self._check_last_observation()
        self._check_finite({**self._core_tensors(), "the outputs": rollout.outputs, "the values": values})

    @contextmanager
    def _blames_non_finite(self) -> Iterator[None]:
        """Drawing an action or stepping an env may fail before there is a whole rollout to check."""
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
