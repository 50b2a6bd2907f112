"""Training one recurrent agent in several processes, and making it whole again."""

from __future__ import annotations

from collections.abc import Iterable
from io import BytesIO
from typing import Any

import torch
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import VecEnv
from typing_extensions import Self

from plasticrl.agents.data_parallel import ALONE, Ranks
from plasticrl.agents.env_shares import env_share, together
from plasticrl.agents.plain_tree import decode, encode
from plasticrl.agents.resumable import ResumableAgent
from plasticrl.agents.tensor_file import PathOrFile, read_tensors, write_tensors
from plasticrl.envs.sb3_vec_env import VectorEnvAdapter

_GO_ON, _SAVE = 0, 1  # what the first process tells the others before a rollout
_EPISODES = ("env", "n_envs", "_last_obs", "_last_episode_starts", "_state")


class JointAgent(ResumableAgent):
    """The part of an agent that works with other processes: each plays its share of the environments."""

    _whole_env: VecEnv | None = None  # of all processes
    _others_wait = False  # for what the first process tells them

    def join(self, ranks: Ranks) -> Self:
        """Train with other processes from now on; to be called on all of them, with the same agent.

        The agent keeps its share of the environments: process 0 the first ones, and so on. The updates are
        those that one process would make of all of them. Callbacks and logs are each process's own, and are
        told the episodes of all; only the first process can save, from ``on_rollout_start``.

        Args:
            ranks: the processes. Alone, nothing changes.

        Raises:
            ValueError: the agents are not the same, or the environments cannot be shared.
        """
        if ranks.size == 1:
            return self
        own = ranks.share(self.n_envs)
        assert self.env is not None
        env_share(self.env, own)  # refuses what it cannot take apart, before anything has changed
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
        """Go on alone, with the environments and episodes of all processes; to be called on all of them."""
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
        """As :meth:`ResumableAgent.save`: the episodes of all processes, as one process would.

        Raises:
            RuntimeError: several processes train, and this is not the first, or they are in the middle of
                something.
        """
        if self.ranks.size == 1:
            super().save(path, exclude, include)
            return
        if self.ranks.rank > 0 or not self._others_wait:
            raise RuntimeError(
                "where several processes train, only the first can save, and only from a callback's "
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
            while self.ranks.told(_GO_ON) == _SAVE:  # the others give what the first one saves
                self._gathered()

    def _be_whole(self) -> None:
        """Have all environments, in the state in which the processes have them, and all episodes."""
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
        """The episodes that are under way, of all processes together; None before the first."""
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
