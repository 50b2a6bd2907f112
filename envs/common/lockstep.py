"""Environments whose episodes all end in the same step: the base of the single and of the batched ones."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

import gymnasium as gym
import numpy as np
from gymnasium.utils import seeding
from gymnasium.vector import AutoresetMode, VectorEnv, VectorWrapper
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from plasticrl.arguments import check_count
from plasticrl.envs.common.state_dict import entry

TRAIL = 16  # number of recent states that a picture may show
FPS = 12  # steps shown per second
State = TypeVar("State")
Generators = Sequence[np.random.Generator]
Observations = NDArray[np.float32]
Draw = Callable[[str, Sequence[State], int], Any]  # of render mode, states, and number of the episode
SAME_STEP = AutoresetMode.SAME_STEP


class Transition(NamedTuple):
    """Result of one step of B episodes."""

    state: Any
    observation: Observations  # (B, D)
    reward: NDArray[np.float64]  # (B,)
    ended: NDArray[np.bool_]  # (B,)


class Dynamics(ABC, Generic[State]):
    """The rules of a world as pure functions of the state of B episodes.

    Attributes:
        observation_space: bounds of the observation of one episode.
        action_space: the actions in one episode.
        episode_length: steps of one episode.
    """

    observation_space: gym.spaces.Box[np.float32]
    action_space: gym.Space[Any]
    episode_length: int

    @abstractmethod
    def start(self, rngs: Generators) -> tuple[State, Observations]:
        """Start one episode per generator; return their state and first observations (B, D)."""

    @abstractmethod
    def step(self, state: State, actions: NDArray[Any], rngs: Generators) -> Transition:
        """Step every episode; ``state`` is not modified."""

    @abstractmethod
    def steps_taken(self, state: State) -> int:
        """Return the number of steps since the episodes began."""

    @abstractmethod
    def summary(self, state: State) -> dict[str, NDArray[Any]]:
        """Return the entries of ``info`` at the end of episodes, each of shape (B,)."""

    @abstractmethod
    def state_dict(self, state: State, rngs: Generators) -> dict[str, Any]:
        """Return the full state of B episodes as plain values and copies of arrays."""

    @abstractmethod
    def restored(self, saved: Any, count: int, *, over: bool) -> tuple[State, list[np.random.Generator]]:
        """Return the checked content of a :meth:`state_dict`.

        Args:
            saved: the saved state.
            count: B.
            over: accept episodes that have ended.

        Raises:
            ValueError: ``saved`` is not the state of B episodes of this world.
        """


class _Lockstep(Generic[State]):
    """Episodes in progress and their rendering.

    Args:
        dynamics: the world.
        draw: draws one episode of a batch in a render mode, given its latest states, the current one last.
        render_mode: None, or one of ``metadata["render_modes"]``.

    Raises:
        ValueError: there is no such render mode.
    """

    metadata: dict[str, Any]
    dynamics: Dynamics[State]

    def __init__(self, dynamics: Dynamics[State], draw: Draw[State], render_mode: str | None) -> None:
        modes = self.metadata["render_modes"]
        if render_mode is not None and render_mode not in modes:
            raise ValueError(f"render_mode must be None or one of {', '.join(modes)}, got {render_mode!r}")
        self.dynamics = dynamics
        self.render_mode = render_mode
        self._draw = draw
        self._history: deque[State] = deque(maxlen=TRAIL)
        self._state: State | None = None

    @property
    @abstractmethod
    def _generators(self) -> Generators: ...

    @property
    def episode_length(self) -> int:
        """Steps of one episode."""
        return self.dynamics.episode_length

    @property
    def state(self) -> State:
        """The state of all episodes, as a batch.

        Raises:
            gymnasium.error.ResetNeeded: before the first ``reset``.
        """
        if self._state is None:
            raise gym.error.ResetNeeded("call reset() first")
        return self._state

    def _start(self) -> Observations:
        state, observation = self.dynamics.start(self._generators)
        self._begin(state)
        return observation

    def _begin(self, state: State) -> None:
        self._history.clear()
        self._enter(state)

    def _enter(self, state: State) -> None:
        self._state = state
        if self.render_mode is not None:
            self._history.append(state)

    def state_dict(self) -> dict[str, Any]:
        """Return the complete state, as plain values and arrays.

        Raises:
            gymnasium.error.ResetNeeded: before the first ``reset``.
        """
        return self.dynamics.state_dict(self.state, self._generators)

    def _pictures(self, count: int) -> tuple[Any, ...] | None:
        if self.render_mode is None:
            modes = ", ".join(self.metadata["render_modes"])
            gym.logger.warn(f"render() needs a render_mode, given when the environment is made: {modes}")
            return None
        if not self._history:
            raise gym.error.ResetNeeded("call reset() before render()")
        return tuple(self._draw(self.render_mode, self._history, row) for row in range(count))


class LockstepEnv(_Lockstep[State], gym.Env[Observations, Any]):
    """A single environment; the arguments are those of its base, and its state is that of a batch of one."""

    def __init__(self, dynamics: Dynamics[State], draw: Draw[State], render_mode: str | None) -> None:
        super().__init__(dynamics, draw, render_mode)
        self.observation_space = dynamics.observation_space
        self.action_space = dynamics.action_space

    @property
    def _generators(self) -> Generators:
        return [self.np_random]

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observations, dict[str, Any]]:
        """Start a new episode and return its first observation; ``options`` are not used."""
        super().reset(seed=seed)
        return self._start()[0], {}

    def step(self, action: Any) -> tuple[Observations, float, bool, bool, dict[str, Any]]:
        """Take one step.

        Raises:
            gymnasium.error.ResetNeeded: the episode has not begun or is over.
            ValueError: the action is not allowed.
        """
        if self.dynamics.steps_taken(self.state) >= self.episode_length:
            raise gym.error.ResetNeeded("the episode is over: call reset() before the next step")
        state, observation, reward, ended = self.dynamics.step(
            self.state, np.asarray(action)[None], self._generators
        )
        self._enter(state)
        over = bool(ended[0])
        info = {name: one[0].item() for name, one in self.dynamics.summary(state).items()} if over else {}
        return observation[0], float(reward[0]), over, False, info

    def _enter(self, state: State) -> None:
        super()._enter(state)
        if self.render_mode == "human":
            self.render()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a state that ``state_dict`` returned; no ``reset`` is needed.

        Raises:
            ValueError: it is not the state of such an environment with these settings.
        """
        restored, (self.np_random,) = self.dynamics.restored(state, 1, over=True)
        self._begin(restored)

    def render(self) -> Any:
        """Return the picture (height, width, 3) uint8 or the text; None with "human" or without a mode."""
        pictures = self._pictures(1)
        return None if pictures is None else pictures[0]


