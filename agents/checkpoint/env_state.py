"""The state of the training environments, so that a run can go on within its episodes."""

from __future__ import annotations

from typing import Any, Protocol, TypeGuard, runtime_checkable

import gymnasium as gym
import numpy as np
from gymnasium.wrappers import ClipAction, FlattenObservation, OrderEnforcing, PassiveEnvChecker, TimeLimit
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.running_mean_std import RunningMeanStd
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, VecNormalize, VecTransposeImage

# What each wrapper remembers within an episode, with its types. Monitor's lists of past episodes are left
# out: they grow without end, and nothing in training reads them.
_WRAPPERS: dict[type, dict[str, tuple[type, ...]]] = {
    Monitor: {"rewards": (list,), "needs_reset": (bool,), "total_steps": (int,)},
    TimeLimit: {"_elapsed_steps": (int, type(None))},
    OrderEnforcing: {"_has_reset": (bool,)},
    PassiveEnvChecker: {},
    FlattenObservation: {},
    ClipAction: {},
}


@runtime_checkable
class TellsState(Protocol):
    """An environment whose state can be taken and given: those of this package, and any with these two."""

    def state_dict(self) -> dict[str, Any]:
        """Plain values, lists, dicts and arrays."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there; ValueError where ``state`` does not fit."""
        ...


class EnvStateError(ValueError):
    """The state of an environment cannot be taken, or does not fit; the text says why."""


def env_state(env: VecEnv) -> dict[str, Any]:
    """The state of environments within their episodes, as nested plain values and arrays.

    Taken are environments with ``state_dict()`` and ``load_state_dict()``, as one batch or inside SB3's
    ``DummyVecEnv``, under wrappers that are known here, and SB3's ``VecNormalize`` and
    ``VecTransposeImage`` around them.

    Raises:
        EnvStateError: the state of one of them cannot be taken.
    """
    kind = type(env).__name__
    if _tells(env):
        return {"kind": kind, "state": _asked(env)}
    if isinstance(env, DummyVecEnv) and type(env) is DummyVecEnv:
        return {"kind": kind, "envs": [_wrapped_state(one) for one in env.envs]}
    if isinstance(env, VecTransposeImage) and type(env) is VecTransposeImage:
        return {"kind": kind, "inside": env_state(env.venv)}
    if isinstance(env, VecNormalize) and type(env) is VecNormalize:
        means = {name: [rms.mean, rms.var, rms.count] for name, rms in _running_means(env).items()}
        return {"kind": kind, "inside": env_state(env.venv), "means": means, "returns": env.returns}
    raise EnvStateError(f"{kind} does not tell its state")


def restore_env_state(env: VecEnv, saved: Any) -> None:
    """Let the environments go on where :func:`env_state` was asked; they need no ``reset``.

    Args:
        env: made as those that were asked.
        saved: what was told.

    Raises:
        EnvStateError: it does not fit; the environments must be reset then.
    """
    try:
        _restore(env, saved)
    except EnvStateError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise EnvStateError(f"the saved state does not fit ({error})") from error


def _restore(env: VecEnv, saved: Any) -> None:
    _check_kind(type(env).__name__, saved["kind"])
    if _tells(env):
        env.load_state_dict(saved["state"])
        return
    if isinstance(env, DummyVecEnv):
        if len(saved["envs"]) != env.num_envs:
            raise EnvStateError(f"{len(saved['envs'])} environments were saved, here are {env.num_envs}")
        for one, its in zip(env.envs, saved["envs"], strict=True):
            _restore_wrapped(one, its)
        env._reset_seeds()  # they are for the next reset, which the saved ones have behind them
        return
    assert isinstance(env, (VecTransposeImage, VecNormalize))
    _restore(env.venv, saved["inside"])
    if isinstance(env, VecNormalize):
        for name, rms in _running_means(env).items():
            mean, var, count = saved["means"][name]
            rms.mean, rms.var, rms.count = _like(rms.mean, mean), _like(rms.var, var), float(count)
        env.returns = _like(env.returns, saved["returns"])


def _wrapped_state(env: gym.Env[Any, Any]) -> list[Any]:
    """The state of each wrapper, from the outermost, then of the environment."""
    if _tells(env):
        return [[type(env).__name__, _asked(env)]]
    if isinstance(env, gym.Wrapper) and type(env) in _WRAPPERS:
        own = {name: getattr(env, name) for name in _WRAPPERS[type(env)]}
        return [[type(env).__name__, own], *_wrapped_state(env.env)]
    raise EnvStateError(f"{type(env).__name__} does not tell its state")


def _restore_wrapped(env: gym.Env[Any, Any], saved: list[Any]) -> None:
    kind, state = saved[0]
    _check_kind(type(env).__name__, kind)
    if _tells(env):
        env.load_state_dict(state)
        return
    assert isinstance(env, gym.Wrapper)
    _restore_wrapped(env.env, saved[1:])
    for name, types in _WRAPPERS[type(env)].items():
        if not isinstance(state[name], types):
            raise EnvStateError(f"{kind}'s {name} cannot be {state[name]!r}")
        setattr(env, name, state[name])
    if isinstance(env, PassiveEnvChecker):  # it would compare the next step with a reset that was not here
        env.checked_step = env.checked_data_reuse = True


def _tells(env: Any) -> TypeGuard[TellsState]:
    """Whether the environment itself tells its state, and not one that it wraps and asks for it."""
    return hasattr(type(env), "state_dict") and isinstance(env, TellsState)


def _asked(env: TellsState) -> dict[str, Any]:
    try:
        return env.state_dict()
    except (TypeError, ValueError, NotImplementedError, gym.error.Error) as error:
        raise EnvStateError(f"{type(env).__name__} does not tell its state ({error})") from error


def _check_kind(here: str, saved: Any) -> None:
    if saved != here:
        raise EnvStateError(f"the state of {saved} was saved, here is {here}")


def _running_means(env: VecNormalize) -> dict[str, RunningMeanStd]:
    """VecNormalize's statistics of returns, and of observations: one, one for each key, or none."""
    of_obs = getattr(env, "obs_rms", {})
    by_key = of_obs if isinstance(of_obs, dict) else {"": of_obs}
    return {"returns": env.ret_rms, **{f"observation {key}": rms for key, rms in by_key.items()}}


def _like(old: Any, new: Any) -> Any:
    if np.shape(new) != np.shape(old):
        raise EnvStateError(f"an array of shape {np.shape(new)} was saved, here it is {np.shape(old)}")
    return np.array(new, dtype=np.float64)
