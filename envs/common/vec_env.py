"""Batched Gymnasium environments as Stable-Baselines3 ``VecEnv``; the only module of envs that needs SB3."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from copy import deepcopy
from importlib import import_module
from operator import index
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.envs.registration import load_env_creator
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv, VectorEnv, VectorWrapper
from numpy.typing import NDArray
from stable_baselines3.common.env_util import make_vec_env as sb3_make_vec_env
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices, VecEnvObs, VecEnvStepReturn

from plasticrl.arguments import check_count
from plasticrl.envs.common.state_dict import entry, finite_array, whole_numbers

_ONE_FOR_EACH = ("render", "call", "get_attr")  # VectorEnv methods that return one result per environment
_MASKS = "action_masks"  # sb3-contrib's name; a batch returns masks (num_envs, size)


def make_vec_env(
    env_id: str | Callable[..., gym.Env[Any, Any]],
    n_envs: int = 1,
    seed: int | None = None,
    start_index: int = 0,
    monitor_dir: str | os.PathLike[str] | None = None,
    wrapper_class: Callable[..., gym.Env[Any, Any]] | None = None,
    env_kwargs: dict[str, Any] | None = None,
    vec_env_cls: type[DummyVecEnv | SubprocVecEnv] | None = None,
    vec_env_kwargs: dict[str, Any] | None = None,
    monitor_kwargs: dict[str, Any] | None = None,
    wrapper_kwargs: dict[str, Any] | None = None,
    **more_env_kwargs: Any,
) -> VecEnv:
    """Make an SB3 ``VecEnv``, batched natively if possible; the arguments are those of SB3.

    An environment that is registered with a vector implementation that resets in the same step, as those of
    this package are, is stepped as one batch. All others are made by SB3's ``make_vec_env``, which steps one
    environment after another. Both kinds report finished episodes as SB3's ``Monitor`` does.

    Args:
        env_id: registered id, such as "PlasticMaze-v0"; "module:id" imports the module first. A class or
            function that makes an environment is also accepted, and always stepped by SB3.
        n_envs: number of environments, at least 1.
        seed: environment i gets ``seed + i`` at its first reset; None seeds at random.
        start_index: as in SB3, first number of the monitor files, and added to the action space's seed.
        monitor_dir: folder of the monitor files.
        wrapper_class: wrapper of each environment.
        env_kwargs: arguments of the environment.
        vec_env_cls: ``DummyVecEnv`` or ``SubprocVecEnv``.
        vec_env_kwargs: arguments of ``vec_env_cls``.
        monitor_kwargs: arguments of ``Monitor``.
        wrapper_kwargs: arguments of ``wrapper_class``.
        **more_env_kwargs: further arguments of the environment: ``size=5`` is ``env_kwargs={"size": 5}``.

    ``monitor_dir``, ``wrapper_class``, ``vec_env_cls``, ``vec_env_kwargs`` and ``monitor_kwargs`` apply to
    single environments: if one is given, SB3 steps the package's environments, too, several times slower.
    ``SubprocVecEnv`` without any other of these arguments is refused for an environment that can be batched,
    since processes would only slow it down.

    Raises:
        ValueError: ``n_envs`` is not a whole number above 0, or ``seed`` is negative.
        TypeError: an argument of the environment is given twice, or ``SubprocVecEnv`` is refused.
        gymnasium.error.Error: no environment is registered with this id.
    """
    n_envs, start_index = check_count("n_envs", n_envs), index(start_index)
    if seed is not None:
        seed = index(seed)  # Gymnasium does not accept numpy integers
        if seed < 0:
            raise ValueError(f"seed must be 0 or more, or None, got {seed}")
    options = {**(env_kwargs or {}), **more_env_kwargs}
    if twice := sorted((env_kwargs or {}).keys() & more_env_kwargs.keys()):
        raise TypeError(
            f"make_vec_env got {', '.join(twice)} twice, in env_kwargs and as an argument: give it once"
        )
    of_single_envs: dict[str, Any] = {
        "monitor_dir": None if monitor_dir is None else os.fspath(monitor_dir),
        "wrapper_class": wrapper_class,
        "vec_env_kwargs": vec_env_kwargs or None,
        "monitor_kwargs": monitor_kwargs or None,
    }
    in_processes = isinstance(vec_env_cls, type) and issubclass(vec_env_cls, SubprocVecEnv)
    batch = None
    if isinstance(env_id, str):
        module, colon, env_id = env_id.rpartition(":")
        if colon:
            import_module(module)
        if all(value is None for value in of_single_envs.values()) and (vec_env_cls is None or in_processes):
            batch = _native_batch(env_id, n_envs, options)
    if batch is not None and in_processes:
        batch.close()
        raise TypeError(
            f"{env_id} is stepped as one batch, which is faster than processes: leave out vec_env_cls, or "
            "call stable_baselines3.common.env_util.make_vec_env"
        )
    if batch is not None:
        batch.seed(seed)
        if seed is not None:
            batch.action_space.seed(seed + start_index)
        return batch
    return sb3_make_vec_env(
        env_id,
        n_envs=n_envs,
        seed=seed,
        start_index=start_index,
        env_kwargs=options,
        wrapper_kwargs=wrapper_kwargs,
        vec_env_cls=vec_env_cls,
        **of_single_envs,
    )


def _native_batch(env_id: str, n_envs: int, options: dict[str, Any]) -> VectorEnvAdapter | None:
    """Return the environment's own batch; None if it has none that resets in the same step."""
    spec = gym.registry.get(env_id)
    creator: Any = None if spec is None else spec.vector_entry_point
    if isinstance(creator, str):
        creator = load_env_creator(creator)
    # A class declares its mode; that of a function is known only after a call.
    mode = getattr(creator, "metadata", {}).get("autoreset_mode")
    if creator is None or mode not in (None, AutoresetMode.SAME_STEP):
        return None
    env = gym.make_vec(env_id, num_envs=n_envs, vectorization_mode="vector_entry_point", **options)
    if env.metadata.get("autoreset_mode") == AutoresetMode.SAME_STEP:
        return VectorEnvAdapter(env)
    env.close()
    return None


