"""Helpers of batched environments whose episodes all end in the same step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from gymnasium.utils import seeding
from gymnasium.vector import VectorEnv, VectorWrapper
from numpy.typing import NDArray

from plasticrl.arguments import check_count
from plasticrl.envs.common.state_dict import entry


def reseeded(
    rngs: Sequence[np.random.Generator], num_envs: int, seed: int | Sequence[int | None] | None
) -> list[np.random.Generator]:
    """Return the generators of ``num_envs`` environments after a reset.

    Args:
        rngs: the current generators; empty before the first reset, which then seeds at random.
        num_envs: number of environments.
        seed: an integer seeds environment i with ``seed + i``. A sequence holds one seed per environment;
            None keeps the current generator.

    Raises:
        ValueError: ``seed`` is a sequence of another length.
    """
    if isinstance(seed, (int, np.integer)):
        seed = [int(seed) + row for row in range(num_envs)]
    elif seed is None:
        seed = [None] * num_envs
    if len(seed) != num_envs:
        raise ValueError(f"seed needs one number for each of the {num_envs} environments, got {len(seed)}")
    return [
        seeding.np_random(one)[0] if one is not None or not rngs else rngs[row]
        for row, one in enumerate(seed)
    ]


def refuse_reset_mask(options: Mapping[str, Any] | None) -> None:
    """Check that the options of a reset do not select some of the environments.

    Raises:
        ValueError: ``options`` contains "reset_mask".
    """
    if options is not None and "reset_mask" in options:
        raise ValueError("reset_mask is not supported: all episodes end in the same step and restart there")


def final_infos(observation: NDArray[np.float32], info: Mapping[str, NDArray[Any]]) -> dict[str, Any]:
    """Return the info of finished episodes in Gymnasium's layout: a mask for every value.

    Args:
        observation: (num_envs, ...), the final observations.
        info: the final infos, each (num_envs,).
    """
    everywhere = np.ones(len(observation), dtype=np.bool_)
    final_info: dict[str, Any] = {}
    for name, value in info.items():
        final_info |= {name: value, f"_{name}": everywhere.copy()}
    final_obs = np.empty(len(observation), dtype=object)
    final_obs[:] = list(observation)
    return {
        "final_obs": final_obs,
        "_final_obs": everywhere.copy(),
        "final_info": final_info,
        "_final_info": everywhere,
    }


class LockstepTimeLimit(VectorWrapper):
    """Wrapper that truncates a batch's episodes, as Gymnasium's ``TimeLimit`` does for a single environment.

    Args:
        env: a batch whose episodes all end in the same step and restart there.
        max_episode_steps: largest number of steps of an episode, at least 1.
    """

    def __init__(self, env: VectorEnv[Any, Any, Any], max_episode_steps: int) -> None:
        self.max_episode_steps = check_count("max_episode_steps", max_episode_steps)
        super().__init__(env)
        self._elapsed = 0

    @property
    def episode_length(self) -> int:
        """Steps of one episode."""
        inner: Any = self.env
        return min(int(inner.episode_length), self.max_episode_steps)

    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[Any, dict[str, Any]]:
        """Start new episodes; arguments as those of the batch."""
        inner: Any = self.env
        observation, infos = inner.reset(seed=seed, options=options)
        self._elapsed = 0
        return observation, infos

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Take one step; the last one that the limit allows is ``truncated``."""
        observation, reward, terminated, truncated, infos = self.env.step(actions)
        self._elapsed += 1
        over = self._elapsed >= self.max_episode_steps
        if over:
            truncated = np.ones_like(truncated)
            if not terminated[0]:
                infos = final_infos(observation, {})
                observation, _ = self.env.reset()
        if over or terminated[0]:
            self._elapsed = 0
        return observation, reward, terminated, truncated, infos

    def state_dict(self) -> dict[str, Any]:
        """Return the complete state: that of the batch, and the steps since its episodes began.

        Raises:
            gymnasium.error.ResetNeeded: before the first ``reset``.
        """
        inner: Any = self.env
        return {
            "env": inner.state_dict(),
            "max_episode_steps": self.max_episode_steps,
            "elapsed_steps": self._elapsed,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a state that :meth:`state_dict` returned; no ``reset`` is needed.

        Raises:
            ValueError: it is not the state of such a batch with this limit.
        """
        limit, elapsed = entry(state, "max_episode_steps"), entry(state, "elapsed_steps")
        if limit != self.max_episode_steps:
            raise ValueError(
                f"the saved episodes end after {limit} steps, those here after {self.max_episode_steps}"
            )
        if type(elapsed) is not int or not 0 <= elapsed < self.max_episode_steps:
            raise ValueError(f"elapsed_steps must be from 0 to {self.max_episode_steps - 1}, got {elapsed!r}")
        inner: Any = self.env
        inner.load_state_dict(entry(state, "env"))
        self._elapsed = elapsed


def limited(env: VectorEnv[Any, Any, Any], max_episode_steps: int | None) -> VectorEnv[Any, Any, Any]:
    """Return the batch with a time limit; None and -1 mean no limit, as in ``gym.make``."""
    return env if max_episode_steps in (None, -1) else LockstepTimeLimit(env, max_episode_steps)