class LockstepVectorEnv(_Lockstep[State], VectorEnv[Observations, NDArray[Any], NDArray[Any]]):
    """``num_envs`` environments that are stepped as one batch.

    Environment i behaves exactly as a single one seeded with ``seed + i``. When an episode ends, the next one
    begins in the same step (``AutoresetMode.SAME_STEP``): the returned observation is the first of the new
    episode, the last one of the old is ``infos["final_obs"][i]``, and its final ``info`` is in
    ``infos["final_info"]``, with the masks ``"_final_obs"`` and ``"_final_info"``. Later steps do not
    overwrite returned arrays.

    Args:
        dynamics: the world.
        draw: draws one episode of a batch in a render mode, given its latest states, the current one last.
        num_envs: number of environments, at least 1.
        render_mode: None, or one of ``metadata["render_modes"]``.

    Raises:
        ValueError: an argument is not allowed.
    """

    def __init__(
        self, dynamics: Dynamics[State], draw: Draw[State], num_envs: int, render_mode: str | None
    ) -> None:
        super().__init__(dynamics, draw, render_mode)
        self.num_envs = check_count("num_envs", num_envs)
        self.single_observation_space = dynamics.observation_space
        self.single_action_space = dynamics.action_space
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._rngs: list[np.random.Generator] = []

    @property
    def _generators(self) -> Generators:
        return self._rngs

    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[Observations, dict[str, Any]]:
        """Start a new episode in every environment; return observations (num_envs, D) and an empty dict.

        Args:
            seed: environment i gets ``seed + i``; a sequence holds one seed per environment; None keeps the
                current generators, which the first reset seeds at random.
            options: not used; the episodes run in lockstep, so a "reset_mask" is refused.

        Raises:
            ValueError: ``seed`` is a sequence of another length, or ``options`` has a "reset_mask".
        """
        if options is not None and "reset_mask" in options:
            raise ValueError(
                "reset_mask is not supported: all episodes end in the same step and restart there"
            )
        count = self.num_envs
        if isinstance(seed, (int, np.integer)):
            super().reset(seed=int(seed))
            seeds: Sequence[int | None] = range(int(seed), int(seed) + count)
        else:
            seeds = [None] * count if seed is None else seed
        if len(seeds) != count:
            raise ValueError(f"seed needs one number for each of the {count} environments, got {len(seeds)}")
        self._rngs = [
            seeding.np_random(one)[0] if one is not None or not self._rngs else self._rngs[row]
            for row, one in enumerate(seeds)
        ]
        return self._start(), {}

    def step(
        self, actions: NDArray[Any]
    ) -> tuple[Observations, NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]]:
        """Take one step in every environment.

        Args:
            actions: (num_envs, ...), one for each environment.

        Raises:
            gymnasium.error.ResetNeeded: before the first ``reset``.
            ValueError: an action is not allowed.
        """
        state, observation, reward, ended = self.dynamics.step(self.state, actions, self._rngs)
        infos: dict[str, Any] = {}
        if ended[0]:  # all episodes have the same length, so they end together
            infos = final_infos(observation, self.dynamics.summary(state))
            observation = self._start()
        else:
            self._enter(state)
        return observation, reward, ended, np.zeros(self.num_envs, dtype=np.bool_), infos

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a state that ``state_dict`` returned; no ``reset`` is needed.

        Raises:
            ValueError: it is not the state of as many environments with these settings.
        """
        restored, self._rngs = self.dynamics.restored(state, self.num_envs, over=False)
        self._begin(restored)

    def render(self) -> tuple[Any, ...] | None:
        """Return a picture (height, width, 3) uint8 or a text for each environment; None without a mode."""
        return self._pictures(self.num_envs)


def final_infos(observation: Observations, info: Mapping[str, NDArray[Any]]) -> dict[str, Any]:
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
        env: the batch.
        max_episode_steps: largest number of steps of an episode, at least 1.
    """

    env: LockstepVectorEnv[Any]

    def __init__(self, env: LockstepVectorEnv[Any], max_episode_steps: int) -> None:
        self.max_episode_steps = check_count("max_episode_steps", max_episode_steps)
        super().__init__(env)
        self._elapsed = 0

    @property
    def episode_length(self) -> int:
        """Steps of one episode."""
        return min(self.env.episode_length, self.max_episode_steps)

    def reset(self, **arguments: Any) -> tuple[Any, dict[str, Any]]:
        """Start new episodes; arguments as those of the batch."""
        started = self.env.reset(**arguments)
        self._elapsed = 0
        return started

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
        limit = {"max_episode_steps": self.max_episode_steps, "elapsed_steps": self._elapsed}
        return {"env": self.env.state_dict(), **limit}

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
        self.env.load_state_dict(entry(state, "env"))
        self._elapsed = elapsed


def vector_maker(kind: Callable[..., LockstepVectorEnv[Any]]) -> Callable[..., VectorEnv[Any, Any, Any]]:
    """Return the entry point for ``gym.make_vec`` of a batched environment.

    It takes ``num_envs``, 1 by default, ``max_episode_steps``, as in ``gym.make``, and the arguments of
    ``kind``.
    """

    def make(
        num_envs: int = 1, *, max_episode_steps: int | None = None, **options: Any
    ) -> VectorEnv[Any, Any, Any]:
        return limited(kind(num_envs, **options), max_episode_steps)

    return make


def limited(env: LockstepVectorEnv[Any], max_episode_steps: int | None) -> VectorEnv[Any, Any, Any]:
    """Return the batch with a time limit; None and -1 mean no limit, as in ``gym.make``."""
    return env if max_episode_steps in (None, -1) else LockstepTimeLimit(env, max_episode_steps)
