"""Loading of a recurrent agent from a checkpoint; every part of the file is validated first."""

from __future__ import annotations

from collections import deque
from math import inf
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np
from gymnasium import spaces
from stable_baselines3.common.preprocessing import check_for_nested_spaces
from stable_baselines3.common.utils import FloatSchedule

from plasticrl.agents.checkpoint.agent import (
    BUFFERS,
    COUNTERS,
    FORMAT,
    ROUNDED_UP,
    VERSION,
    checked_settings,
    loaded_settings,
    own_policy_kwargs,
    own_settings,
)
from plasticrl.agents.checkpoint.optimizer import (
    check_alike,
    check_as_made,
    check_network,
    check_optimizer,
    check_optimizer_kind,
    load_optimizer,
    restore_network,
)
from plasticrl.agents.checkpoint.random_state import check_random_states, undisturbed
from plasticrl.agents.checkpoint.spaces import space_from_plain
from plasticrl.agents.checkpoint.tensor_file import TensorFileError, as_read, check_format, settings_of_a_file
from plasticrl.agents.checkpoint.tree import Absent, decode
from plasticrl.agents.recurrent.policies import PlasticPolicy, in_no_memory
from plasticrl.arguments import check_whole, whole_steps

if TYPE_CHECKING:
    from torch import Tensor

    from plasticrl.agents.recurrent.resumable import ResumableAgent


A = TypeVar("A", bound="ResumableAgent")
ACTION_SPACES = (spaces.Box, spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary)


class Resume(NamedTuple):
    """The state from which a loaded agent resumes training."""

    env: Any  # state of the environments; Absent if the file does not hold it, None before the first reset
    random_states: dict[str, Any] | None
    force_reset: bool


def decoded(tensors: dict[str, Tensor], data: dict[str, Any]) -> dict[str, Any]:
    """Return the decoded parts of a file, by name.

    Raises:
        TensorFileError: the file is not one of an agent, has another version, or is incomplete.
    """
    check_format(data, FORMAT, VERSION, "RecurrentA2C.save")
    left = dict(tensors)
    parts = {}
    for name, part in data.items():
        try:
            parts[name] = decode(part, left)
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise TensorFileError(
                f"the part {name!r} of the file is incomplete or invalid ({error!r}): give another file"
            ) from error
    if left:
        raise TensorFileError(f"{min(left)} is in the file, but is unknown: give another file")
    return parts


class Whole(NamedTuple):
    """The validated parts of a file."""

    counters: dict[str, int]
    progress: float
    usual_norm: float
    observations: spaces.Space[Any]
    actions: spaces.Space[Any]
    buffers: dict[str, list[Any] | None]
    episodes: Any
    random_states: dict[str, Any] | None
    env: Any


def whole(parts: dict[str, Any]) -> Whole:
    """Validate all parts of a file except the policy, which :func:`check_policy` compares with a fresh one.

    Raises:
        TensorFileError: a part is missing or invalid.
    """
    try:
        observations, actions = saved_spaces(parts)
        found = Whole(
            counters={name: _counter(name, parts["counters"][name]) for name in (*COUNTERS, "n_envs")},
            progress=float(parts["progress"]),
            usual_norm=parts["usual_grad_norm"],
            observations=observations,
            actions=actions,
            buffers={name: parts[name] for name in BUFFERS},
            episodes=parts["episodes"],
            random_states=parts["random_states"],
            env=parts.get("env"),
        )
        if type(found.usual_norm) is not float or not 0 <= found.usual_norm < inf:
            raise ValueError(f"a gradient's norm is finite and at least 0, not {found.usual_norm!r}")
        if not all(isinstance(kept, (list, type(None))) for kept in found.buffers.values()):
            raise ValueError("the buffers are lists")
        if found.random_states is not None:
            check_random_states(found.random_states)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise TensorFileError(f"the file is incomplete or invalid ({error}): give another file") from error
    return found


def _counter(name: str, value: Any) -> int:
    """Return a counter as an int; older files store learn()'s total as given, such as 1e6 or -5."""
    if type(value) not in (int, float):
        raise ValueError(f"counters are whole numbers, not {value!r}")
    if name in ROUNDED_UP:
        return whole_steps(name, max(0, value))
    return check_whole(f"counters: {name}", value, least=0)


def made_again(
    cls: type[A],
    parts: dict[str, Any],
    settings: dict[str, Any],
    env: Any,
    device: Any,
    *,
    force_reset: bool,
    keep_options: bool = False,
) -> A:
    """Build an agent with these settings and with the file's parameters, counters and episodes.

    Args:
        cls: class of the agent.
        parts: the decoded parts of the file.
        settings: arguments of the constructor.
        env: environment to train in, or None.
        device: as in the constructor.
        force_reset: as for ``load``.
        keep_options: take the optimiser's options from the settings, not from the file.

    Raises:
        TensorFileError: a part of the file is invalid or does not fit the others.
        ValueError: a setting is not allowed.
    """
    saved = whole(parts)
    made = fresh_policy(settings, saved.observations, saved.actions)
    check_policy(made, parts, keep_options=keep_options)
    with settings_of_a_file():
        agent = cls(**settings, env=None, device=device, _init_setup_model=False)  # type: ignore[arg-type]
    agent.observation_space, agent.action_space = saved.observations, saved.actions
    agent.n_envs = saved.counters["n_envs"]
    if env is not None:
        agent.adopt(env)
    agent._setup_model()
    policy = agent.policy
    groups, states = check_policy(policy, parts, keep_options=keep_options)
    restore_network(policy, parts)
    load_optimizer(policy, policy.optimizer, groups, states)
    for name in COUNTERS:
        setattr(agent, name, saved.counters[name])
    agent._current_progress_remaining = saved.progress
    agent.usual_gradient.usual = saved.usual_norm
    with settings_of_a_file():
        for name, kept in saved.buffers.items():
            setattr(agent, name, None if kept is None else deque(kept, maxlen=agent._stats_window_size))
    n_envs = saved.counters["n_envs"]
    if saved.episodes is not None:
        episodes = checked_episodes(policy, saved.episodes, n_envs)
        if agent.n_envs == n_envs:
            agent._last_obs, agent._last_episode_starts, agent._state = episodes
    fits = agent.n_envs == n_envs
    agent._resume = Resume(saved.env if fits else None, saved.random_states, force_reset)
    return agent


