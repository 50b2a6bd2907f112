"""Splitting a batch of mazes among several processes, and joining it again."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from typing import Any

import gymnasium as gym
import numpy as np
from stable_baselines3.common.vec_env import VecEnv

from plasticrl.envs.maze_vector import PlasticMazeVectorEnv
from plasticrl.envs.sb3_vec_env import VectorEnvAdapter


def env_share(env: VecEnv, own: slice) -> VectorEnvAdapter:
    """Return some mazes of a batch as a new batch, in the same state, with the same random numbers.

    Args:
        env: the package's batched maze; not modified.
        own: slice of the mazes.

    Raises:
        ValueError: ``env`` is something else, which cannot be split.
    """
    if type(env) is not VectorEnvAdapter or type(env.env) is not PlasticMazeVectorEnv:
        raise ValueError(
            "several processes can only share the package's batched maze without wrappers, "
            "such as that of make_vec_env('PlasticMaze-v0', n_envs=16)"
        )
    count = len(range(*own.indices(env.num_envs)))
    maze = PlasticMazeVectorEnv(count, **asdict(env.env.config))
    maze.spec = env.env.spec
    share = VectorEnvAdapter(maze)
    with suppress(gym.error.ResetNeeded):  # before the first reset, only the seeds matter
        share.load_state_dict(_rows(env.state_dict(), own))
    share._seeds = env._seeds[own]
    return share


def together(parts: Sequence[Any]) -> Any:
    """Join the shares of a state: concatenate lists and arrays; other values are equal in all shares."""
    first = parts[0]
    if isinstance(first, dict):
        return {key: together([part[key] for part in parts]) for key in first}
    if isinstance(first, list):
        return [item for part in parts for item in part]
    return np.concatenate(parts) if isinstance(first, np.ndarray) else first


def _rows(state: Any, own: slice) -> Any:
    """Return a share of a state, the inverse of :func:`together`."""
    if isinstance(state, dict):
        return {key: _rows(value, own) for key, value in state.items()}
    return state[own] if isinstance(state, (list, np.ndarray)) else state
