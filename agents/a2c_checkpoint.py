"""What a checkpoint of a recurrent agent holds."""

from __future__ import annotations

import platform
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np
import stable_baselines3
import torch
from torch import Tensor

from plasticrl.agents.env_state import EnvStateError, env_state
from plasticrl.agents.optimizer_state import optimizer_state
from plasticrl.agents.plain_rate import plain_rate
from plasticrl.agents.plain_spaces import plain_space
from plasticrl.agents.plain_tree import Absent, NotPlainError, encode, held
from plasticrl.agents.random_states import random_states

if TYPE_CHECKING:
    from plasticrl.agents.resumable import ResumableAgent

FORMAT, VERSION = "plasticrl.RecurrentA2C", 2
SETTINGS = (
    *("n_steps", "gamma", "gae_lambda", "ent_coef", "concentration_coef", "vf_coef", "max_grad_norm"),
    *("max_grad_ratio", "normalize_advantage", "verbose", "seed"),
)
COUNTERS = (
    "num_timesteps",
    "_n_updates",
    "_episode_num",
    "_total_timesteps",
    "_num_timesteps_at_start",
    "_n_skipped",
)
BUFFERS = ("ep_info_buffer", "ep_success_buffer")
_OPTIONAL = ("learning_rate", "policy_kwargs", "_last_obs", "env", "random_states", *BUFFERS)


def pack(agent: ResumableAgent, exclude: Iterable[str] = ()) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """All that training needs to go on, as tensors and plain data.

    Args:
        agent: to save.
        exclude: what to leave out: names of settings, ``"_last_obs"`` (the episodes that are under way),
            ``"env"``, ``"random_states"``, ``"ep_info_buffer"``, ``"ep_success_buffer"``.

    Raises:
        TypeError: a file cannot hold the spaces or what the buffers hold.
        ValueError: there is no such thing to exclude.
    """
    exclude = set(exclude)
    unknown = exclude - {*SETTINGS, *_OPTIONAL}
    if unknown:
        raise ValueError(
            f"exclude: there is no {', '.join(map(repr, sorted(unknown)))} to leave out; "
            f"there is {', '.join((*SETTINGS, *_OPTIONAL))}"
        )
    tensors: dict[str, Tensor] = {}
    parts = {
        "policy": dict(agent.policy.state_dict()),
        "optimizer": optimizer_state(agent.policy),
        "spaces": [plain_space(agent.observation_space), plain_space(agent.action_space)],
        "settings": {name: value for name, value in _settings(agent).items() if name not in exclude},
        "counters": {name: getattr(agent, name) for name in (*COUNTERS, "n_envs")},
        "progress": agent._current_progress_remaining,
        "usual_grad_norm": agent.usual_gradient.usual,
        "episodes": None if "_last_obs" in exclude else _episodes(agent),
        "random_states": None if "random_states" in exclude else _random(agent),
        "versions": _versions(),
        **{name: None if name in exclude else _listed(getattr(agent, name)) for name in BUFFERS},
    }
    data = {name: encode(part, tensors, name) for name, part in parts.items()}
    if "_last_obs" not in exclude:
        data["env"] = _env(agent, tensors, left_out="env" in exclude)
    return tensors, {"format": FORMAT, "version": VERSION, **data}


def _settings(agent: ResumableAgent) -> dict[str, Any]:
    """The constructor's arguments; what a file cannot hold is marked as absent."""
    rate = plain_rate(agent.learning_rate)
    names = {cls: name for name, cls in agent.policy_aliases.items()}
    return {
        **{name: getattr(agent, name) for name in SETTINGS},
        "stats_window_size": agent._stats_window_size,
        "learning_rate": Absent("a function") if rate is None else rate,
        "policy_class": names.get(agent.policy_class, Absent(str(agent.policy_class))),
        "policy_kwargs": {name: held(value) for name, value in agent.policy_kwargs.items()},
    }


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
    except (EnvStateError, NotPlainError) as error:
        return encode(Absent(str(error)), {}, "env")
    tensors.update(found)
    return data


def _listed(buffer: Any) -> list[Any] | None:
    return None if buffer is None else list(buffer)


def _versions() -> dict[str, str]:
    modules = (gym, np, stable_baselines3, torch)
    return {"python": platform.python_version(), **{m.__name__: str(m.__version__) for m in modules}}