def check_loads(agent: ResumableAgent, tensors: dict[str, Tensor], data: dict[str, Any]) -> None:
    """Check that ``load`` accepts this content, given the settings that a file cannot hold.

    Args:
        agent: the agent that is saved.
        tensors: the tensors of the file.
        data: the plain data of the file.

    Raises:
        ValueError: ``load`` would refuse it; the message says why.
    """
    with undisturbed(agent.device):  # the constructor of a custom policy may draw random numbers
        parts = decoded(tensors, as_read(data))
        settings = loaded_settings(parts["settings"], _not_in(parts, agent), {}, agent.policy_aliases)
        checked_settings(settings)
        saved = whole(parts)
        made = fresh_policy(settings, saved.observations, saved.actions)
        check_as_made("policy", agent.policy, made)
        check_optimizer_kind(agent.policy.optimizer, type(made.optimizer))
        check_policy(made, parts)
        if saved.episodes is not None:
            checked_episodes(made, saved.episodes, saved.counters["n_envs"])


def _not_in(parts: dict[str, Any], agent: ResumableAgent) -> dict[str, Any]:
    """Return the agent's values of those settings that are missing in the file, at least in part."""
    has = {
        **own_settings(agent),
        "policy_class": agent.policy_class,
        "policy_kwargs": own_policy_kwargs(agent),
    }
    held = parts["settings"]
    return {
        name: value
        for name, value in has.items()
        if name not in held
        or isinstance(held[name], Absent)
        or (name == "policy_kwargs" and any(isinstance(one, Absent) for one in held[name].values()))
    }


def check_policy(
    policy: PlasticPolicy, parts: dict[str, Any], *, keep_options: bool = False
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Groups and states of the optimiser in the file, once all of the file's policy is known to fit this one.

    Raises:
        TensorFileError: it does not fit.
    """
    check_network(policy, parts)
    if "optimizer" not in parts:
        raise TensorFileError("the file is incomplete or invalid ('optimizer'): give another file")
    return check_optimizer(policy, policy.optimizer, parts["optimizer"], keep_options=keep_options)


def saved_spaces(parts: dict[str, Any]) -> tuple[spaces.Space[Any], spaces.Space[Any]]:
    """Return the observation space and the action space of a file.

    Raises:
        ValueError: they are not spaces that an agent supports.
    """
    observations, actions = map(space_from_plain, parts["spaces"])
    check_for_nested_spaces(observations)
    if not isinstance(actions, ACTION_SPACES):
        raise ValueError(f"actions cannot be {actions}")
    return observations, actions


def fresh_policy(
    settings: dict[str, Any], observations: spaces.Space[Any], actions: spaces.Space[Any]
) -> PlasticPolicy:
    """Build a policy without allocating memory, so that a file cannot demand more than it holds.

    Raises:
        TensorFileError: the settings are not allowed.
    """
    first = (observations, actions, FloatSchedule(1.0))
    return in_no_memory(settings["policy"], first, settings["policy_kwargs"])


def checked_episodes(policy: PlasticPolicy, saved: Any, n_envs: int) -> tuple[Any, Any, Any]:
    """Return last observations, starts and the core's state of the saved episodes, on the policy's device.

    Raises:
        TensorFileError: they do not fit the policy and ``n_envs`` environments.
    """
    space = policy.observation_space
    inner = space.spaces if isinstance(space, spaces.Dict) else {"": space}
    try:
        obs, starts, core = saved["last_obs"], saved["starts"], saved["core"]
        by_key = obs if isinstance(space, spaces.Dict) else {"": obs}
        found = {key: np.asarray(array).shape for key, array in by_key.items()}
        if found != {key: (n_envs, *(one.shape or ())) for key, one in inner.items()}:
            raise ValueError(f"the observations have shapes {found}, which do not fit {n_envs} x {space}")
        if starts.shape != (n_envs,) or starts.dtype != np.bool_:
            raise ValueError(f"starts must be {n_envs} bools")
        initial = policy.initial_state(1)
        one = initial._asdict()
        state = None
        if core is not None:
            check_alike("core", core, {name: s.expand(n_envs, *s.shape[1:]) for name, s in one.items()})
            state = type(initial)(**{name: core[name].to(policy.device) for name in one})
    except TensorFileError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise TensorFileError(
            f"episodes in the file are incomplete or invalid ({error}): give another file"
        ) from error
    return obs, starts, state
