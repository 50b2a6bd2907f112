"""Saving and restoring the state of the training environments, so that a run resumes within its episodes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol, TypeGuard, runtime_checkable

import gymnasium as gym
import numpy as np
from gymnasium.wrappers import ClipAction, FlattenObservation, OrderEnforcing, PassiveEnvChecker, TimeLimit
from numpy.typing import NDArray
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.running_mean_std import RunningMeanStd
from stable_baselines3.common.vec_env import (
    DummyVecEnv,
    VecEnv,
    VecFrameStack,
    VecNormalize,
    VecTransposeImage,
    unwrap_vec_normalize,
)

# Attributes that each wrapper keeps within an episode, with their types. Monitor's lists of past episodes are
# left out: they grow without bound, and training does not read them.
_WRAPPERS: dict[type, dict[str, tuple[type, ...]]] = {
    Monitor: {"rewards": (list,), "needs_reset": (bool,), "total_steps": (int,)},
    TimeLimit: {"_elapsed_steps": (int, type(None))},
    OrderEnforcing: {"_has_reset": (bool,)},
    PassiveEnvChecker: {},
    FlattenObservation: {},
    ClipAction: {},
}


@runtime_checkable
class StatefulEnv(Protocol):
    """An environment whose state can be saved and restored, such as those of this package."""

    def state_dict(self) -> dict[str, Any]:
        """Return the state as plain values, lists, dicts and arrays."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a state; raise ValueError if ``state`` does not fit."""
        ...


class EnvStateError(ValueError):
    """The state of an environment cannot be saved, or does not fit; the message says why."""


def env_state(env: VecEnv) -> dict[str, Any]:
    """Return the state of environments within their episodes, as nested plain values and arrays.

    Supported are environments with ``state_dict()`` and ``load_state_dict()``, as one batch or inside SB3's
    ``DummyVecEnv``, in the wrappers listed above, and inside SB3's ``VecNormalize``, ``VecFrameStack`` and
    ``VecTransposeImage``. The running means of ``VecNormalize`` are returned for any environments.

    Raises:
        EnvStateError: an environment or a wrapper is not supported, and there are no running means.
    """
    kind = type(env).__name__
    if _has_state(env):
        return {"kind": kind, "state": _state_of(env)}
    if isinstance(env, DummyVecEnv) and type(env) is DummyVecEnv:
        return {"kind": kind, "envs": [_wrapped_state(one) for one in env.envs]}
    if isinstance(env, VecTransposeImage) and type(env) is VecTransposeImage:
        return {"kind": kind, "inside": env_state(env.venv)}
    if isinstance(env, VecNormalize) and type(env) is VecNormalize:
        means = {name: [rms.mean, rms.var, rms.count] for name, rms in _running_means(env).items()}
        saved: dict[str, Any] = {"kind": kind, "means": means, "returns": env.returns}
        try:
            return {**saved, "inside": env_state(env.venv)}
        except EnvStateError as error:
            return {**saved, "inside": None, "reason": str(error)}
    if isinstance(env, VecFrameStack) and type(env) is VecFrameStack:
        return {"kind": kind, "inside": env_state(env.venv), "stacks": dict(_stacks(env))}
    raise EnvStateError(f"{kind} cannot save its state")


def restore_env_state(env: VecEnv, saved: Any) -> None:
    """Restore a state that :func:`env_state` returned; no ``reset`` is needed.

    Args:
        env: environments of the same kind as the saved ones.
        saved: the saved state.

    Raises:
        EnvStateError: the state does not fit; the environments must be reset before use.
    """
    with _misfits():
        _restore(env, saved)


def _restore(env: VecEnv, saved: Any) -> None:
    _check_kind(type(env).__name__, saved["kind"])
    if _has_state(env):
        env.load_state_dict(saved["state"])
        return
    if isinstance(env, DummyVecEnv):
        if len(saved["envs"]) != env.num_envs:
            raise EnvStateError(
                f"the saved state is of {len(saved['envs'])} environments, not of {env.num_envs}"
            )
        for one, its in zip(env.envs, saved["envs"], strict=True):
            _restore_wrapped(one, its)
        env._reset_seeds()  # pending seeds are for the next reset, which the saved state has already passed
        return
    assert isinstance(env, (VecTransposeImage, VecFrameStack, VecNormalize))
    if isinstance(env, VecNormalize):
        _set_means(env, saved)
        if saved["inside"] is None:
            raise EnvStateError(saved["reason"])
    _restore(env.venv, saved["inside"])
    if isinstance(env, VecNormalize):
        env.returns = _like(env.returns, saved["returns"])
    if isinstance(env, VecFrameStack):
        for name, stack in _stacks(env).items():
            stack[...] = _like(stack, saved["stacks"][name])


