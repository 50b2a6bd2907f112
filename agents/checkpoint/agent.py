"""The content of a recurrent agent's checkpoint."""

from __future__ import annotations

import inspect
import platform
import warnings
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np
import stable_baselines3
import torch
from stable_baselines3.common.policies import BasePolicy
from torch import Tensor

from plasticrl.agents.checkpoint.env_state import env_state
from plasticrl.agents.checkpoint.optimizer import optimizer_state, pack_network, replaced_in_core
from plasticrl.agents.checkpoint.random_state import random_states
from plasticrl.agents.checkpoint.spaces import plain_space
from plasticrl.agents.checkpoint.tensor_file import TensorFileError
from plasticrl.agents.checkpoint.tree import Absent, encode, held, holds, plain_rate, rate_from_plain
from plasticrl.arguments import (
    MOST_STEPS,
    check_flag,
    check_learning_rate,
    check_max_grad_norm,
    check_max_grad_ratio,
    check_number,
    check_whole,
    plain_number,
    whole_steps,
)
from plasticrl.nn.core import positive

if TYPE_CHECKING:
    from plasticrl.agents.recurrent.resumable import ResumableAgent


_MOST_SEED = 2**32 - 1  # numpy's
# Each check returns the plain value that is stored, or raises an error that names the setting.
_CHECKS: dict[str, Callable[[str, Any], Any]] = {
    "n_steps": lambda name, value: positive(name, plain_number(value)),
    "gamma": partial(check_number, most=1),
    "gae_lambda": partial(check_number, most=1),
    "ent_coef": check_number,
    "concentration_coef": check_number,
    "vf_coef": check_number,
    "max_grad_norm": lambda _, value: check_max_grad_norm(value),
    "normalize_advantage": check_flag,
    "stats_window_size": partial(check_whole, least=0, most=MOST_STEPS),
    "verbose": check_whole,
    "seed": lambda name, value: None if value is None else check_whole(name, value, least=0, most=_MOST_SEED),
    "learning_rate": lambda _, value: check_learning_rate(value),
}
PLAIN_SETTINGS = (*_CHECKS, "max_grad_ratio")
_HELD = (*PLAIN_SETTINGS, "policy_class", "policy_kwargs")
_GIVEN = (*_HELD, "tensorboard_log")  # the log's folder is never taken from a file
_WHOLE = ("n_steps", "verbose", "seed", "stats_window_size")


