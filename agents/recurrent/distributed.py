"""Data-parallel training of one recurrent agent: splitting its mazes, and gathering them again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict
from io import BytesIO
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import VecEnv
from typing_extensions import Self

from plasticrl.agents.checkpoint.tensor_file import PathOrFile, read_tensors, write_tensors
from plasticrl.agents.checkpoint.tree import decode, encode
from plasticrl.agents.common.distributed import ALONE, Ranks
from plasticrl.agents.recurrent.resumable import ResumableAgent
from plasticrl.envs.common.vec_env import VectorEnvAdapter
from plasticrl.envs.maze.env import PlasticMazeVectorEnv


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


_GO_ON, _SAVE = 0, 1  # messages of the first process to the others before a rollout
_EPISODES = ("env", "n_envs", "_last_obs", "_last_episode_starts", "_state")


class JointAgent(ResumableAgent):
    """Base of an agent that trains with other processes, each with its share of the environments."""

    _whole_env: VecEnv | None = None  # environments of all processes
    _others_wait = False  # the other processes wait for a message of the first

    def join(self, ranks: Ranks) -> Self:
        """Train with other processes from now on; all of them must call it with the same agent.

        The agent keeps its share of the environments: process 0 has the first ones, and so on. The updates
        are those of a single process with all environments. Each process has its own callbacks and logs,
        which see the episodes of all processes. Only the first process can save, in a callback's
        ``on_rollout_start``.

        Args:
            ranks: the processes. With a single one, nothing changes.

        Raises:
            ValueError: the agents differ, or the environments cannot be shared.
        """
        if ranks.size == 1:
            return self
        own = ranks.share(self.n_envs)
        assert self.env is not None
        env_share(self.env, own)  # raises before anything has changed if env cannot be split
        content = BytesIO()
        self.save(content)
        ranks.check_alike(content.getvalue())
        if self._resume is not None:
            self._go_on(self._resume, silent=False)
            self._resume = None
        self._whole_env = self.env
        self.adopt(env_share(self.env, own))
        if self._last_obs is not None:
            assert self._last_episode_starts is not None
            self._last_obs = self._last_obs[own]  # type: ignore[index]  # mazes have arrays
            self._last_episode_starts = self._last_episode_starts[own]
        if self._state is not None:
            self._state = type(self._state)(*(s[own].clone() for s in self._state))
        self.ranks = ranks
        return self

    def leave(self) -> Self:
        """Continue alone with the environments and episodes of all processes; all of them must call it."""
        if self.ranks.size > 1:
            self._be_whole()
            self.ranks, self._whole_env = ALONE, None
        return self

    def save(
        self,
        path: PathOrFile,
        exclude: Iterable[str] | None = None,
        include: Iterable[str] | None = None,
    ) -> None:
        """Save as :meth:`ResumableAgent.save` does, with the episodes of all processes, as one process would.

        Raises:
            RuntimeError: several processes train, and this is not the first one, or they are not at the start
                of a rollout.
        """
        if self.ranks.size == 1:
            super().save(path, exclude, include)
            return
        if self.ranks.rank > 0 or not self._others_wait:
            raise RuntimeError(
                "while several processes train, only the first can save, and only from a callback's "
                "on_rollout_start: elsewhere call leave() on all of them first"
            )
        self.ranks.told(_SAVE)
        own = {name: getattr(self, name) for name in _EPISODES}
        self._be_whole()
        try:
            super().save(path, exclude, include)
        finally:
            for name, value in own.items():
                setattr(self, name, value)

    def _start_rollout(self, callback: BaseCallback) -> None:
        self._others_wait = True
        super()._start_rollout(callback)
        self._others_wait = False
        if self.ranks.size > 1:
            while self.ranks.told(_GO_ON) == _SAVE:  # each of the others sends its share to the first
                self._gathered()

    def _be_whole(self) -> None:
        """Take over the environments and the episodes of all processes, in their current state."""
        episodes = self._gathered()
        assert isinstance(self._whole_env, VectorEnvAdapter)
        self.env, self.n_envs = self._whole_env, self._whole_env.num_envs
        if episodes is None:
            return
        self._whole_env.load_state_dict(episodes["env"])
        self._last_obs, self._last_episode_starts = episodes["last_obs"], episodes["starts"]
        if self._state is not None:
            rows = (torch.from_numpy(episodes["core"][name]).to(self.device) for name in self._state._fields)
            self._state = type(self._state)(*rows)

    def _gathered(self) -> Any:
        """Gather the current episodes of all processes; None before the first reset."""
        if self._last_obs is None:
            return None
        assert isinstance(self.env, VectorEnvAdapter)
        core = {} if self._state is None else self._state._asdict()
        own = {
            "env": self.env.state_dict(),
            "last_obs": self._last_obs,
            "starts": self._last_episode_starts,
            "core": {name: tensor.cpu().numpy() for name, tensor in core.items()},
        }
        return together([_from_bytes(part) for part in self.ranks.gather_bytes(_to_bytes(own))])


def _to_bytes(tree: Any) -> bytes:
    content, tensors = BytesIO(), dict[str, torch.Tensor]()
    data = encode(tree, tensors, "share")
    write_tensors(content, tensors, {"share": data})
    return content.getvalue()


def _from_bytes(content: bytes) -> Any:
    tensors, data = read_tensors(BytesIO(content))
    return decode(data["share"], tensors)
