"""``PlasticMaze-v0``: find an invisible reward, remember where it is, and go back to it."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from plasticrl.envs.maze_config import MazeConfig, MazeOptions
from plasticrl.envs.maze_dynamics import MazeDynamics, MazeState, summary
from plasticrl.envs.maze_saved_state import maze_state_dict, restored_mazes
from plasticrl.envs.maze_view import FPS, TRAIL, MazeView, check_render_mode

if TYPE_CHECKING:
    from typing_extensions import Unpack


class PlasticMazeEnv(gym.Env[NDArray[np.float32], np.int64]):
    """The maze of Miconi et al. (2018), section 4.4, for one agent.

    Each episode hides a reward on one free square, never on the start. Stepping on it pays ``reward``
    and moves the agent to a random other free square (to the start with ``recenter``); walking into a
    wall leaves the agent where it is and costs ``wall_penalty``. After ``episode_length`` steps the
    episode is ``terminated``: the lifetime is over, so nothing is left to bootstrap from, and the
    environment is registered without a time limit. A find on the last step does not move the agent.

    Actions: 0 up, 1 down, 2 left, 3 right.

    Observation, a float32 vector: the 3x3 neighbourhood (9 numbers, 1 is a wall, row by row, the agent in
    the middle); the previous reward; with ``observe_action`` the previous action (4 numbers, one-hot,
    zeros at the start); with ``observe_time`` step / episode_length.

    ``info`` is empty but at the end of an episode, where it holds what
    ``plasticrl.envs.maze_dynamics.summary`` lists: ``rewards_found``, ``wall_hits``,
    ``first_reward_step``, ``mean_steps_later``.

    Args:
        render_mode: None, "rgb_array", "ansi" or "human" (needs ``pip install plasticrl[render]``).
        render_size: side of a rendered picture in pixels, even and at least 64.
        **maze: the fields of ``plasticrl.envs.MazeConfig``.

    Raises:
        ValueError, TypeError: an argument is not allowed; the text names it.
    """

    metadata = {"render_modes": ["human", "rgb_array", "ansi"], "render_fps": FPS}  # noqa: RUF012

    def __init__(
        self, *, render_mode: str | None = None, render_size: int = 384, **maze: Unpack[MazeOptions]
    ) -> None:
        self.config = MazeConfig(**maze)
        self.render_mode = check_render_mode(render_mode, self.metadata["render_modes"])
        self.dynamics = MazeDynamics(self.config)
        self.observation_space = gym.spaces.Box(*self.dynamics.observation_bounds(), dtype=np.float32)
        self.action_space = gym.spaces.Discrete(4)
        self._view = MazeView(self.config, render_size)
        self._history: deque[MazeState] = deque(maxlen=TRAIL)
        self._state: MazeState | None = None

    @property
    def episode_length(self) -> int:
        """Steps of one episode."""
        return self.config.episode_length

    @property
    def state(self) -> MazeState:
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
        """Start an episode with a new reward square; ``options`` are not used."""
        super().reset(seed=seed)
        self._state, observation = self.dynamics.start([self.np_random])
        self._history.clear()
        self._shown()
        return observation[0], {}

    def step(self, action: np.int64 | int) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """Take one step.

        Raises:
            gymnasium.error.ResetNeeded: the episode has not begun or is over.
            ValueError: the action is not 0, 1, 2 or 3.
        """
        if self.state.step[0] >= self.episode_length:
            raise gym.error.ResetNeeded("the episode is over: call reset() before the next step")
        self._state, observation, reward, ended = self.dynamics.step(
            self.state, np.array([action]), [self.np_random]
        )
        self._shown()
        over = bool(ended[0])
        info = {name: value[0].item() for name, value in summary(self._state).items()} if over else {}
        return observation[0], float(reward[0]), over, False, info

    def state_dict(self) -> dict[str, Any]:
        """All that is needed to go on from here, as plain values and arrays.

        Raises:
            gymnasium.error.ResetNeeded: before the first ``reset``.
        """
        return maze_state_dict(self.config, self.state, [self.np_random])

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from where :meth:`state_dict` was asked; no ``reset`` is needed.

        Raises:
            ValueError: it is not the state of a maze with these settings.
        """
        self._state, (self.np_random,) = restored_mazes(self.dynamics, state, 1, over=True)
        self._history.clear()
        self._shown()

    def render(self) -> Any:
        """The picture (render_size, render_size, 3) uint8, the text, or None with "human"."""
        if self.render_mode is None:
            gym.logger.warn("render() needs a render_mode, given to gym.make: 'rgb_array', 'ansi' or 'human'")
            return None
        if not self._history:
            raise gym.error.ResetNeeded("call reset() before render()")
        return self._view.render(self.render_mode, self._history)

    def close(self) -> None:
        """Close the window, if there is one."""
        self._view.close()

    def _shown(self) -> None:
        if self.render_mode is not None:
            self._history.append(self.state)
        if self.render_mode == "human":
            self.render()
