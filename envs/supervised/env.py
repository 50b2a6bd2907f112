"""Supervised tasks as Gymnasium environments, single and batched."""

from __future__ import annotations

from collections.abc import Sequence
from math import isqrt
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from plasticrl.arguments import check_count
from plasticrl.envs.common.lockstep import final_infos, limited, refuse_reset_mask, reseeded
from plasticrl.envs.maze.rendering import FPS, check_render_mode
from plasticrl.envs.supervised.dynamics import (
    EpisodeDynamics,
    EpisodeState,
    episode_state_dict,
    restored_episodes,
)
from plasticrl.envs.supervised.make_task import TaskName, make_task
from plasticrl.envs.supervised.task import EpisodeTask

_SIDE = 256  # approximate side of a picture, in pixels


def input_picture(
    values: NDArray[np.float32], input_shape: tuple[int, ...], bound: float
) -> NDArray[np.uint8]:
    """Draw an input as a grey picture (height, width, 3): -bound is black, 0 is grey, bound is white.

    A vector is laid out row by row on the smallest square that holds it; the rest of the square is grey.

    Args:
        values: (D,), the input.
        input_shape: ``(D,)``, or ``(height, width)`` for an image.
        bound: largest absolute value.
    """
    if len(input_shape) == 1:
        side = isqrt(values.size - 1) + 1
        input_shape = (side, side)
        values = np.pad(values, (0, side * side - values.size))
    grey = np.round((values.reshape(input_shape) / bound + 1) * 127.5).astype(np.uint8)
    scale = max(2, 2 * round(_SIDE / 2 / max(input_shape)))  # even, as video formats require
    return np.repeat(np.kron(grey, np.ones((scale, scale), dtype=np.uint8))[..., None], 3, axis=2)


