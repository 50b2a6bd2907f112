"""The environments and episodes of an agent that trains in several processes: splitting and gathering."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from io import BytesIO
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
import torch
from stable_baselines3.common.vec_env import VecEnv

from plasticrl.agents.checkpoint.tensor_file import read_tensors, write_tensors
from plasticrl.agents.checkpoint.tree import decode, encode
from plasticrl.agents.common.distributed import Ranks
from plasticrl.envs.common.vec_env import VectorEnvAdapter
from plasticrl.envs.maze.env import PlasticMazeVectorEnv


class Episodes(NamedTuple):
    """The environments of an agent, and its part of the episodes under way in them."""

    env: VecEnv
    last_obs: Any  # None before the first reset
    starts: Any
    state: Any  # of the core; None before the first rollout
    discounted: Any  # rewards since the episodes began, discounted, (B,); None before the first rollout

    def rows(self, own: slice) -> Episodes:
        """Return a share of the environments as a new batch, with their episodes.

        Raises:
            ValueError: the environments cannot be split.
        """
        env = env_share(self.env, own)
        if self.last_obs is None:
            return Episodes(env, None, self.starts, None, None)
        state = self.state and type(self.state)(*(part[own].clone() for part in self.state))
        discounted = None if self.discounted is None else self.discounted[own]
        return Episodes(env, self.last_obs[own], self.starts[own], state, discounted)

    def gathered(self, ranks: Ranks, whole: VecEnv) -> Episodes:
        """Return the environments of all processes, in the current state of their shares.

        Args:
            ranks: the processes, all of which must call this method.
            whole: the environments that were split; their state is replaced.
        """
        if self.last_obs is None:
            return Episodes(whole, None, self.starts, None, None)
        assert isinstance(self.env, VectorEnvAdapter)
        assert isinstance(whole, VectorEnvAdapter)
        core = {} if self.state is None else self.state._asdict()
        share = {
            "env": self.env.state_dict(),
            "last_obs": self.last_obs,
            "starts": self.starts,
            "discounted": self.discounted,
            "core": {name: tensor.cpu().numpy() for name, tensor in core.items()},
        }
        every = together([_from_bytes(part) for part in ranks.gather_bytes(_to_bytes(share))])
        whole.load_state_dict(every["env"])
        rows = {name: torch.from_numpy(every["core"][name]).to(part.device) for name, part in core.items()}
        state = self.state and type(self.state)(**rows)
        return Episodes(whole, every["last_obs"], every["starts"], state, every["discounted"])


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


def _to_bytes(tree: Any) -> bytes:
    content, tensors = BytesIO(), dict[str, torch.Tensor]()
    data = encode(tree, tensors, "share")
    write_tensors(content, tensors, {"share": data})
    return content.getvalue()


def _from_bytes(content: bytes) -> Any:
    tensors, data = read_tensors(BytesIO(content))
    return decode(data["share"], tensors)
