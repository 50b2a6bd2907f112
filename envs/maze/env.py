"""``PlasticMaze-v0``: find an invisible reward, remember where it is, and return to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from gymnasium.vector import VectorEnv
from numpy.typing import NDArray

from plasticrl.envs.common.lockstep import FPS, SAME_STEP, LockstepEnv, LockstepVectorEnv, limited
from plasticrl.envs.maze.config import MazeConfig, MazeOptions
from plasticrl.envs.maze.dynamics import MazeDynamics, MazeState
from plasticrl.envs.maze.rendering import MazeView

if TYPE_CHECKING:
    from typing_extensions import Unpack


class PlasticMazeEnv(LockstepEnv[MazeState]):
    """The maze of Miconi et al. (2018), section 4.4, for one agent.

    Each episode hides a reward on one free square, never on the start. Stepping on it pays ``reward``
    and moves the agent to a random other free square (to the start with ``recenter``). Walking into a
    wall leaves the agent where it is and costs ``wall_penalty``. After ``episode_length`` steps the
    episode is ``terminated``, since the lifetime is over and there is nothing to bootstrap from; the
    environment is therefore registered without a time limit. A find on the last step does not move the
    agent.

    Actions: 0 up, 1 down, 2 left, 3 right.

    Observation, a float32 vector: the 3x3 neighbourhood (9 numbers, 1 is a wall, row by row, the agent in
    the middle); the previous reward; with ``observe_action`` the previous action (4 numbers, one-hot,
    zeros at the start); with ``observe_time`` step / episode_length.

    ``info`` is empty except at the end of an episode, when it holds the values of
    ``MazeDynamics.summary``: ``rewards_found``, ``wall_hits``, ``first_reward_step``, ``mean_steps_later``.

    Args:
        render_mode: None, "rgb_array", "ansi" or "human" (needs ``pip install plasticrl[render]``).
        render_size: side of a rendered picture in pixels, even and at least 64.
        **maze: the fields of ``plasticrl.envs.MazeConfig``.

    Raises:
        ValueError, TypeError: an argument is not allowed; the message names it.
    """

    metadata = {"render_modes": ["human", "rgb_array", "ansi"], "render_fps": FPS}  # noqa: RUF012
    dynamics: MazeDynamics

    def __init__(
        self, *, render_mode: str | None = None, render_size: int = 384, **maze: Unpack[MazeOptions]
    ) -> None:
        self.config = MazeConfig(**maze)
        self._view = MazeView(self.config, _picture_size(render_size))
        super().__init__(MazeDynamics(self.config), self._view.render, render_mode)

    def close(self) -> None:
        """Close the window, if there is one."""
        self._view.close()


class PlasticMazeVectorEnv(LockstepVectorEnv[MazeState]):
    """``num_envs`` mazes with the rules, spaces and arguments of ``PlasticMazeEnv``.

    See ``LockstepVectorEnv`` for seeds and for the end of an episode.

    Args:
        num_envs: number of mazes, at least 1.
        render_mode: None, "rgb_array" or "ansi".
        render_size: side of one rendered picture in pixels, even and at least 64.
        **maze: the fields of ``plasticrl.envs.MazeConfig``.

    Raises:
        ValueError, TypeError: an argument is not allowed; the message names it.
    """

    metadata = {  # noqa: RUF012
        "render_modes": ["rgb_array", "ansi"],
        "render_fps": FPS,
        "autoreset_mode": SAME_STEP,
    }
    dynamics: MazeDynamics

    def __init__(
        self,
        num_envs: int = 1,
        *,
        render_mode: str | None = None,
        render_size: int = 384,
        **maze: Unpack[MazeOptions],
    ) -> None:
        self.config = MazeConfig(**maze)
        draw = MazeView(self.config, _picture_size(render_size)).render
        super().__init__(MazeDynamics(self.config), draw, num_envs, render_mode)

    def upcoming(self, steps: int) -> NDArray[np.float64]:
        """Return the next random numbers of each maze, enough for ``steps`` steps, without drawing them.

        Returns:
            (num_envs, steps), or (num_envs, 2 * steps) if the reward moves, since a step may then use two.
        """
        count = steps if self.config.relocate_every is None else 2 * steps
        numbers = np.empty((self.num_envs, count))
        for row, rng in enumerate(self._rngs):
            before = rng.bit_generator.state
            numbers[row] = rng.random(count)
            rng.bit_generator.state = before
        return numbers


def _picture_size(side: int) -> int:
    """Return the side of a picture in pixels; video formats need an even one.

    Raises:
        ValueError: it is odd, or below 64.
    """
    if side < 64 or side % 2:
        raise ValueError(f"render_size must be an even number of pixels, at least 64, got {side}")
    return side


def make_maze_vector_env(
    num_envs: int = 1, *, max_episode_steps: int | None = None, **options: Any
) -> VectorEnv[Any, Any, Any]:
    """Make the batched environment of a registered maze; the entry point for ``gym.make_vec``.

    Args:
        num_envs: number of mazes.
        max_episode_steps: steps after which an episode is truncated, as in ``gym.make``; None: no time limit.
        **options: the other arguments of ``PlasticMazeVectorEnv``.
    """
    return limited(PlasticMazeVectorEnv(num_envs, **options), max_episode_steps)
