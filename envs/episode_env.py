"""Any supervised task as a Gymnasium environment, for one agent."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from plasticrl.envs.episode import EpisodeTask
from plasticrl.envs.episode_dynamics import EpisodeDynamics, EpisodeState
from plasticrl.envs.episode_picture import input_picture
from plasticrl.envs.episode_saved_state import episode_state_dict, restored_episodes
from plasticrl.envs.maze_view import FPS, check_render_mode
from plasticrl.envs.tasks import TaskName, make_task


class EpisodeEnv(gym.Env[NDArray[np.float32], Any]):
    """Lives through the episodes of a task: sees them step by step, and is asked at the end.

    An episode is one lifetime of ``task.steps`` steps and ends with ``terminated``: nothing is left to
    bootstrap from. Which step asks can be seen: its input has zeroed elements, or no label.

    Observation, a float32 vector, flat so that every SB3 policy takes it as it is (an image of 31 x 31
    is too small for SB3's own convolutions): the step's input, then, for a task of N classes, its
    label (N numbers, one-hot, zeros where none is told). ``task.input_shape`` tells how to fold the input
    back. After the last step it is all zeros.

    Action, the prediction, given at every step: (D,) numbers in [-1, 1], or one of N classes.
    The action that follows an observation is its answer; only those to the judged steps
    (``Episode.target_mask``) count, the others are free.

    Reward: 0 but at the judged steps. There, for classes, 1 if right, else 0; for vectors, minus the mean
    over all D elements of the squared error, so between -4 and 0: the loss of Miconi et al. (2018), whose
    best answer under doubt is the expected value.

    ``info`` is empty but at the end of an episode, where it tells of the last judged step ``correct``
    (bool), or ``error`` (mean squared, all elements), ``hidden_error`` (the same over the elements that
    the query hides, where the task tells them), and ``wrong_signs`` (share of all elements whose sign is
    another, 0 being neither: of binary patterns, the bit error).

    Args:
        task: what draws the episodes.
        render_mode: None, or "rgb_array": the step's input as a picture.

    Raises:
        ValueError, TypeError: an argument is not allowed; the text names it.
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
        """Answer the step that was shown, and see the next one.

        Raises:
            gymnasium.error.ResetNeeded: the episode has not begun or is over.
            ValueError: the action has another shape or type, or is out of its range, or NaN.
        """
        if self.state.step >= self.episode_length:
            raise gym.error.ResetNeeded("the episode is over: call reset() before the next step")
        self._state, observation, reward, over = self.dynamics.step(self.state, np.asarray(action)[None])
        info = {name: value[0].item() for name, value in self._state.verdict.items()} if over else {}
        return observation[0], float(reward[0]), over, False, info

    def state_dict(self) -> dict[str, Any]:
        """All that is needed to go on from here, as plain values and arrays.

        Raises:
            gymnasium.error.ResetNeeded: before the first ``reset``.
        """
        return episode_state_dict(self.dynamics, self.state, [self.np_random])

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from where :meth:`state_dict` was asked; no ``reset`` is needed.

        Raises:
            ValueError: it is not the state of an episode of this task.
        """
        self._state, (self.np_random,) = restored_episodes(self.dynamics, state, 1, over=True)

    def render(self) -> Any:
        """The picture, (height, width, 3) uint8, about 256 x 256."""
        if self.render_mode is None:
            gym.logger.warn("render() needs a render_mode, given to gym.make: 'rgb_array'")
            return None
        values = self.state.observations[self.state.step, 0, : self.dynamics.input_size]
        return input_picture(values, self.task.input_shape, self.task.input_bound)


def make_episode_env(task: TaskName, render_mode: str | None = None, **options: Any) -> EpisodeEnv:
    """The entry point of the registered tasks; ``options`` are those of ``plasticrl.envs.make_task``."""
    return EpisodeEnv(make_task(task, **options), render_mode=render_mode)
