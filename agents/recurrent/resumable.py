"""Saving and loading of a recurrent agent, which resumes within its episodes."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import Any

import torch
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.type_aliases import GymEnv, MaybeCallback
from stable_baselines3.common.utils import check_for_correct_spaces, get_system_info
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor
from typing_extensions import Self

from plasticrl.agents.a2c.loss import UsualGradient
from plasticrl.agents.checkpoint.agent import loaded_settings, pack
from plasticrl.agents.checkpoint.agent_loading import Resume, check_loads, decoded, made_again
from plasticrl.agents.checkpoint.env_state import EnvStateError, restore_env_state
from plasticrl.agents.checkpoint.parameters import ParameterExchange
from plasticrl.agents.checkpoint.random_state import restore_random_states
from plasticrl.agents.checkpoint.tensor_file import (
    PathOrFile,
    place_to_read,
    place_to_write,
    read_tensors,
    write_tensors,
)
from plasticrl.agents.checkpoint.tree import Absent
from plasticrl.agents.recurrent.collection import RolloutCollection
from plasticrl.envs.common.vec_env import as_vec_env


class ResumableAgent(ParameterExchange, RolloutCollection):
    """Base of an agent that can be saved and resumed."""

    usual_gradient: UsualGradient
    _resume: Resume | None = None  # set by load() until the next learn()

    def save(
        self,
        path: PathOrFile,
        exclude: Iterable[str] | None = None,
        include: Iterable[str] | None = None,
    ) -> None:
        """Write a checkpoint: parameters, optimiser, counters, current episodes and random states.

        The file is safetensors with JSON; nothing in it is pickled. The content is checked as by :meth:`load`
        before anything is written.

        Args:
            path: path of the file, or a binary file object, whose content is replaced. ``.safetensors`` is
                added to a path without suffix, ``~`` is the home folder, and the parent folder is created.
                The file is written atomically.
            exclude: parts to leave out: names of settings, ``"_last_obs"`` (the current episodes),
                ``"env"``, ``"random_states"``, ``"ep_info_buffer"``, ``"ep_success_buffer"``.
            include: parts to write even if ``exclude`` names them.

        Raises:
            OSError: the file cannot be written.
            TypeError: a space or a part of the policy cannot be stored in a file, or ``path`` is neither a
                path nor a binary file object.
            ValueError: ``exclude`` names an unknown part, or :meth:`load` would refuse the file; the message
                says why.
        """
        tensors, data = pack(self, set(exclude or ()) - set(include or ()))
        check_loads(self, tensors, data)
        write_tensors(place_to_write(path), tensors, data)

    @classmethod
    def load(
        cls,
        path: PathOrFile,
        env: GymEnv | str | None = None,
        device: torch.device | str = "auto",
        custom_objects: dict[str, Any] | None = None,
        print_system_info: bool = False,
        force_reset: bool = True,
        **kwargs: Any,
    ) -> Self:
        """Return an agent that resumes where the saved one stopped; no code from the file is run.

        Args:
            path: as in :meth:`save`; ``PATH``, ``PATH.safetensors`` and ``PATH.zip`` are interchangeable
                if only one of them exists. A file object is read from its start.
            env: environment to train in. If it can load the saved state (the package's own environments
                can), training resumes within the saved episodes, with the same random numbers; otherwise
                new episodes begin.
            device: as in the constructor.
            custom_objects: settings that replace those of the file.
            print_system_info: print the versions of the libraries, those here and those at saving.
            force_reset: begin new episodes if ``env`` cannot load the saved state. False leaves the
                environment and the agent's memory as they are. Default True.
            **kwargs: further arguments of the constructor, which replace the saved ones. Values that a file
                cannot hold must be given: a function as ``learning_rate``, custom classes.

        Raises:
            OSError: the file cannot be read.
            TensorFileError: it is damaged, or not the file of an agent.
            ValueError: it does not fit ``env``, or a value that it cannot hold is not given.
        """
        parts = decoded(*read_tensors(place_to_read(path)))
        if print_system_info:
            print("== CURRENT SYSTEM INFO ==")
            get_system_info()
            print("== SAVED MODEL SYSTEM INFO ==")
            print("\n".join(f"- {name}: {version}" for name, version in dict(parts["versions"]).items()))
        settings = loaded_settings(parts.get("settings"), custom_objects, kwargs, cls.policy_aliases)
        keep = "policy_kwargs" in (custom_objects or {})  # these include optimizer_kwargs
        return made_again(cls, parts, settings, env, device, force_reset=force_reset, keep_options=keep)

    @classmethod
    def _parts_in_file(cls, tensors: dict[str, Tensor], data: dict[str, Any]) -> dict[str, Any]:
        return decoded(tensors, data)

    def set_random_seed(self, seed: int | None = None) -> None:
        """Seed all generators, as in SB3; a loaded agent then begins new episodes with new random numbers."""
        super().set_random_seed(seed)
        if self._resume is not None and seed is not None:
            self._resume = None
            self._forget_episodes()

    def set_env(self, env: GymEnv | str, force_reset: bool = True) -> None:
        """Replace the training env; the new one may have another number of environments.

        Args:
            env: as in the constructor; its spaces must be the same.
            force_reset: begin new episodes at the next :meth:`learn`; this always happens if the number of
                environments changes. After :meth:`load` without env, ``env`` is used as if passed there.

        Raises:
            ValueError: the spaces differ.
        """
        before, loaded = self.n_envs, self.env is None and self._resume is not None
        self.adopt(env)
        if self._resume is not None:
            self._resume = self._resume._replace(force_reset=force_reset) if loaded else None
        if self.n_envs != before or (force_reset and not loaded):
            self._start_anew()

    @staticmethod
    def _wrap_env(env: Any, verbose: int = 0, monitor_wrapper: bool = True) -> VecEnv:
        """Wrap an env as SB3 does; also accept a Gymnasium ``VectorEnv``."""
        return RolloutCollection._wrap_env(as_vec_env(env), verbose, monitor_wrapper)

    def _start_anew(self) -> None:
        """Begin new episodes at the next ``learn``, even if a checkpoint holds current ones."""
        self._forget_episodes()
        if self._resume is not None:
            self._resume = self._resume._replace(env=None)

    def adopt(self, env: GymEnv | str) -> None:
        """Replace the training env by one with any number of environments; keep the current episodes.

        Raises:
            ValueError: the spaces differ.
        """
        env = self._wrap_env(env, self.verbose)
        check_for_correct_spaces(env, self.observation_space, self.action_space)
        self.n_envs = env.num_envs  # SB3 would refuse another number: its buffer has a fixed size
        super().set_env(env, force_reset=False)

    def _setup_learn(
        self,
        total_timesteps: int,
        callback: MaybeCallback = None,
        reset_num_timesteps: bool = True,
        tb_log_name: str = "run",
        progress_bar: bool = False,
    ) -> tuple[int, BaseCallback]:
        if self._resume is not None:
            self._go_on(self._resume, silent=reset_num_timesteps)
            self._resume = None
        return super()._setup_learn(total_timesteps, callback, reset_num_timesteps, tb_log_name, progress_bar)

    def _go_on(self, resume: Resume, *, silent: bool) -> None:
        """Restore the saved state of the environments and of the random generators."""
        assert self.env is not None
        try:
            if isinstance(resume.env, Absent):
                raise EnvStateError(resume.env.what)
            if resume.env is not None:
                restore_env_state(self.env, resume.env)
        except EnvStateError as error:
            where = "the current episodes of the environments"
            if resume.force_reset or self._last_obs is None:
                where = "new episodes"
                self._start_anew()
            if not silent:
                warnings.warn(
                    f"training resumes in {where}, so it will not be bit-exact: {error}", stacklevel=4
                )
        if resume.random_states is not None:
            restore_random_states(resume.random_states, self.device)
