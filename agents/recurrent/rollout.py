"""Storage of one rollout, its returns and its advantages."""

from typing import Any, NamedTuple, TypeAlias
from zlib import crc32

import numpy as np
import numpy.typing as npt
import torch
from gymnasium import spaces
from stable_baselines3.common.preprocessing import get_action_dim
from torch import Tensor

from plasticrl.agents.recurrent.masks import as_argument
from plasticrl.agents.recurrent.spaces import Masks, chosen_space, part_sizes

Observation: TypeAlias = npt.NDArray[Any] | dict[str, npt.NDArray[Any]]
ObservationTensor: TypeAlias = Tensor | dict[str, Tensor]
Rows: TypeAlias = slice | npt.NDArray[np.int64]
"""Some of the environments."""
ALL = slice(None)


def by_key(observation: Any) -> dict[str, Any]:
    """Return the arrays or tensors of an observation by key; the key of a plain one is empty."""
    return observation if isinstance(observation, dict) else {"": observation}


class Rollout:
    """Storage for ``n_steps`` steps of ``n_envs`` environments.

    The recurrent state is kept for the first step only: training unrolls from there again.

    Args:
        n_steps: T.
        n_envs: B.
        observation_space: space of the observations.
        action_space: space of the actions.
        masked: keep masks of the actions. Default False.

    Attributes:
        observations: ``(T, B, ...)``, or a dict of such arrays.
        actions: ``(T, B, action_dim)``, as drawn; Discrete and MultiDiscrete as int64, counted from 0.
        action_masks: bool ``(T, B, size)``, true where a value is allowed; None without masks.
        rewards: ``(T, B)``.
        episode_starts: bool ``(T, B)``.
        state: the core's state before the first step.
        outputs: the core's outputs, ``(T, B, hidden_size)``.
        values: value estimates of the observations, ``(T, B)``.
        returns: targets of the value function, ``(T, B)``.
        advantages: ``(T, B)``.
        counted: True once the policy's moments include the observations.
    """

    counted = False

    state: Any
    outputs: Tensor
    values: npt.NDArray[np.float32]
    returns: npt.NDArray[np.float32]
    advantages: npt.NDArray[np.float32]

    def __init__(
        self,
        n_steps: int,
        n_envs: int,
        observation_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        masked: bool = False,
    ) -> None:
        shape = (n_steps, n_envs)

        def room(space: spaces.Space[Any]) -> npt.NDArray[Any]:
            return np.empty((*shape, *(space.shape or ())), dtype=space.dtype)

        self.n_steps, self.n_envs = shape
        self.observations: Observation = (
            {key: room(space) for key, space in observation_space.spaces.items()}
            if isinstance(observation_space, spaces.Dict)
            else room(observation_space)
        )
        whole = isinstance(action_space, (spaces.Discrete, spaces.MultiDiscrete))
        self.actions = np.empty(
            (*shape, get_action_dim(chosen_space(action_space))), dtype=np.int64 if whole else np.float32
        )
        self.action_masks: Masks | None = (
            np.empty((*shape, part_sizes(action_space).sum()), dtype=np.bool_) if masked else None
        )
        self.rewards = np.empty(shape, dtype=np.float32)
        self.episode_starts = np.empty(shape, dtype=np.bool_)
        self._digests: list[int] = []

    def put(self, t: int, observation: Observation, starts: npt.NDArray[np.bool_]) -> None:
        """Store the observation ``(B, ...)`` acted on at step t, and where an episode starts with it."""
        given = by_key(observation)
        for key, array in by_key(self.observations).items():
            array[t] = given[key]
        self.episode_starts[t] = starts
        before = self._digests if t else [0] * len(self._inputs())
        self._digests = [
            crc32(array[t].data, sum_) for array, sum_ in zip(self._inputs(), before, strict=True)
        ]

    def is_as_put(self) -> bool:
        """False where observations or episode starts are no longer those that :meth:`put` stored."""
        return [crc32(np.ascontiguousarray(array).data) for array in self._inputs()] == self._digests

    def _inputs(self) -> list[npt.NDArray[Any]]:
        return [*by_key(self.observations).values(), self.episode_starts]

    def flat_observations(self, device: torch.device, rows: Rows = ALL) -> ObservationTensor:
        """Return the observations of some environments, all by default, as tensors ``(T * rows, ...)``."""
        if isinstance(self.observations, dict):
            return {key: _flat(array, device, rows) for key, array in self.observations.items()}
        return _flat(self.observations, device, rows)

    def flat_actions(self, device: torch.device, rows: Rows = ALL) -> Tensor:
        """Return the actions of some environments, all by default, as a tensor ``(T * rows, action_dim)``."""
        return _flat(self.actions, device, rows)

    def mask_argument(self, device: torch.device, rows: Rows = ALL, steps: slice = ALL) -> dict[str, Tensor]:
        """Return the masks of some environments and steps, all by default, as an argument of the policy.

        It is ``action_masks``, bool ``(T * rows, size)``; without masks there is no argument.
        """
        masks = self.action_masks
        return as_argument(None if masks is None else _flat(masks[steps], device, rows))


