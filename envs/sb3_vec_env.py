"""Batched Gymnasium environments as Stable-Baselines3 ``VecEnv``; the one module here that needs SB3."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.envs.registration import load_env_creator
from gymnasium.vector import AutoresetMode, VectorEnv
from numpy.typing import NDArray
from stable_baselines3.common.env_util import make_vec_env as sb3_make_vec_env
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices, VecEnvObs, VecEnvStepReturn

from plasticrl.envs.argument_checks import check_count
from plasticrl.envs.saved_state import entry, finite_array, whole_numbers

_ONE_FOR_EACH = ("render", "call", "get_attr")  # methods of a Gymnasium VectorEnv


def make_vec_env(id: str, n_envs: int = 1, seed: int | None = None, **env_kwargs: Any) -> VecEnv:
    """A registered environment as an SB3 ``VecEnv``, batched natively where it can be.

    An environment that is registered with a vector implementation of its own that resets in the same
    step (the mazes) is stepped as one batch; any other is given to SB3's ``make_vec_env``. Both kinds
    report finished episodes as SB3's ``Monitor`` does.

    Args:
        id: registered id, such as "PlasticMaze-v0"; "module:id" imports the module first.
        n_envs: number of environments, at least 1.
        seed: environment i gets ``seed + i`` at its first reset; None seeds at random.
        **env_kwargs: arguments of the environment.

    Raises:
        ValueError: ``n_envs`` is no whole number from 1, or ``seed`` is negative.
        gymnasium.error.Error: no environment is registered with this id.
    """
    n_envs = check_count("n_envs", n_envs)
    if seed is not None and seed < 0:
        raise ValueError(f"seed must be 0 or more, or None, got {seed}")
    module, colon, name = id.rpartition(":")
    if colon:
        import_module(module)
    if _may_reset_in_the_same_step(gym.spec(name).vector_entry_point):
        env = gym.make_vec(name, num_envs=n_envs, vectorization_mode="vector_entry_point", **env_kwargs)
        if env.metadata.get("autoreset_mode") == AutoresetMode.SAME_STEP:
            adapter = VectorEnvAdapter(env)
            adapter.seed(seed)
            return adapter
        env.close()
    return sb3_make_vec_env(name, n_envs=n_envs, seed=seed, env_kwargs=env_kwargs)


def _may_reset_in_the_same_step(vector_entry_point: str | Callable[..., Any] | None) -> bool:
    """False where that can be told without building a batch, whose arguments may be others: of a class."""
    if vector_entry_point is None:
        return False
    creator: Any = vector_entry_point
    if isinstance(creator, str):
        creator = load_env_creator(creator)
    mode = getattr(creator, "metadata", {}).get("autoreset_mode")
    return mode is None or mode == AutoresetMode.SAME_STEP


class VectorEnvAdapter(VecEnv):
    """Any Gymnasium ``VectorEnv`` with ``AutoresetMode.SAME_STEP`` as an SB3 ``VecEnv``.

    At the end of an episode its info holds the environment's own final info, ``terminal_observation``,
    ``TimeLimit.truncated`` and ``episode`` (return "r", length "l", seconds "t", as from ``Monitor``).

    The environments are one object: an attribute is the same for all, and can only be set for all.

    Args:
        env: the batched environment.

    Raises:
        ValueError: ``env`` does not reset in the same step.
    """

    def __init__(self, env: VectorEnv[Any, Any, Any]) -> None:
        mode = env.metadata.get("autoreset_mode")
        if mode != AutoresetMode.SAME_STEP:
            raise ValueError(
                f"{env} must declare AutoresetMode.SAME_STEP in its metadata, it declares {mode}"
            )
        self.env = env
        super().__init__(env.num_envs, env.single_observation_space, env.single_action_space)
        self.metadata = env.metadata
        self._began = time.time()
        self._actions: NDArray[Any] = np.empty(0)
        self._returns = np.zeros(env.num_envs)
        self._lengths = np.zeros(env.num_envs, dtype=np.int64)

    def reset(self) -> VecEnvObs:
        """Start new episodes, with the seeds and options set before; returns the observations."""
        if any(options != self._options[0] for options in self._options):
            raise ValueError("the environments are one batch: set_options needs the same options for all")
        observation: VecEnvObs
        observation, infos = self.env.reset(seed=self._seeds[0], options=self._options[0] or None)
        self.reset_infos = [_row(infos, row) for row in range(self.num_envs)]
        self._reset_seeds()
        self._reset_options()
        self._returns[:] = 0
        self._lengths[:] = 0
        return observation

    def step_async(self, actions: NDArray[Any]) -> None:
        """Keep the actions (n_envs, ...) for ``step_wait``."""
        self._actions = actions

    def step_wait(self) -> VecEnvStepReturn:
        """Step the batch: observations, rewards (n_envs,) float32, dones (n_envs,), one info for each."""
        observation, reward, terminated, truncated, batch_info = self.env.step(self._actions)
        done = terminated | truncated
        self._returns += reward
        self._lengths += 1
        if batch_info:
            final = {name: batch_info.pop(name, None) for name in ("final_info", "final_obs")}
            infos = [_row(batch_info, row) for row in range(self.num_envs)]
            for row in np.flatnonzero(done).tolist():
                self.reset_infos[row] = infos[row]
                infos[row] = self._final_info(row, final, bool(truncated[row] and not terminated[row]))
        else:
            infos = [{} for _ in range(self.num_envs)]
        return observation, reward.astype(np.float32), done, infos

    def _final_info(self, row: int, final: dict[str, Any], truncated: bool) -> dict[str, Any]:
        info = _row(final["final_info"] or {}, row)
        info["terminal_observation"] = final["final_obs"][row]
        info["TimeLimit.truncated"] = truncated
        info["episode"] = {
            "r": round(float(self._returns[row]), 6),
            "l": int(self._lengths[row]),
            "t": round(time.time() - self._began, 6),
        }
        self._returns[row] = 0
        self._lengths[row] = 0
        return info

    def state_dict(self) -> dict[str, Any]:
        """All that is needed to go on from here: the batch's own ``state_dict()``, and what is counted.

        Raises:
            TypeError: the batch has no ``state_dict()``.
            gymnasium.error.ResetNeeded: before the first ``reset``.
        """
        env: Any = self.env
        if not hasattr(env, "state_dict"):
            raise TypeError(f"{type(env).__name__} does not tell its state: it has no state_dict()")
        counts = {"returns": self._returns.copy(), "lengths": self._lengths.copy()}
        return {"env": env.state_dict(), **counts}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from where :meth:`state_dict` was asked; no ``reset`` is needed.

        Raises:
            TypeError: the batch has no ``load_state_dict()``.
            ValueError: it is not the state of such a batch.
        """
        env: Any = self.env
        if not hasattr(env, "load_state_dict"):
            raise TypeError(f"{type(env).__name__} does not take a state: it has no load_state_dict()")
        returns = finite_array("returns", entry(state, "returns"), self._returns.shape)
        lengths = whole_numbers(
            "lengths", entry(state, "lengths"), self._lengths.shape, 0, np.iinfo(np.intp).max
        )
        env.load_state_dict(entry(state, "env"))
        self._returns[:], self._lengths[:] = returns, lengths
        self.reset_infos = [{} for _ in range(self.num_envs)]
        self._reset_seeds()
        self._reset_options()

    def close(self) -> None:
        """Close the batched environment."""
        self.env.close()

    def get_images(self) -> Sequence[NDArray[np.uint8] | None]:
        """One RGB picture for each environment; needs ``render_mode="rgb_array"``."""
        frames: Any = self.env.render()
        return [None] * self.num_envs if frames is None else list(frames)

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """The batch's attribute, once for each index; wrappers are asked before the environment itself.

        Raises:
            AttributeError: the batch has none of that name.
            IndexError: there is no environment of that index.
        """
        holder = self.env if hasattr(self.env, attr_name) else self.env.unwrapped
        return [getattr(holder, attr_name) for _ in self._rows(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        """Set an attribute of the batch.

        Raises:
            ValueError: ``indices`` leaves environments out.
        """
        self._need_all(indices, "set an attribute")
        setattr(self.env.unwrapped, attr_name, value)

    def env_method(
        self, method_name: str, *method_args: Any, indices: VecEnvIndices = None, **method_kwargs: Any
    ) -> list[Any]:
        """Call a method of the batch once, and repeat its result for each environment.

        What ``render`` gives, and Gymnasium's ``call`` and ``get_attr`` of batches of single environments, is
        one result for each already.

        Raises:
            ValueError: ``indices`` leaves environments out, or the method is ``reset`` or ``step``: the
                episodes counted here would then be others than those under way.
            AttributeError: the batch has no such method.
            IndexError: there is no environment of an index.
        """
        if method_name in ("reset", "step"):
            raise ValueError(
                f"{method_name} is for all environments, and their episodes are counted here: call "
                f"{method_name}() itself, not env_method({method_name!r})"
            )
        self._need_all(indices, "call a method")
        result = self.get_attr(method_name, 0)[0](*method_args, **method_kwargs)
        if method_name in _ONE_FOR_EACH and isinstance(result, tuple) and len(result) == self.num_envs:
            return list(result)
        return [result] * self.num_envs

    def env_is_wrapped(
        self, wrapper_class: type[gym.Wrapper[Any, Any, Any, Any]], indices: VecEnvIndices = None
    ) -> list[bool]:
        """True for ``Monitor``, whose work this class does, and False for every other wrapper."""
        return [wrapper_class is Monitor for _ in self._rows(indices)]

    def _need_all(self, indices: VecEnvIndices, what: str) -> None:
        if sorted(self._rows(indices)) != list(range(self.num_envs)):
            raise ValueError(f"the {self.num_envs} environments are one batch: {what} for all or none")

    def _rows(self, indices: VecEnvIndices) -> list[int]:
        """The environments meant; negative ones count from the end."""
        asked, rows = list(self._get_indices(indices)), range(self.num_envs)
        if wrong := [index for index in asked if not -len(rows) <= index < len(rows)]:
            raise IndexError(f"there are {len(rows)} environments, 0 to {len(rows) - 1}: none is {wrong[0]}")
        return [rows[index] for index in asked]


def _row(infos: dict[str, Any], row: int) -> dict[str, Any]:
    """One environment's info out of a batch's, in which ``_name`` tells which rows have ``name``."""
    info = {}
    for name, value in infos.items():
        mask = infos.get(f"_{name}")
        if mask is not None and mask[row]:
            info[name] = _row(value, row) if isinstance(value, dict) else _plain(value[row])
    return info


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value
