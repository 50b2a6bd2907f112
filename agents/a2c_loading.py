"""How an agent is made again from a checkpoint, nothing in which is trusted."""

from __future__ import annotations

from collections import deque
from math import inf
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.preprocessing import check_for_nested_spaces
from stable_baselines3.common.utils import FloatSchedule

from plasticrl.agents.a2c_checkpoint import BUFFERS, COUNTERS, FORMAT, VERSION
from plasticrl.agents.file_settings import settings_of_a_file
from plasticrl.agents.optimizer_state import check_alike, restore_policy
from plasticrl.agents.plain_spaces import space_from_plain
from plasticrl.agents.plain_tree import decode
from plasticrl.agents.random_states import check_random_states
from plasticrl.agents.tensor_file import TensorFileError, check_format

if TYPE_CHECKING:
    from torch import Tensor

    from plasticrl.agents.resumable import ResumableAgent

A = TypeVar("A", bound="ResumableAgent")
ACTION_SPACES = (spaces.Box, spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary)


class Resume(NamedTuple):
    """What a loaded agent goes on from when it learns again."""

    env: Any  # the state of the environments, Absent where the file does not hold it, None before the first
    random_states: dict[str, Any] | None
    force_reset: bool


def decoded(tensors: dict[str, Tensor], data: dict[str, Any]) -> dict[str, Any]:
    """The parts of a file, by name.

    Raises:
        TensorFileError: it is no agent's, or of a later version, or not whole.
    """
    check_format(data, FORMAT, VERSION, "RecurrentA2C.save")
    left = dict(tensors)
    parts = {}
    for name, part in data.items():
        try:
            parts[name] = decode(part, left)
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise TensorFileError(
                f"{name} in the file is not whole ({error!r}): give another file"
            ) from error
    if left:
        raise TensorFileError(f"{min(left)} is in the file, but belongs to nothing: give another file")
    return parts


def made_again(
    cls: type[A], parts: dict[str, Any], settings: dict[str, Any], env: Any, device: Any, *, force_reset: bool
) -> A:
    """An agent with these settings, and the file's parameters, counters and episodes.

    Raises:
        TensorFileError: a part of the file is not whole, or does not fit the others.
        ValueError: a setting is not allowed.
    """
    try:
        counters, progress = parts["counters"], float(parts["progress"])
        usual_norm = parts["usual_grad_norm"]
        if type(usual_norm) is not float or not 0 <= usual_norm < inf:
            raise ValueError(f"a gradient's norm is finite and at least 0, not {usual_norm!r}")
        if any(type(counters[name]) is not int or counters[name] < 0 for name in (*COUNTERS, "n_envs")):
            raise ValueError(f"counters are whole numbers, not {counters}")
        observations, actions = saved_spaces(parts)
        saved = {name: parts[name] for name in ("policy", "optimizer", "episodes", "random_states")}
        saved_env = parts.get("env")
        buffers = {name: parts[name] for name in BUFFERS}
        if not all(isinstance(kept, (list, type(None))) for kept in buffers.values()):
            raise ValueError("the buffers are lists")
        if saved["random_states"] is not None:
            check_random_states(saved["random_states"])
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise TensorFileError(f"the file is not whole ({error}): give another file") from error
    _check_size(settings, observations, actions, saved["policy"])
    with settings_of_a_file():
        agent = cls(**settings, env=None, device=device, _init_setup_model=False)  # type: ignore[arg-type]
    agent.observation_space, agent.action_space = observations, actions
    agent.n_envs = counters["n_envs"]
    if env is not None:
        agent.adopt(env)
    agent._setup_model()
    restore_policy(agent.policy, saved["policy"], saved["optimizer"])
    for name in COUNTERS:
        setattr(agent, name, counters[name])
    agent._current_progress_remaining = progress
    agent.usual_gradient.usual = usual_norm
    with settings_of_a_file():
        for name, kept in buffers.items():
            setattr(agent, name, None if kept is None else deque(kept, maxlen=agent._stats_window_size))
    if saved["episodes"] is not None:
        _restore_episodes(agent, saved["episodes"], counters["n_envs"])
    fits = agent.n_envs == counters["n_envs"]
    agent._resume = Resume(saved_env if fits else None, saved["random_states"], force_reset)
    return agent


def saved_spaces(parts: dict[str, Any]) -> tuple[spaces.Space[Any], spaces.Space[Any]]:
    """Observation and action space.

    Raises:
        ValueError: they are not spaces that an agent can have.
    """
    observations, actions = map(space_from_plain, parts["spaces"])
    check_for_nested_spaces(observations)
    if not isinstance(actions, ACTION_SPACES):
        raise ValueError(f"actions cannot be {actions}")
    return observations, actions


def _check_size(
    settings: dict[str, Any], observations: spaces.Space[Any], actions: spaces.Space[Any], parameters: Any
) -> None:
    """Before any memory is taken, see that the settings ask for what is in the file."""
    kwargs = dict(settings["policy_kwargs"])
    try:
        with torch.device("meta"):
            policy = settings["policy"](observations, actions, FloatSchedule(1.0), **kwargs)
    except (TypeError, ValueError, RuntimeError, OverflowError, AttributeError, AssertionError) as error:
        raise TensorFileError(f"policy_kwargs in the file are not allowed ({error})") from error
    check_alike("policy", parameters, policy.state_dict())


def _restore_episodes(agent: ResumableAgent, saved: Any, n_envs: int) -> None:
    """Take up the episodes under way, unless the agent has another number of environments now."""
    space = agent.observation_space
    inner = space.spaces if isinstance(space, spaces.Dict) else {"": space}
    try:
        obs, starts, core = saved["last_obs"], saved["starts"], saved["core"]
        by_key = obs if isinstance(space, spaces.Dict) else {"": obs}
        found = {key: np.asarray(array).shape for key, array in by_key.items()}
        if found != {key: (n_envs, *(one.shape or ())) for key, one in inner.items()}:
            raise ValueError(f"the observations have shapes {found}, which do not fit {n_envs} x {space}")
        if starts.shape != (n_envs,) or starts.dtype != np.bool_:
            raise ValueError(f"starts are not {n_envs} times True or False")
        one = agent.policy.initial_state(1)._asdict()
        state = None
        if core is not None:
            check_alike("core", core, {name: s.expand(n_envs, *s.shape[1:]) for name, s in one.items()})
            state = type(agent.policy.initial_state(1))(**{n: core[n].to(agent.device) for n in one})
    except TensorFileError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise TensorFileError(f"episodes in the file are not whole ({error}): give another file") from error
    if agent.n_envs == n_envs:
        agent._last_obs, agent._last_episode_starts, agent._state = obs, starts, state