def _flat(array: npt.NDArray[Any], device: torch.device, rows: Rows) -> Tensor:
    chosen = array[:, rows]
    return torch.from_numpy(chosen.reshape(-1, *array.shape[2:])).to(device)


Float = npt.NDArray[np.float32]


def returns_and_advantages(
    rewards: Float,
    values: Float,
    episode_starts: npt.NDArray[np.bool_],
    last_values: Float,
    last_dones: npt.NDArray[np.bool_],
    *,
    gamma: float,
    gae_lambda: float,
) -> tuple[Float, Float]:
    """Compute generalised advantage estimates (Schulman et al. 2016); ``gae_lambda=1``: discounted returns.

    Args:
        rewards: ``(T, B)``, including the bootstrapped value at steps where an episode was truncated.
        values: value estimates of the observations acted on, ``(T, B)``.
        episode_starts: true at the first step of an episode, ``(T, B)``.
        last_values: value estimates of the observations after the last step, ``(B,)``.
        last_dones: true if the last step ended an episode, ``(B,)``.
        gamma: discount factor per step.
        gae_lambda: 1 uses full returns, 0 one-step differences.

    Returns:
        Returns ``(T, B)`` and advantages ``(T, B)``; returns are advantages plus values.
    """
    next_values = np.concatenate([values[1:], last_values[None]])
    continues = ~np.concatenate([episode_starts[1:], last_dones[None]])
    deltas = rewards + gamma * next_values * continues - values
    decays = (
        gamma * gae_lambda * continues
    )  # float64, so that rounding errors do not accumulate over the steps
    advantages = np.empty_like(rewards)
    running = np.zeros_like(last_values)
    for t in reversed(range(len(rewards))):
        running = deltas[t] + decays[t] * running
        advantages[t] = running
    return advantages + values, advantages


def normalized(advantages: Tensor, every: Tensor) -> Tensor:
    """Scale advantages to zero mean and unit variance over ``every``, unless that is a single value."""
    if every.numel() == 1:
        return advantages
    return (advantages - every.mean()) / (every.std() + 1e-8)


class Actor(NamedTuple):
    """The layers around a core of n neurons in a compiled rollout, for D observed numbers and A actions."""

    in_weight: npt.NDArray[np.float32]  # (D, n)
    in_bias: npt.NDArray[np.float32]  # (n,)
    action_weight: npt.NDArray[np.float32]  # (n, A)
    action_bias: npt.NDArray[np.float32]  # (A,)


class Record(NamedTuple):
    """T steps of B mazes that are played ahead; only the first observations and starts are given."""

    observations: npt.NDArray[np.float32]  # (T + 1, B, D)
    starts: npt.NDArray[np.bool_]  # (T + 1, B)
    drive: npt.NDArray[np.float32]  # (T, B, n)
    outputs: npt.NDArray[np.float32]  # (T, B, n)
    actions: npt.NDArray[np.int64]  # (T, B)