def checked_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of ``PLAIN_SETTINGS`` as plain Python values.

    Raises:
        ValueError: a value is not allowed; the message names the setting.
    """
    found = {name: check(name, settings[name]) for name, check in _CHECKS.items()}
    return {
        **found,
        "max_grad_ratio": check_max_grad_ratio(settings["max_grad_ratio"], found["max_grad_norm"]),
    }


def own_copy(options: Any) -> Any:
    """Return a deep copy of nested options, with numpy's numbers converted to Python's."""
    if type(options) is dict:
        return {name: own_copy(value) for name, value in options.items()}
    if type(options) in (list, tuple):
        return type(options)(own_copy(value) for value in options)
    return plain_number(options)


def loaded_settings(
    saved: Any,
    custom_objects: dict[str, Any] | None,
    given: dict[str, Any],
    aliases: dict[str, type[BasePolicy]],
) -> dict[str, Any]:
    """Return the arguments of the agent's constructor, except env and device.

    Args:
        saved: the settings of the file.
        custom_objects: settings that replace those of the file.
        given: settings that replace those of the file, except that ``policy_kwargs`` only add to them.
        aliases: the policies that a file can name.

    Raises:
        TensorFileError: the file's settings are invalid.
        ValueError: a name is unknown, or a setting that a file cannot hold is not given.
    """
    custom = dict(custom_objects or {})
    if (schedule := custom.pop("lr_schedule", None)) is not None:  # SB3's examples give both
        custom.setdefault("learning_rate", schedule)
    for name in (*custom, *given):
        if name not in _GIVEN:
            raise ValueError(f"load: unknown setting {name!r}: choose from {', '.join(_GIVEN)}")
    replaced = {*custom, *given} - {"policy_kwargs"}
    try:
        found = {name: saved[name] for name in _HELD if name in saved and name not in replaced}
        if not isinstance(found.get("learning_rate"), Absent) and "learning_rate" in found:
            found["learning_rate"] = rate_from_plain(found["learning_rate"])
        for name in _WHOLE:
            if found.get(name) is not None and not isinstance(found[name], Absent):
                found[name] = check_whole(name, found[name])
        if not isinstance(found.get("policy_kwargs", {}), dict):
            raise TypeError("policy_kwargs are a JSON object")
    except (KeyError, TypeError, ValueError) as error:
        raise TensorFileError(
            f"settings in the file are incomplete or invalid ({error}): give another file"
        ) from error
    found |= custom
    if "policy_kwargs" in given:
        found["policy_kwargs"] = _completed(found.get("policy_kwargs", {}), given["policy_kwargs"])
    found |= {name: value for name, value in given.items() if name != "policy_kwargs"}
    _check_none_is_absent(found)
    policy = found.pop("policy_class")
    if isinstance(policy, str):
        if policy not in aliases:
            raise TensorFileError(f"unknown policy {policy!r} in the file: a file names {', '.join(aliases)}")
        policy = aliases[policy]
    return {"policy": policy, **found}


def _completed(saved: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """Return the saved policy_kwargs with absent ones filled in; as in SB3, the others must not differ."""
    for name, value in given.items():
        if name not in saved or not (isinstance(saved[name], Absent) or saved[name] == value):
            raise ValueError(
                f"policy_kwargs[{name!r}] is {value!r}, but the saved policy had "
                f"{saved.get(name, 'none')!r}: custom_objects=dict(policy_kwargs=...) would replace them all"
            )
    return saved | given


def _check_none_is_absent(found: dict[str, Any]) -> None:
    for name in _HELD:
        if name not in found:
            raise ValueError(f"the file does not hold {name}: give it, load(..., {name}=...)")
        if isinstance(found[name], Absent):
            raise ValueError(
                f"the saved agent's {name} was {found[name].what}, which a file cannot hold: "
                f"load(..., {name}=...)"
            )
    for name, value in found["policy_kwargs"].items():
        if isinstance(value, Absent):
            raise ValueError(
                f"the saved agent's {name} was {value.what}, which a file cannot hold: "
                f"load(..., policy_kwargs=dict({name}=...))"
            )


FORMAT, VERSION = "plasticrl.RecurrentA2C", 2
COUNTERS = (
    "num_timesteps",
    "_n_updates",
    "_episode_num",
    "_total_timesteps",
    "_num_timesteps_at_start",
    "_n_skipped",
)
ROUNDED_UP = ("_total_timesteps", "_num_timesteps_at_start")  # from learn(), which accepts any number
BUFFERS = ("ep_info_buffer", "ep_success_buffer")
_EXCLUDABLE = (*PLAIN_SETTINGS, "policy_kwargs", "_last_obs", "env", "random_states", *BUFFERS)


def pack(agent: ResumableAgent, exclude: Iterable[str] = ()) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the content of an agent's checkpoint, as tensors and plain data.

    Args:
        agent: the agent to save.
        exclude: parts to leave out: names of settings, ``"_last_obs"`` (the current episodes),
            ``"env"``, ``"random_states"``, ``"ep_info_buffer"``, ``"ep_success_buffer"``.

    Raises:
        TypeError: a file cannot hold the spaces or a part of the policy.
        ValueError: ``exclude`` names an unknown part, or a setting is not allowed; the message names it.
    """
    exclude = set(exclude)
    unknown = exclude - set(_EXCLUDABLE)
    if unknown:
        raise ValueError(
            f"exclude: unknown part {', '.join(map(repr, sorted(unknown)))}: "
            f"choose from {', '.join(_EXCLUDABLE)}"
        )
    tensors: dict[str, Tensor] = {}
    parts = {
        **pack_network(agent.policy),
        "optimizer": optimizer_state(agent.policy, agent.policy.optimizer),
        "spaces": [plain_space(agent.observation_space), plain_space(agent.action_space)],
        "settings": {name: value for name, value in _settings(agent).items() if name not in exclude},
        "counters": {name: _counter(name, getattr(agent, name)) for name in (*COUNTERS, "n_envs")},
        "progress": float(agent._current_progress_remaining),
        "usual_grad_norm": agent.usual_gradient.usual,
        "episodes": None if "_last_obs" in exclude else _episodes(agent),
        "random_states": None if "random_states" in exclude else _random(agent),
        "versions": _versions(),
        **{name: None if name in exclude else _holdable(name, getattr(agent, name)) for name in BUFFERS},
    }
    data = {name: encode(part, tensors, name) for name, part in parts.items()}
    if "_last_obs" not in exclude:
        data["env"] = _env(agent, tensors, left_out="env" in exclude)
    return tensors, {"format": FORMAT, "version": VERSION, **data}


