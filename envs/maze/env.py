"""``PlasticMaze-v0``: find an invisible reward, remember where it is, and return to it."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from plasticrl.arguments import check_count
from plasticrl.envs.common.lockstep import final_infos, limited, refuse_reset_mask, reseeded
from plasticrl.envs.maze.config import MazeConfig, MazeOptions
from plasticrl.envs.maze.dynamics import MazeDynamics, MazeState, maze_state_dict, restored_mazes, summary
from plasticrl.envs.maze.rendering import FPS, TRAIL, MazeView, check_render_mode

if TYPE_CHECKING:
    from typing_extensions import Unpack


class PlasticMazeEnv(gym.Env[NDArray[np.float32], np.int64]):
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
    ``plasticrl.envs.maze.dynamics.summary``: ``rewards_found``, ``wall_hits``, ``first_reward_step``,
    ``mean_steps_later``.

    Args:
        render_mode: None, "rgb_array", "ansi" or "human" (needs ``pip install plasticrl[render]``).
        render_size: side of a rendered picture in pixels, even and at least 64.
        **maze: the fields of ``plasticrl.envs.MazeConfig``.

    Raises:
        ValueError, TypeError: an argument is not allowed; the message names it.
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
        """Return the complete state, as plain values and arrays.

        Raises:
            gymnasium.error.ResetNeeded: before the first ``reset``.
        """
        return maze_state_dict(self.config, self.state, [self.np_random])

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a state that :meth:`state_dict` returned; no ``reset`` is needed.

        Raises:
            ValueError: it is not the state of a maze with these settings.
        """
        self._state, (self.np_random,) = restored_mazes(self.dynamics, state, 1, over=True)
        self._history.clear()
        self._shown()

    def render(self) -> Any:
        """Return the picture (render_size, render_size, 3) uint8 or the text; None with "human"."""
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


Observations = NDArray[np.float32]


class PlasticMazeVectorEnv(VectorEnv[Observations, NDArray[Any], NDArray[Any]]):
    """``num_envs`` mazes with the rules, spaces and arguments of ``PlasticMazeEnv``.

    Environment i behaves exactly as a ``PlasticMazeEnv`` seeded with ``seed + i``. When an episode ends, the
    next one begins in the same step (``AutoresetMode.SAME_STEP``): the returned observation is the first of
    the new episode, the last one of the old is ``infos["final_obs"][i]``, and its final ``info`` is in
    ``infos["final_info"]``, with the masks ``"_final_obs"`` and ``"_final_info"``. Later steps do not
    overwrite returned arrays.

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
        """Start a new episode in every maze; return observations (num_envs, D) and an empty dict.

        Args:
            seed: maze i gets ``seed + i``; a sequence holds one seed per maze; None keeps the current
                generators.
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
        """Return the complete state, as plain values and arrays.

        Raises:
            gymnasium.error.ResetNeeded: before the first ``reset``.
        """
        return maze_state_dict(self.config, self.state, self._rngs)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a state that :meth:`state_dict` returned; no ``reset`` is needed.

        Raises:
            ValueError: it is not the state of the same number of mazes with these settings.
        """
        self._state, self._rngs = restored_mazes(self.dynamics, state, self.num_envs, over=False)
        self._history.clear()
        self._shown()

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

    def render(self) -> tuple[Any, ...] | None:
        """Return one picture (render_size, render_size, 3) uint8, or one text, for each maze."""
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
    """Make the batched environment of a registered maze; the entry point for ``gym.make_vec``.

    Args:
        num_envs: number of mazes.
        max_episode_steps: steps after which an episode is truncated, as in ``gym.make``; None: no time limit.
        **options: the other arguments of ``PlasticMazeVectorEnv``.
    """
    return limited(PlasticMazeVectorEnv(num_envs, **options), max_episode_steps)
