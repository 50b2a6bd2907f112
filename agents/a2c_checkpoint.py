"""The content of a recurrent agent's checkpoint."""

from __future__ import annotations

import inspect
import platform
import warnings
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np
import stable_baselines3
import torch
from torch import Tensor

from plasticrl.agents.a2c_settings import PLAIN_SETTINGS, checked_settings
from plasticrl.agents.argument_checks import check_whole, plain_number, whole_steps
from plasticrl.agents.env_state import env_state
from plasticrl.agents.optimizer_state import frozen, optimizer_state, parameters_of
from plasticrl.agents.plain_rate import plain_rate
from plasticrl.agents.plain_spaces import plain_space
from plasticrl.agents.plain_tree import Absent, encode, held, holds
from plasticrl.agents.random_states import random_states

if TYPE_CHECKING:
    from plasticrl.agents.resumable import ResumableAgent

FORMAT, VERSION = "plasticrl.RecurrentA2C", 2
COUNTERS = (
    "num_timesteps",
    "_n_updates",
    "_episode_num",
    "_total_timesteps",
    "_num_timesteps_at_start",
    "_n_skipped",
)
ROUNDED_UP = ("_total_timesteps", "_num_timesteps_at_start")  # of these, users give learn() any number
BUFFERS = ("ep_info_buffer", "ep_success_buffer")
_EXCLUDABLE = (*PLAIN_SETTINGS, "policy_kwargs", "_last_obs", "env", "random_states", *BUFFERS)


def pack(agent: ResumableAgent, exclude: Iterable[str] = ()) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """All that training needs to go on, as tensors and plain data.

    Args:
        agent: to save.
        exclude: what to leave out: names of settings, ``"_last_obs"`` (the episodes that are under way),
            ``"env"``, ``"random_states"``, ``"ep_info_buffer"``, ``"ep_success_buffer"``.

    Raises:
        TypeError: a file cannot hold the spaces, or something in the policy.
        ValueError: there is no such thing to exclude, or a setting is not allowed; the text names it.
    """
    exclude = set(exclude)
    unknown = exclude - set(_EXCLUDABLE)
    if unknown:
        raise ValueError(
            f"exclude: there is no {', '.join(map(repr, sorted(unknown)))} to leave out; "
            f"there is {', '.join(_EXCLUDABLE)}"
        )
    tensors: dict[str, Tensor] = {}
    parts = {
        "policy": parameters_of(agent.policy),
        "frozen": frozen(agent.policy),
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
    """The constructor's arguments; what a file cannot hold is marked as absent.

    Raises:
        ValueError: one was changed to what the constructor does not allow; the text names it.
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
    """Values of the names in ``PLAIN_SETTINGS``, as they are."""
    return {
        name: getattr(agent, "_stats_window_size" if name == "stats_window_size" else name)
        for name in PLAIN_SETTINGS
    }


def own_policy_kwargs(agent: ResumableAgent) -> dict[str, Any]:
    """Arguments that make this policy again, with the optimiser that it has, which may have been replaced."""
    optimizer, kwargs = agent.policy.optimizer, dict(agent.policy_kwargs)
    if (
        agent.policy_class in agent.policy_aliases.values()
        and type(optimizer) is not agent.policy.optimizer_class
    ):
        known = inspect.signature(type(optimizer)).parameters
        options = {
            name: value for name, value in optimizer.defaults.items() if name in known and name != "lr"
        }
        kwargs |= {"optimizer_class": type(optimizer), "optimizer_kwargs": options}
    return kwargs


def _counter(name: str, value: Any) -> int:
    return whole_steps(name, value) if name in ROUNDED_UP else check_whole(name, value, least=0)


def _episodes(agent: ResumableAgent) -> dict[str, Any] | None:
    """Where the episodes are that are under way, as the agent knows it."""
    if agent._last_obs is None:
        return None
    state = agent.core_state
    return {
        "last_obs": agent._last_obs,
        "starts": np.asarray(agent._last_episode_starts, dtype=np.bool_),
        "core": None if state is None else dict(state._asdict()),
    }


def _random(agent: ResumableAgent) -> dict[str, Any] | None:
    if agent._resume is not None:  # what was loaded is not used before it is learned on
        return agent._resume.random_states
    return random_states(agent.device)


def _env(agent: ResumableAgent, tensors: dict[str, Tensor], *, left_out: bool) -> Any:
    """The environments' state; where it cannot be held, the reason why."""
    found: dict[str, Tensor] = {}
    state: Any
    try:
        if agent._last_obs is None:
            state = None
        elif left_out:
            state = Absent("it was left out of the file")
        elif agent._resume is not None:
            state = agent._resume.env
        elif agent.env is None:
            state = Absent("there was no environment")
        else:
            state = env_state(agent.env)
        data = encode(state, found, "env")
    except Exception as error:  # whatever an environment raises here, the training is worth more
        return encode(Absent(str(error) or repr(error)), {}, "env")
    tensors.update(found)
    return data


def _holdable(name: str, buffer: Any) -> list[Any] | None:
    """The part of a log buffer that a file can hold; a warning names the rest."""
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
        warnings.warn(f"no file holds {found} of {name}: they are left out", stacklevel=5)
    return kept


def _versions() -> dict[str, str]:
    modules = (gym, np, stable_baselines3, torch)
    return {"python": platform.python_version(), **{m.__name__: str(m.__version__) for m in modules}}
