"""sb3-contrib's RecurrentPPO with faster LSTM policies and files without pickle."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any, ClassVar

import numpy as np
import torch
from sb3_contrib import RecurrentPPO
from sb3_contrib.common.recurrent.policies import RecurrentActorCriticPolicy
from sb3_contrib.ppo_recurrent.policies import CnnLstmPolicy, MlpLstmPolicy, MultiInputLstmPolicy
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.type_aliases import GymEnv, MaybeCallback
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor, nn
from typing_extensions import Self

from plasticrl.agents.checkpoint.format import Format, reading
from plasticrl.agents.checkpoint.network import check_as_made, made_without_memory
from plasticrl.agents.checkpoint.optimizer import (
    changed_groups,
    check_optimizer_kind,
    check_trained,
    pack_trained,
    restore_trained,
)
from plasticrl.agents.checkpoint.parameters import ParameterExchange
from plasticrl.agents.checkpoint.random_state import undisturbed
from plasticrl.agents.checkpoint.tensor_file import PathOrFile
from plasticrl.agents.common.finite_checks import NonFiniteError, first_non_finite
from plasticrl.arguments import MOST_STEPS, check_whole, whole_steps
from plasticrl.envs.common.vec_env import as_vec_env
from plasticrl.signals import PostponedInterrupt

_NO_PICKLE = (
    "a file of this policy alone would be a pickle, which can run code: save and load the whole agent "
    "with PlainRecurrentPPO.save and PlainRecurrentPPO.load"
)


class WholeSequences:
    """Mixin, to be listed before an sb3-contrib LSTM policy: one LSTM call for all steps of a batch.

    sb3-contrib loops over the steps in Python if any sequence of the batch begins with an episode. Its
    buffer cuts the sequences at episode starts, so that only the first step of a sequence can be one: the
    states are reset before it, and one call computes the rest. The results are equal up to rounding.
    """

    @staticmethod
    def _process_sequence(
        features: Tensor, lstm_states: tuple[Tensor, Tensor], episode_starts: Tensor, lstm: nn.LSTM
    ) -> tuple[Tensor, Any]:  # sb3-contrib's annotation is wrong: it returns two states
        """Return the LSTM's outputs ``(B * T, H)`` and last states, with the state reset at episode starts.

        Args:
            features: ``(B * T, D)``, one sequence after another.
            lstm_states: hidden and cell states before the first step, each ``(layers, B, H)``.
            episode_starts: ``(B * T,)``, 1 at the first step of an episode, else 0. If an episode starts
                after the first step of a sequence, sb3-contrib's loop is used.
            lstm: an LSTM with inputs of size D.
        """
        rows = lstm_states[0].shape[1]
        starts = episode_starts.reshape(rows, -1)
        if starts[:, 1:].any():
            return MlpLstmPolicy._process_sequence(features, lstm_states, episode_starts, lstm)
        continues = (starts[:, 0] == 0).view(1, rows, 1)
        first_states = (continues * lstm_states[0], continues * lstm_states[1])
        sequence = features.reshape(rows, -1, lstm.input_size).swapaxes(0, 1)
        outputs, last_states = lstm(sequence, first_states)
        return torch.flatten(outputs.transpose(0, 1), 0, 1), last_states

    def save(self, path: str) -> None:
        """Raise NotImplementedError, since sb3-contrib would write a pickle.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError(_NO_PICKLE)

    @classmethod
    def load(cls, path: str, device: torch.device | str = "auto") -> Any:
        """Raise NotImplementedError, since sb3-contrib would unpickle, and a pickle can run code.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError(_NO_PICKLE)


class WholeSequenceMlpLstmPolicy(WholeSequences, MlpLstmPolicy):
    """Policy for vector observations."""


class WholeSequenceCnnLstmPolicy(WholeSequences, CnnLstmPolicy):
    """Policy for image observations."""


class WholeSequenceMultiInputLstmPolicy(WholeSequences, MultiInputLstmPolicy):
    """Policy for dict observations."""


WHOLE_SEQUENCE_POLICIES: dict[str, type[BasePolicy]] = {
    "MlpLstmPolicy": WholeSequenceMlpLstmPolicy,
    "CnnLstmPolicy": WholeSequenceCnnLstmPolicy,
    "MultiInputLstmPolicy": WholeSequenceMultiInputLstmPolicy,
}


_FORMAT = Format(
    "plasticrl.PlainRecurrentPPO", 1, "PlainRecurrentPPO.save", ("policy", "optimizer", "counters")
)
_COUNTERS = ("num_timesteps", "_n_updates", "_episode_num")


class PlainRecurrentPPO(ParameterExchange, RecurrentPPO):
    """``RecurrentPPO`` with the files, interrupts and errors of the package's own learners.

    A file is safetensors with JSON. It holds the parameters, the names of the frozen ones, the optimiser's
    state and the counters. It holds neither settings nor the current episodes: a resumed training begins new
    episodes with new random numbers, so resuming is not bit-exact.

    A policy given by name, such as "MlpLstmPolicy", is the corresponding whole-sequence policy of this
    module.
    """

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = WHOLE_SEQUENCE_POLICIES
    _interrupt = PostponedInterrupt()  # replaced by an active one in learn()

    @staticmethod
    def _wrap_env(env: Any, verbose: int = 0, monitor_wrapper: bool = True) -> VecEnv:
        """Wrap an env as SB3 does; also accept a Gymnasium ``VectorEnv``."""
        return RecurrentPPO._wrap_env(as_vec_env(env), verbose, monitor_wrapper)

    def collect_rollouts(
        self, env: VecEnv, callback: BaseCallback, rollout_buffer: RolloutBuffer, n_rollout_steps: int
    ) -> bool:
        """Collect a rollout as sb3-contrib does, or return False if an interrupt is pending.

        Before a rollout the state is consistent, since the previous update is complete.
        """
        if self._interrupt.pending:
            return False
        continues: bool = super().collect_rollouts(env, callback, rollout_buffer, n_rollout_steps)
        return continues

    def train(self) -> None:
        """Update the policy as sb3-contrib does, and check the parameters.

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
        """Train as sb3-contrib does; on Ctrl-C or SIGTERM, the current update is completed first.

        Raises:
            StoppedBetweenUpdates: a KeyboardInterrupt, raised after the update and the callbacks'
                ``on_training_end``.
            NonFiniteError: a parameter is no longer finite.
            ValueError: ``total_timesteps`` is not a number.
        """
        total_timesteps = whole_steps("total_timesteps", total_timesteps)
        with PostponedInterrupt() as self._interrupt:
            return super().learn(
                total_timesteps, callback, log_interval, tb_log_name, reset_num_timesteps, progress_bar
            )

    def save(
        self,
        path: PathOrFile,
        exclude: Iterable[str] | None = None,
        include: Iterable[str] | None = None,
    ) -> None:
        """Write parameters, optimiser state and counters atomically.

        Args:
            path: as in :meth:`plasticrl.agents.RecurrentA2C.save`.
            exclude: for compatibility with SB3; must be empty.
            include: likewise.

        Raises:
            OSError: the file cannot be written.
            TypeError: a part of the policy cannot be stored in a file, or ``path`` is neither a path nor a
                binary file object.
            ValueError: ``exclude`` or ``include`` is not empty, or :meth:`load` would refuse the file; the
                message says why.
        """
        if exclude or include:
            raise ValueError("exclude and include are not supported: leave them out")
        optimizer, made = self.policy.optimizer, self._rebuilt_policy()
        check_as_made("policy", self.policy, made)
        check_optimizer_kind(optimizer, type(made.optimizer))
        packed = pack_trained(self.policy, optimizer)
        parts = {
            "policy": packed["policy"],
            "optimizer": packed["optimizer"]["state"],  # its options are settings
            "counters": {name: check_whole(name, getattr(self, name), least=0) for name in _COUNTERS},
            **changed_groups(self.policy, optimizer, made),
        }
        _FORMAT.save(path, parts, lambda read: check_trained(made, made.optimizer, _arranged(read)))

    def _rebuilt_policy(self) -> BasePolicy:
        """Build a policy as the constructor would, without allocating memory if possible."""
        kwargs = {"use_sde": self.use_sde, **self.policy_kwargs}
        make = partial(
            self.policy_class, self.observation_space, self.action_space, self.lr_schedule, **kwargs
        )
        with undisturbed(self.device):
            return made_without_memory(make, trusted=True)

    @classmethod
    def load(  # type: ignore[override]  # no custom_objects: the file holds no settings
        cls,
        path: PathOrFile,
        env: GymEnv,
        device: torch.device | str = "auto",
        policy: str | type[RecurrentActorCriticPolicy] = "MlpLstmPolicy",
        **kwargs: Any,
    ) -> Self:
        """Return an agent with a file's parameters and counters; no code from the file is run.

        Args:
            path: as in :meth:`plasticrl.agents.RecurrentA2C.load`.
            env: environment to train or act in.
            device: as in the constructor.
            policy: the policy that the saved agent was built with.
            **kwargs: the other arguments that the saved agent was built with. A ``seed`` is mixed with the
                number of steps done, so that a resumed training does not repeat the same episodes.

        Raises:
            OSError: the file cannot be read.
            TensorFileError: it is damaged, was not written by :meth:`save`, or does not fit the arguments.
        """
        parts = cls._parts_in_file(path)
        agent = cls(policy, env, device=device, **kwargs)
        restore_trained(agent.policy, agent.policy.optimizer, parts)
        for name, value in parts["counters"].items():
            setattr(agent, name, value)
        if agent.seed is not None:
            mixed = np.random.SeedSequence([agent.seed, agent.num_timesteps]).generate_state(1)[0]
            agent.set_random_seed(int(mixed >> 1))
        return agent

    @classmethod
    def _parts_in_file(cls, file: PathOrFile) -> dict[str, Any]:
        return _arranged(_FORMAT.load(file))


def _arranged(parts: dict[str, Any]) -> dict[str, Any]:
    """Return the parts of a file as :func:`restore_trained` takes them, with checked counters.

    Raises:
        TensorFileError: a part is missing or invalid.
    """
    with reading():
        counters = {
            name: check_whole(name, parts["counters"][name], least=0, most=MOST_STEPS) for name in _COUNTERS
        }
        optimizer = {"state": parts["optimizer"], "groups": parts.get("groups")}
        return {**parts, "optimizer": optimizer, "counters": counters}