class EpisodeEnv(gym.Env[NDArray[np.float32], Any]):
    """A supervised task as an environment: it shows an episode step by step and judges the predictions.

    An episode is one lifetime of ``task.steps`` steps and ends with ``terminated``, since there is nothing
    to bootstrap from. The query step can be recognised: its input has zeroed elements, or no label.

    Observation: a float32 vector, flat so that every SB3 policy accepts it (an image of 31 x 31 is too small
    for SB3's own convolutions). It is the step's input, followed, for a task of N classes, by its label
    (N numbers, one-hot, zeros if no label is shown). ``task.input_shape`` is the shape of the input. After
    the last step the observation is all zeros.

    Action: the prediction, given at every step, (D,) numbers in [-1, 1] or one of N classes. The action that
    follows an observation is the answer to it; only the answers to judged steps (``Episode.target_mask``)
    count.

    Reward: 0 except at judged steps. For classes it is 1 if right, else 0. For vectors it is minus the
    squared error, averaged over all D elements, between -4 and 0: the loss of Miconi et al. (2018), which is
    minimised by the expected value.

    ``info`` is empty except at the end of an episode, when it describes the last judged step: ``correct``
    (bool), or ``error`` (mean squared error over all elements), ``hidden_error`` (the same over the elements
    that the query hides, if the task provides them), and ``wrong_signs`` (share of all elements with the
    wrong sign, 0 being neither; for binary patterns, the bit error).

    Args:
        task: the task that draws the episodes.
        render_mode: None, or "rgb_array": the step's input as a picture.

    Raises:
        ValueError, TypeError: an argument is not allowed; the message names it.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": FPS}  # noqa: RUF012

    def __init__(self, task: EpisodeTask, *, render_mode: str | None = None) -> None:
        self.dynamics = EpisodeDynamics(task)
        self.task = task
        self.render_mode = check_render_mode(render_mode, self.metadata["render_modes"])
        self.observation_space = self.dynamics.observation_space
        self.action_space = self.dynamics.action_space
        self._state: EpisodeState | None = None

    @property
    def episode_length(self) -> int:
        """Steps of one episode."""
        return self.task.steps

    @property
    def state(self) -> EpisodeState:
        """The state, as a batch of one.

        Raises:
            gymnasium.error.ResetNeeded: before the first ``reset``.
        """
        if self._state is None:
            raise gym.error.ResetNeeded("call reset() first")
        return self._state

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Draw a new episode and show its first step; ``options`` are not used."""
        super().reset(seed=seed)
        self._state, observation = self.dynamics.start([self.np_random])
        return observation[0], {}

    def step(self, action: Any) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """Answer the current step, and return the next one.

        Raises:
            gymnasium.error.ResetNeeded: the episode has not begun or is over.
            ValueError: the action has the wrong shape or type, is out of range, or is NaN.
        """
        if self.state.step >= self.episode_length:
            raise gym.error.ResetNeeded("the episode is over: call reset() before the next step")
        self._state, observation, reward, over = self.dynamics.step(self.state, np.asarray(action)[None])
        info = {name: value[0].item() for name, value in self._state.verdict.items()} if over else {}
        return observation[0], float(reward[0]), over, False, info

    def state_dict(self) -> dict[str, Any]:
        """Return the complete state, as plain values and arrays.

        Raises:
            gymnasium.error.ResetNeeded: before the first ``reset``.
        """
        return episode_state_dict(self.dynamics, self.state, [self.np_random])

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a state that :meth:`state_dict` returned; no ``reset`` is needed.

        Raises:
            ValueError: it is not the state of an episode of this task.
        """
        self._state, (self.np_random,) = restored_episodes(self.dynamics, state, 1, over=True)

    def render(self) -> Any:
        """Return the current input as a picture, (height, width, 3) uint8, about 256 x 256."""
        if self.render_mode is None:
            gym.logger.warn("render() needs a render_mode, given to gym.make: 'rgb_array'")
            return None
        values = self.state.observations[self.state.step, 0, : self.dynamics.input_size]
        return input_picture(values, self.task.input_shape, self.task.input_bound)


def make_episode_env(task: TaskName, render_mode: str | None = None, **options: Any) -> EpisodeEnv:
    """Make the environment of a registered task; ``options`` are those of ``plasticrl.envs.make_task``."""
    return EpisodeEnv(make_task(task, **options), render_mode=render_mode)


Observations = NDArray[np.float32]


class EpisodeVectorEnv(VectorEnv[Observations, NDArray[Any], NDArray[Any]]):
    """``num_envs`` episodes of a task with the rules and spaces of ``EpisodeEnv``.

    Environment i behaves exactly as an ``EpisodeEnv`` seeded with ``seed + i``. When an episode ends, the
    next one begins in the same step (``AutoresetMode.SAME_STEP``): the returned observation is the first of
    the new episode, the last one of the old is ``infos["final_obs"][i]``, and its final ``info`` is in
    ``infos["final_info"]``, with the masks ``"_final_obs"`` and ``"_final_info"``. Later steps do not
    overwrite returned arrays.

    Args:
        task: the task that draws the episodes, shared by all environments.
        num_envs: number of episodes run side by side, at least 1.
        render_mode: None or "rgb_array".

    Raises:
        ValueError, TypeError: an argument is not allowed; the message names it.
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
        """Draw a new episode for every environment; return observations (num_envs, W) and an empty dict.

        Args:
            seed: environment i gets ``seed + i``; a sequence holds one seed per environment; None keeps the
                current generators.
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
        """Answer the current step in every environment, and return the next one.

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
        """Return the complete state, as plain values and arrays.

        Raises:
            gymnasium.error.ResetNeeded: before the first ``reset``.
        """
        return episode_state_dict(self.dynamics, self.state, self._rngs)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a state that :meth:`state_dict` returned; no ``reset`` is needed.

        Raises:
            ValueError: it is not the state of the same number of episodes of this task.
        """
        self._state, self._rngs = restored_episodes(self.dynamics, state, self.num_envs, over=False)

    def render(self) -> tuple[Any, ...] | None:
        """Return one picture for each environment, (height, width, 3) uint8; None without a render mode."""
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
    """Make the batched environment of a registered task; the entry point for ``gym.make_vec``.

    Args:
        task: name of the task.
        num_envs: number of episodes run side by side.
        render_mode: None or "rgb_array".
        max_episode_steps: steps after which an episode is truncated, as in ``gym.make``; None: no time limit.
        **options: as for ``plasticrl.envs.make_task``.
    """
    env = EpisodeVectorEnv(make_task(task, **options), num_envs, render_mode=render_mode)
    return limited(env, max_episode_steps)
