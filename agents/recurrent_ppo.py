"""sb3-contrib's RecurrentPPO, which most would take instead, faster and with files that are no pickles."""

from __future__ import annotations

import os
from collections.abc import Iterable
from io import BufferedIOBase
from typing import Any, ClassVar

import numpy as np
import torch
from sb3_contrib import RecurrentPPO
from sb3_contrib.common.recurrent.policies import RecurrentActorCriticPolicy
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.type_aliases import GymEnv, MaybeCallback
from stable_baselines3.common.vec_env import VecEnv
from typing_extensions import Self

from plasticrl.agents.finite_checks import NonFiniteError, first_non_finite
from plasticrl.agents.lstm_policies import WHOLE_SEQUENCE_POLICIES
from plasticrl.agents.optimizer_state import optimizer_state, restore_policy
from plasticrl.agents.plain_tree import decode, encode
from plasticrl.agents.postponed_interrupt import PostponedInterrupt
from plasticrl.agents.tensor_file import (
    TensorFileError,
    check_format,
    place_to_read,
    place_to_write,
    read_tensors,
    write_tensors,
)
from plasticrl.envs.sb3_vec_env import as_vec_env

FORMAT, VERSION = "plasticrl.PlainRecurrentPPO", 1
_COUNTERS = ("num_timesteps", "_n_updates", "_episode_num")


class PlainRecurrentPPO(RecurrentPPO):
    """``RecurrentPPO`` with files, interrupts and errors as the package's own learners have them.

    A file is safetensors with JSON. It holds the parameters, what the optimiser remembers of them, and the
    counters; no settings, and not the episodes under way: a training that goes on begins new ones, with new
    random numbers, so not to the same bits.

    A policy given by its name, such as "MlpLstmPolicy", is the one of that name in ``lstm_policies.py``.
    """

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = WHOLE_SEQUENCE_POLICIES
    _interrupt = PostponedInterrupt()  # replaced by one that listens while learning

    @staticmethod
    def _wrap_env(env: Any, verbose: int = 0, monitor_wrapper: bool = True) -> VecEnv:
        """As in SB3, and Gymnasium's batches are taken, too."""
        return RecurrentPPO._wrap_env(as_vec_env(env), verbose, monitor_wrapper)

    def collect_rollouts(
        self, env: VecEnv, callback: BaseCallback, rollout_buffer: RolloutBuffer, n_rollout_steps: int
    ) -> bool:
        """As in sb3-contrib, but for an interrupt: here everything is whole, the update before is done."""
        if self._interrupt.pending:
            return False
        going_on: bool = super().collect_rollouts(env, callback, rollout_buffer, n_rollout_steps)
        return going_on

    def train(self) -> None:
        """As in sb3-contrib.

        Raises:
            NonFiniteError: a parameter is NaN or infinite after the update.
        """
        super().train()
        if name := first_non_finite(dict(self.policy.named_parameters())):
            raise NonFiniteError(
                f"{name} is not finite after {self.num_timesteps} steps: try a lower learning_rate"
            )

    def learn(
        self,
        total_timesteps: int,
        callback: MaybeCallback = None,
        log_interval: int = 1,
        tb_log_name: str = "RecurrentPPO",
        reset_num_timesteps: bool = True,
        progress_bar: bool = False,
    ) -> Self:
        """As in sb3-contrib; Ctrl-C and SIGTERM let the update that is under way end.

        Raises:
            StoppedBetweenUpdates: a KeyboardInterrupt, after that and the callbacks' ``on_training_end``.
            NonFiniteError: a parameter is no longer finite.
        """
        with PostponedInterrupt() as self._interrupt:
            return super().learn(
                total_timesteps, callback, log_interval, tb_log_name, reset_num_timesteps, progress_bar
            )

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
        tensors: dict[str, torch.Tensor] = {}
        parts = {
            "policy": dict(self.policy.state_dict()),
            "optimizer": optimizer_state(self.policy)["state"],  # its options are settings
            "counters": {name: getattr(self, name) for name in _COUNTERS},
        }
        data = {name: encode(part, tensors, name) for name, part in parts.items()}
        write_tensors(place_to_write(path), tensors, {"format": FORMAT, "version": VERSION, **data})

    @classmethod
    def load(  # type: ignore[override]  # no custom_objects: the file holds no settings
        cls,
        path: str | os.PathLike[str] | BufferedIOBase,
        env: GymEnv,
        device: torch.device | str = "auto",
        policy: str | type[RecurrentActorCriticPolicy] = "MlpLstmPolicy",
        **kwargs: Any,
    ) -> Self:
        """An agent with a file's parameters and counters; runs no code that the file could bring.

        Args:
            path: as in :meth:`save`.
            env: to train in or to act in.
            device: as in the constructor.
            policy: as it was.
            **kwargs: the other arguments of the constructor, as they were. A ``seed`` is mixed with the steps
                done, so that a training that goes on does not see the same episodes again.

        Raises:
            OSError: the file cannot be read.
            TensorFileError: it is damaged, was not written here, or does not fit the arguments.
        """
        tensors, data = read_tensors(place_to_read(path))
        check_format(data, FORMAT, VERSION, "PlainRecurrentPPO.save")
        try:
            parts = {name: decode(data[name], tensors) for name in ("policy", "optimizer", "counters")}
            counters = {name: parts["counters"][name] for name in _COUNTERS}
            if any(type(value) is not int or not 0 <= value < 2**63 for value in counters.values()):
                raise ValueError(f"counters are whole numbers, not {counters}")
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise TensorFileError(f"the file is not whole ({error!r}): give another file") from error
        agent = cls(policy, env, device=device, **kwargs)
        optimizer = {**optimizer_state(agent.policy), "state": parts["optimizer"]}
        restore_policy(agent.policy, parts["policy"], optimizer)
        for name, value in counters.items():
            setattr(agent, name, value)
        if agent.seed is not None:
            mixed = np.random.SeedSequence([agent.seed, agent.num_timesteps]).generate_state(1)[0]
            agent.set_random_seed(int(mixed >> 1))
        return agent
