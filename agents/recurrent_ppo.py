"""sb3-contrib's RecurrentPPO, which most would take instead, with checkpoints that are no pickles."""

from __future__ import annotations

import os
from collections.abc import Iterable
from io import BufferedIOBase
from pathlib import Path
from typing import Any

import torch
from sb3_contrib import RecurrentPPO
from stable_baselines3.common.type_aliases import GymEnv
from typing_extensions import Self

from plasticrl.agents.optimizer_state import optimizer_state, restore_policy
from plasticrl.agents.plain_tree import decode, encode
from plasticrl.agents.tensor_file import TensorFileError, read_tensors, with_suffix, write_tensors

FORMAT, VERSION = "plasticrl.PlainRecurrentPPO", 1
_COUNTERS = ("num_timesteps", "_n_updates", "_episode_num")


class PlainRecurrentPPO(RecurrentPPO):
    """``RecurrentPPO`` whose files are safetensors with JSON, as those of the package's own learners.

    A file holds the parameters, the optimiser's state and the counters; not the settings, and not the
    episodes under way: a training that goes on begins new ones, so not to the same bits.
    """

    def save(
        self,
        path: str | os.PathLike[str] | BufferedIOBase,
        exclude: Iterable[str] | None = None,
        include: Iterable[str] | None = None,
    ) -> None:
        """Write parameters, optimiser and counters, whole or not at all.

        Args:
            path: of the file, ``.safetensors`` added where it has no suffix, or a binary file object.
            exclude: SB3's; nothing can be left out.
            include: likewise.

        Raises:
            OSError: the file cannot be written.
            ValueError: ``exclude`` or ``include`` name something.
        """
        if exclude or include:
            raise ValueError("exclude and include: nothing can be left out or put in, give none")
        if not isinstance(path, BufferedIOBase):
            path = with_suffix(path)
            path.parent.mkdir(parents=True, exist_ok=True)
        tensors: dict[str, torch.Tensor] = {}
        parts = {
            "policy": dict(self.policy.state_dict()),
            "optimizer": optimizer_state(self.policy),
            "counters": {name: getattr(self, name) for name in _COUNTERS},
        }
        data = {name: encode(part, tensors, name) for name, part in parts.items()}
        write_tensors(path, tensors, {"format": FORMAT, "version": VERSION, **data})

    @classmethod
    def load(  # type: ignore[override]  # no custom_objects: the file holds no settings
        cls,
        path: str | os.PathLike[str] | BufferedIOBase,
        env: GymEnv | None = None,
        device: torch.device | str = "auto",
        **kwargs: Any,
    ) -> Self:
        """An agent with a file's parameters, optimiser and counters; runs no code that the file could bring.

        Args:
            path: as in :meth:`save`.
            env: to train in or to act in.
            device: as in the constructor.
            **kwargs: the other arguments of the constructor, as they were.

        Raises:
            OSError: the file cannot be read.
            TensorFileError: it is damaged, was not written here, or does not fit the arguments.
            ValueError: there is no ``env``.
        """
        if env is None:
            raise ValueError("load needs an env: the file does not hold its spaces")
        if not isinstance(path, BufferedIOBase) and not Path(path).exists():
            path = with_suffix(path)
        tensors, data = read_tensors(path)
        if data.get("format") != FORMAT or data.get("version") != VERSION:
            raise TensorFileError(
                f"the file holds {data.get('format')!r}, version {data.get('version')!r}; this plasticrl "
                f"reads {FORMAT!r}, version {VERSION}: give a file that PlainRecurrentPPO.save wrote"
            )
        try:
            parts = {name: decode(data[name], tensors) for name in ("policy", "optimizer", "counters")}
            counters = {name: parts["counters"][name] for name in _COUNTERS}
            if any(type(value) is not int or value < 0 for value in counters.values()):
                raise ValueError(f"counters are whole numbers, not {counters}")
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise TensorFileError(f"the file is not whole ({error!r}): give another file") from error
        agent = cls(env=env, device=device, **kwargs)
        restore_policy(agent.policy, parts["policy"], parts["optimizer"])
        for name, value in counters.items():
            setattr(agent, name, value)
        return agent
