"""Supervised tasks as Gymnasium environments, single and batched."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from math import isqrt, prod
from typing import Any

import numpy as np
from gymnasium.vector import VectorEnv
from numpy.typing import NDArray

from plasticrl.envs.common.lockstep import FPS, SAME_STEP, LockstepEnv, LockstepVectorEnv, limited
from plasticrl.envs.supervised.dynamics import EpisodeDynamics, EpisodeState
from plasticrl.envs.supervised.make_task import TaskName, make_task
from plasticrl.envs.supervised.task import EpisodeTask

_SIDE = 256  # approximate side of a picture, in pixels


def draw_input(task: EpisodeTask, mode: str, history: Sequence[EpisodeState], row: int) -> NDArray[np.uint8]:
    """Draw an input as a grey picture (height, width, 3): the lowest value is black, the highest white.

    A vector is laid out row by row on the smallest square that holds it; the rest of the square is grey.

    Args:
        task: the task of the episodes.
        mode: "rgb_array", the only mode.
        history: the latest states of the episodes; the input is that of the last one.
        row: number of the episode.
    """
    now, shape = history[-1], task.input_shape
    values = now.observations[now.step, row, : prod(shape)]
    if len(shape) == 1:
        side = isqrt(values.size - 1) + 1
        shape = (side, side)
        values = np.pad(values, (0, side * side - values.size))
    grey = np.round((values.reshape(shape) / task.input_bound + 1) * 127.5).astype(np.uint8)
    scale = max(2, 2 * round(_SIDE / 2 / max(shape)))  # even, as video formats require
    return np.repeat(np.kron(grey, np.ones((scale, scale), dtype=np.uint8))[..., None], 3, axis=2)


class EpisodeEnv(LockstepEnv[EpisodeState]):
    """A supervised task as an environment: it shows an episode step by step and scores the predictions.

    An episode is one lifetime of ``task.steps`` steps and ends with ``terminated``, since there is nothing
    to bootstrap from. The query step can be recognised: its input has zeroed elements, or no label.

    Observation: a float32 vector, flat so that every SB3 policy accepts it (an image of 31 x 31 is too small
    for SB3's own convolutions). It is the step's input, followed, for a task of N classes, by its label
    (N numbers, one-hot, zeros if no label is shown). ``task.input_shape`` is the shape of the input. After
    the last step the observation is all zeros.

    Action: the prediction, given at every step, (D,) numbers in [-1, 1] or one of N classes. The action that
    follows an observation is the answer to it; only the answers to scored steps (``Episode.target_mask``)
    count.

    Reward: 0 except at scored steps. For classes it is 1 if right, else 0. For vectors it is minus the
    squared error, averaged over all D elements, between -4 and 0: the loss of Miconi et al. (2018), which is
    minimised by the expected value.

    ``info`` is empty except at the end of an episode, when it describes the last scored step: ``correct``
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

    dynamics: EpisodeDynamics

    def __init__(self, task: EpisodeTask, *, render_mode: str | None = None) -> None:
        self.task = task
        super().__init__(EpisodeDynamics(task), partial(draw_input, task), render_mode)


def make_episode_env(task: TaskName, render_mode: str | None = None, **options: Any) -> EpisodeEnv:
    """Make the environment of a registered task; ``options`` are those of ``plasticrl.envs.make_task``."""
    return EpisodeEnv(make_task(task, **options), render_mode=render_mode)


class EpisodeVectorEnv(LockstepVectorEnv[EpisodeState]):
    """``num_envs`` episodes of a task with the rules and spaces of ``EpisodeEnv``.

    See ``LockstepVectorEnv`` for seeds and for the end of an episode.

    Args:
        task: the task that draws the episodes, shared by all environments.
        num_envs: number of episodes run side by side, at least 1.
        render_mode: None or "rgb_array".

    Raises:
        ValueError, TypeError: an argument is not allowed; the message names it.
    """

    metadata = {**EpisodeEnv.metadata, "autoreset_mode": SAME_STEP}  # noqa: RUF012
    dynamics: EpisodeDynamics

    def __init__(self, task: EpisodeTask, num_envs: int = 1, *, render_mode: str | None = None) -> None:
        self.task = task
        super().__init__(EpisodeDynamics(task), partial(draw_input, task), num_envs, render_mode)


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
