"""Any supervised task as a batch of Gymnasium environments: ``gym.make_vec("PlasticPatterns-v0", ...)``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from plasticrl.envs.argument_checks import check_count
from plasticrl.envs.episode import EpisodeTask
from plasticrl.envs.episode_dynamics import EpisodeDynamics, EpisodeState
from plasticrl.envs.episode_picture import input_picture
from plasticrl.envs.episode_saved_state import episode_state_dict, restored_episodes
from plasticrl.envs.lockstep import final_infos, limited, refuse_reset_mask, reseeded
from plasticrl.envs.maze_view import FPS, check_render_mode
from plasticrl.envs.tasks import TaskName, make_task

Observations = NDArray[np.float32]


class EpisodeVectorEnv(VectorEnv[Observations, NDArray[Any], NDArray[Any]]):
    """``num_envs`` episodes of a task with the rules and spaces of ``EpisodeEnv``.

    Environment i behaves exactly as an ``EpisodeEnv`` seeded with ``seed + i``. An episode that ends
    is followed by the next one in the same step (``AutoresetMode.SAME_STEP``): the observation returned
    is the new episode's first, the last one is ``infos["final_obs"][i]`` and the end's ``info`` is
    ``infos["final_info"]``, both with their masks ``"_final_obs"`` and ``"_final_info"``. All returned
    arrays are the caller's: no later step writes into them.

    Args:
        task: what draws the episodes; held once for all.
        num_envs: number of episodes side by side, at least 1.
        render_mode: None or "rgb_array".

    Raises:
        ValueError, TypeError: an argument is not allowed; the text names it.
    """

    metadata = {  # noqa: RUF012
        "render_modes": ["rgb_array"],
        "render_fps": FPS,
        "autoreset_mode": AutoresetMode.SAME_STEP,
    }

    def __init__(self, task: EpisodeTask, num_envs: int = 1, *, render_mode: str | None = None) -> None:
        self.num_envs = check_count("num_envs", num_envs)
        self.dynamics = EpisodeDynamics(task)
        self.task = task
        self.render_mode = check_render_mode(render_mode, self.metadata["render_modes"])
        self.single_observation_space = self.dynamics.observation_space
        self.single_action_space = self.dynamics.action_space
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._rngs: list[np.random.Generator] = []
        self._state: EpisodeState | None = None

    @property
    def episode_length(self) -> int:
        """Steps of one episode."""
        return self.task.steps

    @property
    def state(self) -> EpisodeState:
        """The state of all episodes.

        Raises:
            gymnasium.error.ResetNeeded: before the first ``reset``.
        """
        if self._state is None:
            raise gym.error.ResetNeeded("call reset() first")
        return self._state

    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[Observations, dict[str, Any]]:
        """Draw a new episode for every environment; returns observations (num_envs, W) and an empty dict.

        Args:
            seed: environment i gets ``seed + i``; a sequence gives each its own; None goes on with the
                generators there are.
            options: not used; the episodes run in lockstep, so a "reset_mask" is refused.

        Raises:
            ValueError: ``seed`` is a sequence of another length, or ``options`` has a "reset_mask".
        """
        refuse_reset_mask(options)
        if isinstance(seed, (int, np.integer)):
            super().reset(seed=int(seed))
        self._rngs = reseeded(self._rngs, self.num_envs, seed)
        self._state, observation = self.dynamics.start(self._rngs)
        return observation, {}

    def step(
        self, actions: NDArray[Any]
    ) -> tuple[Observations, NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]]:
        """Answer the step that was shown in every environment, and see the next one.

        Args:
            actions: (num_envs, D) numbers in [-1, 1], or (num_envs,) classes.

        Raises:
            gymnasium.error.ResetNeeded: before the first ``reset``.
            ValueError: an action is not allowed.
        """
        self._state, observation, reward, over = self.dynamics.step(self.state, actions)
        infos: dict[str, Any] = {}
        if over:  # all episodes have the same length, so they end together
            infos = final_infos(observation, self._state.verdict)
            self._state, observation = self.dynamics.start(self._rngs)
        terminated = np.full(self.num_envs, over)
        return observation, reward, terminated, np.zeros(self.num_envs, dtype=np.bool_), infos

    def state_dict(self) -> dict[str, Any]:
        """All that is needed to go on from here, as plain values and arrays.

        Raises:
            gymnasium.error.ResetNeeded: before the first ``reset``.
        """
        return episode_state_dict(self.dynamics, self.state, self._rngs)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from where :meth:`state_dict` was asked; no ``reset`` is needed.

        Raises:
            ValueError: it is not the state of as many episodes of this task.
        """
        self._state, self._rngs = restored_episodes(self.dynamics, state, self.num_envs, over=False)

    def render(self) -> tuple[Any, ...] | None:
        """One picture for each environment, (height, width, 3) uint8; None without a render mode."""
        if self.render_mode is None:
            gym.logger.warn("render() needs a render_mode, given to gym.make_vec: 'rgb_array'")
            return None
        shown = self.state.observations[self.state.step, :, : self.dynamics.input_size]
        return tuple(input_picture(values, self.task.input_shape, self.task.input_bound) for values in shown)


def make_episode_vector_env(
    task: TaskName,
    num_envs: int = 1,
    render_mode: str | None = None,
    max_episode_steps: int | None = None,
    **options: Any,
) -> VectorEnv[Any, Any, Any]:
    """The batched entry point of the registered tasks.

    Args:
        task: name of the task.
        num_envs: number of episodes side by side.
        render_mode: None or "rgb_array".
        max_episode_steps: steps after which an episode is truncated, as in ``gym.make``; None: no time limit.
        **options: as for ``plasticrl.envs.make_task``.
    """
    env = EpisodeVectorEnv(make_task(task, **options), num_envs, render_mode=render_mode)
    return limited(env, max_episode_steps)
