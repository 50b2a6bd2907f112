"""Observations changed so that memory matters: without velocities, and with the previous action."""

from __future__ import annotations

from typing import Any, ClassVar, SupportsFloat

import gymnasium as gym
import numpy as np
from gymnasium.envs.classic_control.cartpole import CartPoleEnv
from gymnasium.envs.classic_control.pendulum import PendulumEnv
from gymnasium.spaces import Box, flatdim, flatten
from numpy.typing import NDArray

Observation = NDArray[np.float32]


class _PositionsOnly(gym.Env[Observation, Any]):
    """A mixin that leaves some elements of the observations of the environment after it.

    Attributes:
        seen: numbers of the elements that stay.
    """

    seen: ClassVar[tuple[int, ...]]

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        whole = self.observation_space
        assert isinstance(whole, Box)
        self.observation_space = Box(whole.low[[*self.seen]], whole.high[[*self.seen]], dtype=np.float32)

    def step(self, action: Any) -> tuple[Observation, SupportsFloat, bool, bool, dict[str, Any]]:
        """Step as the environment does."""
        observation, *others = super().step(action)
        return observation[[*self.seen]], *others  # type: ignore[return-value]

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Start an episode as the environment does."""
        observation, info = super().reset(seed=seed, options=options)
        return observation[[*self.seen]], info


class CartPolePositionsEnv(_PositionsOnly, CartPoleEnv):
    """Gymnasium's CartPole without velocities: the agent sees the cart's position and the pole's angle."""

    seen = (0, 2)


class PendulumPositionsEnv(_PositionsOnly, PendulumEnv):
    """Gymnasium's Pendulum without its velocity: the agent sees cosine and sine of the angle."""

    seen = (0, 1)


class PreviousAction(gym.Wrapper[Observation, Any, Any, Any]):
    """Show the agent its previous action: without it, a bandit's reward says nothing about an arm.

    The observation is one float32 vector: the flattened observation of the environment, and the flattened
    previous action (one-hot for Discrete), which is zero at the start of an episode.

    Args:
        env: the environment; Gymnasium must be able to flatten its observations and actions.

    Raises:
        ValueError: an observation or action has no vector of fixed length.
    """

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        super().__init__(env)
        if not (env.observation_space.is_np_flattenable and env.action_space.is_np_flattenable):
            raise ValueError("PreviousAction needs observations and actions of a fixed number of values")
        seen, acted = map(gym.spaces.flatten_space, (env.observation_space, env.action_space))
        assert isinstance(seen, Box)
        assert isinstance(acted, Box)
        # Before the first action, zeros stand in its place.
        low = np.concatenate([seen.low, np.minimum(acted.low, 0)]).astype(np.float32)
        high = np.concatenate([seen.high, np.maximum(acted.high, 0)]).astype(np.float32)
        self.observation_space = Box(low, high, dtype=np.float32)
        self._none = np.zeros(flatdim(env.action_space), np.float32)

    def step(self, action: Any) -> tuple[Observation, SupportsFloat, bool, bool, dict[str, Any]]:
        """Step the environment; the next observation holds this action."""
        observation, *others = self.env.step(action)
        return self._joined(observation, flatten(self.env.action_space, action)), *others  # type: ignore[return-value]

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Start an episode, in which there is no previous action yet."""
        observation, info = self.env.reset(seed=seed, options=options)
        return self._joined(observation, self._none), info

    def _joined(self, observation: Any, action: Any) -> Observation:
        seen: Any = flatten(self.env.observation_space, observation)
        return np.concatenate([seen, action], dtype=np.float32)