def as_vec_env(env: Any) -> Any:
    """Wrap a Gymnasium ``VectorEnv`` in a :class:`VectorEnvAdapter`; return anything else unchanged.

    Raises:
        ValueError: the ``VectorEnv`` does not reset in the same step.
    """
    return VectorEnvAdapter(env) if isinstance(env, VectorEnv) else env


class VectorEnvAdapter(VecEnv):
    """Adapter that presents a Gymnasium ``VectorEnv`` with ``AutoresetMode.SAME_STEP`` as an SB3 ``VecEnv``.

    At the end of an episode, its info holds the environment's own final info, ``terminal_observation``,
    ``TimeLimit.truncated`` and ``episode`` (return "r", length "l", seconds "t", as from ``Monitor``).
    The package's learners wrap a ``VectorEnv`` themselves; for SB3's ``evaluate_policy`` wrap it first.

    The environments are one object: an attribute is the same for all, and can only be set for all. If
    ``env`` is Gymnasium's own batch of single environments, attributes and methods that the batch lacks are
    looked up in these.

    Args:
        env: the batched environment, possibly wrapped. ``gym.make_vec`` makes one of any registered
            environment: ``gym.make_vec("CartPole-v1", 4, vectorization_mode="sync",
            vector_kwargs={"autoreset_mode": "SameStep"})``.

    Raises:
        ValueError: ``env`` does not reset in the same step.
    """

    def __init__(self, env: VectorEnv[Any, Any, Any]) -> None:
        mode = env.metadata.get("autoreset_mode")
        if mode != AutoresetMode.SAME_STEP:
            raise ValueError(
                f"VectorEnvAdapter: {env} must declare AutoresetMode.SAME_STEP in its metadata, but declares "
                f"{mode}: use plasticrl.envs.make_vec_env, or gym.make_vec(..., vectorization_mode='sync', "
                "vector_kwargs={'autoreset_mode': 'SameStep'})"
            )
        self.env = env
        # Gymnasium's own batches with copy=False write into the observations that they returned before.
        self._reuses_observations = not getattr(env.unwrapped, "copy", True)
        super().__init__(env.num_envs, env.single_observation_space, env.single_action_space)
        self.metadata = env.metadata
        self._began = time.time()
        self._actions: NDArray[Any] = np.empty(0)
        self._returns = np.zeros(env.num_envs)
        self._lengths = np.zeros(env.num_envs, dtype=np.int64)

    def reset(self) -> VecEnvObs:
        """Start new episodes with the seeds and options set before; return the observations."""
        if any(options != self._options[0] for options in self._options):
            raise ValueError("the environments are one batch: set_options needs the same options for all")
        observation: VecEnvObs
        first = self._seeds[0]
        seed = None if first is None else int(first)  # Gymnasium does not accept numpy integers
        observation, infos = self.env.reset(seed=seed, options=self._options[0] or None)
        self.reset_infos = self._rows_of(infos)
        self._reset_seeds()
        self._reset_options()
        self._returns[:] = 0
        self._lengths[:] = 0
        return deepcopy(observation) if self._reuses_observations else observation

    def step_async(self, actions: NDArray[Any]) -> None:
        """Store the actions (n_envs, ...) for ``step_wait``."""
        self._actions = actions

    def step_wait(self) -> VecEnvStepReturn:
        """Step the batch; return observations, rewards (n_envs,) float32, dones (n_envs,), and infos."""
        observation, reward, terminated, truncated, batch_info = self.env.step(self._actions)
        done = np.logical_or(terminated, truncated)
        self._returns += reward
        self._lengths += 1
        if batch_info or np.count_nonzero(done):
            final = {name: batch_info.pop(name, None) for name in ("final_info", "final_obs")}
            infos = self._rows_of(batch_info)
            for row in np.flatnonzero(done).tolist():
                self.reset_infos[row] = infos[row]
                infos[row] = self._final_info(row, final, bool(truncated[row] and not terminated[row]))
        else:
            infos = [{} for _ in range(self.num_envs)]
        if self._reuses_observations:
            observation = deepcopy(observation)
        return observation, np.array(reward, dtype=np.float32), done, infos

    def _final_info(self, row: int, final: dict[str, Any], truncated: bool) -> dict[str, Any]:
        info = _row(final["final_info"] or {}, row, self.num_envs)
        if final["final_obs"] is not None:
            info["terminal_observation"] = _observation(final["final_obs"], row)
        info["TimeLimit.truncated"] = truncated
        if "episode" not in info:  # else a Monitor inside has written it
            info["episode"] = {
                "r": round(float(self._returns[row]), 6),
                "l": int(self._lengths[row]),
                "t": round(time.time() - self._began, 6),
            }
        self._returns[row] = 0
        self._lengths[row] = 0
        return info

    def _rows_of(self, infos: dict[str, Any]) -> list[dict[str, Any]]:
        return [_row(infos, row, self.num_envs) for row in range(self.num_envs)]

    def state_dict(self) -> dict[str, Any]:
        """Return the complete state: the batch's ``state_dict()``, and returns and lengths of its episodes.

        Raises:
            TypeError: the batch has no ``state_dict()``.
            gymnasium.error.ResetNeeded: before the first ``reset``.
        """
        env: Any = self.env
        if not hasattr(env, "state_dict"):
            raise TypeError(f"{type(env).__name__} cannot save its state: it has no state_dict()")
        counts = {"returns": self._returns.copy(), "lengths": self._lengths.copy()}
        return {"env": env.state_dict(), **counts}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a state that :meth:`state_dict` returned; no ``reset`` is needed.

        Raises:
            TypeError: the batch has no ``load_state_dict()``.
            ValueError: it is not the state of such a batch.
        """
        env: Any = self.env
        if not hasattr(env, "load_state_dict"):
            raise TypeError(f"{type(env).__name__} cannot load a state: it has no load_state_dict()")
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
        """Return one RGB picture for each environment; needs ``render_mode="rgb_array"``."""
        frames: Any = self.env.render()
        return [None] * self.num_envs if frames is None else list(frames)

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """Return an attribute once for each index; wrappers are searched before the environment itself.

        Raises:
            AttributeError: neither the batch nor the single environments in it have the attribute.
            IndexError: there is no environment with such an index.
        """
        rows = self._rows(indices)
        if self._is_of_singles(attr_name):
            each = self._singles.get_attr(attr_name)
            return [each[row] for row in rows]
        value = getattr(self._holder(attr_name), attr_name)
        return [value for _ in rows]

    def has_attr(self, attr_name: str) -> bool:
        """Return True if there is such an attribute; unlike ``get_attr``, call no method of single ones."""
        return hasattr(self._holder(attr_name), attr_name) or self._is_of_singles(attr_name)

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        """Set an attribute of the batch, or of each single environment in it.

        Raises:
            ValueError: ``indices`` does not name all environments.
        """
        self._need_all(indices, "set an attribute")
        if self._singles is None:
            setattr(self.env.unwrapped, attr_name, value)
        else:
            self._singles.set_attr(attr_name, [value] * self.num_envs)

    def env_method(
        self, method_name: str, *method_args: Any, indices: VecEnvIndices = None, **method_kwargs: Any
    ) -> list[Any]:
        """Call a method of the batch once, and repeat its result for each environment.

        A method that only the single environments in the batch have is called for each of them. ``render``,
        Gymnasium's ``call`` and ``get_attr`` of batches of single environments, and ``action_masks``, already
        return one result per environment.

        Raises:
            ValueError: ``indices`` does not name all environments, or the method is ``reset`` or ``step``,
                which would make the adapter's episode counts wrong.
            AttributeError: the batch has no such method.
            IndexError: there is no environment with such an index.
        """
        if method_name in ("reset", "step"):
            raise ValueError(
                f"env_method({method_name!r}) would bypass the count of episodes: call {method_name}() "
                "instead"
            )
        self._need_all(indices, "call a method")
        if self._is_of_singles(method_name):
            return list(self._singles.call(method_name, *method_args, **method_kwargs))
        result = self.get_attr(method_name, 0)[0](*method_args, **method_kwargs)
        if method_name in _ONE_FOR_EACH and isinstance(result, tuple) and len(result) == self.num_envs:
            return list(result)
        if method_name == _MASKS and isinstance(result, (np.ndarray, list, tuple)):
            return list(result)
        return [result] * self.num_envs

    def env_is_wrapped(
        self, wrapper_class: type[gym.Wrapper[Any, Any, Any, Any]], indices: VecEnvIndices = None
    ) -> list[bool]:
        """Return True for ``Monitor``, since this class does the same, and False for all other wrappers."""
        return [wrapper_class is Monitor for _ in self._rows(indices)]

    def _holder(self, name: str) -> Any:
        """Return the outermost wrapper that has an attribute, or else the environment itself."""
        holder: Any = self.env
        while isinstance(holder, VectorWrapper) and not hasattr(holder, name):
            holder = holder.env
        return holder

    @property
    def _singles(self) -> Any:
        """The batch if it is Gymnasium's own batch of single environments, else None."""
        batch = self.env.unwrapped
        return batch if isinstance(batch, (SyncVectorEnv, AsyncVectorEnv)) else None

    def _is_of_singles(self, name: str) -> bool:
        """Return True if only the single environments have ``name``; a missing one would end a worker."""
        if self._singles is None or hasattr(self._holder(name), name):
            return False
        return all(self._singles.call("has_wrapper_attr", name))

    def _need_all(self, indices: VecEnvIndices, what: str) -> None:
        if sorted(self._rows(indices)) != list(range(self.num_envs)):
            raise ValueError(f"the {self.num_envs} environments are one batch: {what} for all or none")

    def _rows(self, indices: VecEnvIndices) -> list[int]:
        """Return the selected environments; negative indices count from the end."""
        given, rows = list(self._get_indices(indices)), range(self.num_envs)
        if wrong := [index for index in given if not -len(rows) <= index < len(rows)]:
            raise IndexError(f"there are {len(rows)} environments, 0 to {len(rows) - 1}: none is {wrong[0]}")
        return [rows[index] for index in given]


def _row(infos: dict[str, Any], row: int, num_envs: int) -> dict[str, Any]:
    """Return one environment's info out of a batch's.

    The mask ``_name`` marks the rows that have ``name``; a value without mask applies to all rows.
    """
    info = {}
    for name, value in infos.items():
        mask = infos.get(f"_{name}")
        if mask is None and (name.startswith("_") or not _is_for_each(value, num_envs)):
            continue
        if mask is None or mask[row]:
            info[name] = _row(value, row, num_envs) if isinstance(value, dict) else _plain(value[row])
    return info


def _is_for_each(value: Any, num_envs: int) -> bool:
    if isinstance(value, (np.ndarray, list, tuple)):
        return np.ndim(value) > 0 and len(value) == num_envs
    return isinstance(value, dict)


def _observation(batch: Any, row: int) -> Any:
    """Return one environment's observation out of a sequence of observations or a stacked one."""
    if isinstance(batch, dict):
        return {name: part[row] for name, part in batch.items()}
    return tuple(part[row] for part in batch) if isinstance(batch, tuple) else batch[row]


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value