def restore_means(env: VecEnv, saved: Any) -> None:
    """Restore only the running means of a ``VecNormalize``, to evaluate an agent in other environments.

    Args:
        env: environments inside a ``VecNormalize``.
        saved: a state that :func:`env_state` returned. One without means has no effect, as of an agent that
            was never trained.

    Raises:
        EnvStateError: the means do not fit.
    """
    normalized, means = unwrap_vec_normalize(env), means_in(saved)
    if normalized is not None and means is not None:
        with _misfits():
            _set_means(normalized, means)


def means_in(saved: Any) -> dict[str, Any] | None:
    """Return the part of a state that holds the running means of a ``VecNormalize``, if there is one."""
    while isinstance(saved, dict) and saved.get("kind") != VecNormalize.__name__:
        saved = saved.get("inside")
    return saved if isinstance(saved, dict) else None


@contextmanager
def _misfits() -> Iterator[None]:
    """Turn the errors of a state that does not fit into an EnvStateError."""
    try:
        yield
    except EnvStateError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise EnvStateError(f"the saved state does not fit ({error})") from error


def _set_means(env: VecNormalize, saved: dict[str, Any]) -> None:
    for name, rms in _running_means(env).items():
        mean, var, count = saved["means"][name]
        rms.mean, rms.var, rms.count = _like(rms.mean, mean), _like(rms.var, var), float(count)


def _wrapped_state(env: gym.Env[Any, Any]) -> list[Any]:
    """Return the state of each wrapper, from the outermost inwards, and then that of the environment."""
    if _has_state(env):
        return [[type(env).__name__, _state_of(env)]]
    if isinstance(env, gym.Wrapper) and type(env) in _WRAPPERS:
        own = {name: getattr(env, name) for name in _WRAPPERS[type(env)]}
        return [[type(env).__name__, own], *_wrapped_state(env.env)]
    raise EnvStateError(f"{type(env).__name__} cannot save its state")


def _restore_wrapped(env: gym.Env[Any, Any], saved: list[Any]) -> None:
    kind, state = saved[0]
    _check_kind(type(env).__name__, kind)
    if _has_state(env):
        env.load_state_dict(state)
        return
    assert isinstance(env, gym.Wrapper)
    _restore_wrapped(env.env, saved[1:])
    for name, types in _WRAPPERS[type(env)].items():
        if not isinstance(state[name], types):
            raise EnvStateError(f"{kind}'s {name} cannot be {state[name]!r}")
        setattr(env, name, state[name])
    if isinstance(env, PassiveEnvChecker):  # it would compare the next step with a reset that it never saw
        env.checked_step = env.checked_data_reuse = True


def _has_state(env: Any) -> TypeGuard[StatefulEnv]:
    """Return True if the class itself has ``state_dict``; a wrapper may only forward it to an inner env."""
    return hasattr(type(env), "state_dict") and isinstance(env, StatefulEnv)


def _state_of(env: StatefulEnv) -> dict[str, Any]:
    try:
        return env.state_dict()
    except (TypeError, ValueError, NotImplementedError, gym.error.Error) as error:
        raise EnvStateError(f"{type(env).__name__} cannot save its state ({error})") from error


def _check_kind(here: str, saved: Any) -> None:
    if saved != here:
        raise EnvStateError(f"the saved state is of {saved}, but the environment is {here}")


def _running_means(env: VecNormalize) -> dict[str, RunningMeanStd]:
    """Return VecNormalize's statistics of returns, and those of observations: none, one, or one per key."""
    of_obs = getattr(env, "obs_rms", {})
    by_key = of_obs if isinstance(of_obs, dict) else {"": of_obs}
    return {"returns": env.ret_rms, **{f"observation {key}": rms for key, rms in by_key.items()}}


def _stacks(env: VecFrameStack) -> dict[str, NDArray[Any]]:
    """Return the last observations that VecFrameStack holds: of the whole, or one array per key."""
    stacked = env.stacked_obs
    parts = getattr(stacked, "sub_stacked_observations", {"": stacked})
    return {key: part.stacked_obs for key, part in parts.items()}


def _like(old: Any, new: Any) -> Any:
    if np.shape(new) != np.shape(old):
        raise EnvStateError(f"the saved array has shape {np.shape(new)}, not {np.shape(old)}")
    return np.array(new, dtype=np.asarray(old).dtype)