def _settings(agent: ResumableAgent) -> dict[str, Any]:
    """Return the constructor's arguments, with Absent for those that a file cannot hold.

    Raises:
        ValueError: a setting was changed to a value that the constructor refuses; the message names it.
    """
    settings = checked_settings({name: plain_number(value) for name, value in own_settings(agent).items()})
    rate = plain_rate(settings["learning_rate"])
    names = {cls: name for name, cls in agent.policy_aliases.items()}
    return {
        **settings,
        "learning_rate": Absent("a function") if rate is None else rate,
        "policy_class": names.get(agent.policy_class, Absent(str(agent.policy_class))),
        "policy_kwargs": {name: held(value) for name, value in own_policy_kwargs(agent).items()},
    }


def own_settings(agent: ResumableAgent) -> dict[str, Any]:
    """Return the agent's current values of ``PLAIN_SETTINGS``."""
    return {
        name: getattr(agent, "_stats_window_size" if name == "stats_window_size" else name)
        for name in PLAIN_SETTINGS
    }


def own_policy_kwargs(agent: ResumableAgent) -> dict[str, Any]:
    """Arguments that make this policy again, also where its optimiser, rule or backend was replaced."""
    optimizer, kwargs = agent.policy.optimizer, dict(agent.policy_kwargs)
    if agent.policy_class not in agent.policy_aliases.values():
        return kwargs
    kwargs |= replaced_in_core(agent.policy, agent.policy.core_kwargs)
    if type(optimizer) is not agent.policy.optimizer_class:
        known = inspect.signature(type(optimizer)).parameters
        options = {
            name: value for name, value in optimizer.defaults.items() if name in known and name != "lr"
        }
        kwargs |= {"optimizer_class": type(optimizer), "optimizer_kwargs": options}
    return kwargs


def _counter(name: str, value: Any) -> int:
    return whole_steps(name, value) if name in ROUNDED_UP else check_whole(name, value, least=0)


def _episodes(agent: ResumableAgent) -> dict[str, Any] | None:
    """Return the agent's part of the current episodes: last observations, starts and the core's state."""
    if agent._last_obs is None:
        return None
    state = agent.core_state
    return {
        "last_obs": agent._last_obs,
        "starts": np.asarray(agent._last_episode_starts, dtype=np.bool_),
        "core": None if state is None else dict(state._asdict()),
    }


def _random(agent: ResumableAgent) -> dict[str, Any] | None:
    if agent._resume is not None:  # a loaded state is applied by the next learn()
        return agent._resume.random_states
    return random_states(agent.device)


def _env(agent: ResumableAgent, tensors: dict[str, Tensor], *, left_out: bool) -> Any:
    """Return the encoded state of the environments, or Absent with the reason."""
    found: dict[str, Tensor] = {}
    state: Any
    try:
        if agent._last_obs is None:
            state = None
        elif left_out:
            state = Absent("the environments' state was left out of the file")
        elif agent._resume is not None:
            state = agent._resume.env
        elif agent.env is None:
            state = Absent("the saved agent had no environment")
        else:
            state = env_state(agent.env)
        data = encode(state, found, "env")
    except Exception as error:  # no error of an environment may prevent saving
        return encode(Absent(str(error) or repr(error)), {}, "env")
    tensors.update(found)
    return data


def _holdable(name: str, buffer: Any) -> list[Any] | None:
    """Return the part of a log buffer that a file can hold; warn about the rest."""
    if buffer is None:
        return None
    kept, left_out = [], set()
    for item in buffer:
        if holds(item):
            kept.append(item)
        elif isinstance(item, dict):
            kept.append({key: value for key, value in item.items() if holds({key: value})})
            left_out |= {f"{key!r} ({type(v).__name__})" for key, v in item.items() if not holds({key: v})}
        else:
            left_out.add(type(item).__name__)
    if left_out:
        found = ", ".join(sorted(left_out))
        warnings.warn(f"a file cannot hold {found} of {name}: left out", stacklevel=5)
    return kept


def _versions() -> dict[str, str]:
    modules = (gym, np, stable_baselines3, torch)
    return {"python": platform.python_version(), **{m.__name__: str(m.__version__) for m in modules}}
