"""The maze for many agents at once, stepped as one batch: ``gym.make_vec("PlasticMaze-v0", ...)``."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from plasticrl.envs.argument_checks import check_count
from plasticrl.envs.lockstep import final_infos, limited, refuse_reset_mask, reseeded
from plasticrl.envs.maze_config import MazeConfig, MazeOptions
from plasticrl.envs.maze_dynamics import MazeDynamics, MazeState, summary
from plasticrl.envs.maze_saved_state import maze_state_dict, restored_mazes
from plasticrl.envs.maze_view import FPS, TRAIL, MazeView, check_render_mode

if TYPE_CHECKING:
    from typing_extensions import Unpack

Observations = NDArray[np.float32]


class PlasticMazeVectorEnv(VectorEnv[Observations, NDArray[Any], NDArray[Any]]):
    """``num_envs`` mazes with the rules, spaces and arguments of ``PlasticMazeEnv``.

    Environment i behaves exactly as a ``PlasticMazeEnv`` seeded with ``seed + i``. An episode that ends
    is followed by the next one in the same step (``AutoresetMode.SAME_STEP``): the observation returned
    is the new episode's first, the last one is ``infos["final_obs"][i]`` and the end's ``info`` is
    ``infos["final_info"]``, both with their masks ``"_final_obs"`` and ``"_final_info"``. All returned
    arrays are the caller's: no later step writes into them.

    Args:
        num_envs: number of mazes, at least 1.
        render_mode: None, "rgb_array" or "ansi".
        render_size: side of one rendered picture in pixels, even and at least 64.
        **maze: the fields of ``plasticrl.envs.MazeConfig``.

    Raises:
        ValueError, TypeError: an argument is not allowed; the text names it.
    """

    metadata = {  # noqa: RUF012
        "render_modes": ["rgb_array", "ansi"],
        "render_fps": FPS,
        "autoreset_mode": AutoresetMode.SAME_STEP,
    }

    def __init__(
        self,
        num_envs: int = 1,
        *,
        render_mode: str | None = None,
        render_size: int = 384,
        **maze: Unpack[MazeOptions],
    ) -> None:
        self.num_envs = num_envs = check_count("num_envs", num_envs)
        self.config = MazeConfig(**maze)
        self.render_mode = check_render_mode(render_mode, self.metadata["render_modes"])
        self.dynamics = MazeDynamics(self.config)
        self.single_observation_space = gym.spaces.Box(*self.dynamics.observation_bounds(), dtype=np.float32)
        self.single_action_space = gym.spaces.Discrete(4)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._view = MazeView(self.config, render_size)
        self._history: deque[MazeState] = deque(maxlen=TRAIL)
        self._rngs: list[np.random.Generator] = []
        self._state: MazeState | None = None

    @property
    def episode_length(self) -> int:
        """Steps of one episode."""
        return self.config.episode_length

    @property
    def state(self) -> MazeState:
        """The state of all mazes, each field of shape (num_envs,).

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
        """Start a new episode in every maze; returns observations (num_envs, D) and an empty dict.

        Args:
            seed: maze i gets ``seed + i``; a sequence gives each its own; None goes on with the
                generators there are.
            options: not used; the mazes run in lockstep, so a "reset_mask" is refused.

        Raises:
            ValueError: ``seed`` is a sequence of another length, or ``options`` has a "reset_mask".
        """
        refuse_reset_mask(options)
        if isinstance(seed, (int, np.integer)):
            super().reset(seed=int(seed))
        self._rngs = reseeded(self._rngs, self.num_envs, seed)
        self._state, observation = self.dynamics.start(self._rngs)
        self._history.clear()
        self._shown()
        return observation, {}

    def step(
        self, actions: NDArray[Any]
    ) -> tuple[Observations, NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]]:
        """Take one step in every maze.

        Args:
            actions: (num_envs,) integers 0 .. 3.

        Raises:
            gymnasium.error.ResetNeeded: before the first ``reset``.
            ValueError: an action is not allowed.
        """
        state, observation, reward, ended = self.dynamics.step(self.state, actions, self._rngs)
        infos: dict[str, Any] = {}
        if ended[0]:  # all episodes have the same length, so they end together
            infos = final_infos(observation, summary(state))
            state, observation = self.dynamics.start(self._rngs)
            self._history.clear()
        self._state = state
        self._shown()
        return observation, reward, ended, np.zeros(self.num_envs, dtype=np.bool_), infos

    def state_dict(self) -> dict[str, Any]:
        """All that is needed to go on from here, as plain values and arrays.

        Raises:
            gymnasium.error.ResetNeeded: before the first ``reset``.
        """
        return maze_state_dict(self.config, self.state, self._rngs)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from where :meth:`state_dict` was asked; no ``reset`` is needed.

        Raises:
            ValueError: it is not the state of as many mazes with these settings.
        """
        self._state, self._rngs = restored_mazes(self.dynamics, state, self.num_envs, over=False)
        self._history.clear()
        self._shown()

    def upcoming(self, steps: int) -> NDArray[np.float64]:
        """The next random numbers of each maze, as many as that many steps can take; none of them is drawn.

        Returns:
            (num_envs, steps), or twice as many where the reward moves: a step may then take two.
        """
        count = steps if self.config.relocate_every is None else 2 * steps
        numbers = np.empty((self.num_envs, count))
        for row, rng in enumerate(self._rngs):
            before = rng.bit_generator.state
            numbers[row] = rng.random(count)
            rng.bit_generator.state = before
        return numbers

    def render(self) -> tuple[Any, ...] | None:
        """One picture (render_size, render_size, 3) uint8, or one text, for each maze."""
        if self.render_mode is None:
            gym.logger.warn("render() needs a render_mode, given to gym.make_vec: 'rgb_array' or 'ansi'")
            return None
        if not self._history:
            raise gym.error.ResetNeeded("call reset() before render()")
        return tuple(self._view.render(self.render_mode, self._history, row) for row in range(self.num_envs))

    def _shown(self) -> None:
        if self.render_mode is not None:
            self._history.append(self.state)


def make_maze_vector_env(
    num_envs: int = 1, *, max_episode_steps: int | None = None, **options: Any
) -> VectorEnv[Any, Any, Any]:
    """The batched entry point of the registered mazes.

    Args:
        num_envs: number of mazes.
        max_episode_steps: steps after which an episode is truncated, as in ``gym.make``; None: no time limit.
        **options: the other arguments of ``PlasticMazeVectorEnv``.
    """
    return limited(PlasticMazeVectorEnv(num_envs, **options), max_episode_steps)
