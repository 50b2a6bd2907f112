"""The parts of a recurrent agent's checkpoint, each validated before it is used."""

from __future__ import annotations

import platform
import warnings
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import partial
from inspect import signature
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
import stable_baselines3
import torch
from gymnasium import spaces
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.utils import FloatSchedule

from plasticrl.agents.checkpoint.env_state import env_state, restore_means
from plasticrl.agents.checkpoint.format import Format, check_given, reading
from plasticrl.agents.checkpoint.network import (
    check_alike,
    check_as_made,
    check_network,
    load_parameters,
    plain_names,
    replaced_in_core,
)
from plasticrl.agents.checkpoint.optimizer import check_optimizer_kind, check_trained, pack_trained
from plasticrl.agents.checkpoint.random_state import check_random_states, random_states, undisturbed
from plasticrl.agents.checkpoint.tensor_file import TensorFileError
from plasticrl.agents.checkpoint.tree import (
    Absent,
    encode,
    held,
    holds,
    plain_rate,
    plain_space,
    rate_from_plain,
    space_from_plain,
)
from plasticrl.agents.recurrent.policies import PlasticPolicy, policy_without_memory, with_former_defaults
from plasticrl.agents.recurrent.rollout import by_key
from plasticrl.arguments import (
    MOST_SIZE,
    MOST_STEPS,
    check_flag,
    check_max_grad_norm,
    check_number,
    check_schedule,
    check_whole,
    plain_number,
    whole_steps,
)

Check = Callable[[str, Any], Any]
"""A check of a named value: it returns the plain value that is stored, or raises a ValueError."""
_MOST_SEED = 2**32 - 1  # numpy's
SETTINGS: Mapping[str, Check] = {
    "n_steps": partial(check_whole, least=1, most=MOST_SIZE),
    "gamma": partial(check_number, most=1),
    "gae_lambda": partial(check_number, most=1),
    "ent_coef": check_number,
    "vf_coef": check_number,
    "max_grad_norm": lambda _, value: check_max_grad_norm(value),
    "normalize_advantage": check_flag,
    "stats_window_size": partial(check_whole, least=0, most=MOST_STEPS),
    "verbose": check_whole,
    "seed": lambda name, value: None if value is None else check_whole(name, value, least=0, most=_MOST_SEED),
    "learning_rate": check_schedule,
}
POLICY = ("policy_class", "policy_kwargs")
COUNTERS = (
    *("num_timesteps", "_n_updates", "_episode_num"),
    *("_total_timesteps", "_num_timesteps_at_start"),
)
_FROM_LEARN = ("_total_timesteps", "_num_timesteps_at_start")  # any number that learn() accepts
_BUFFERS = ("ep_info_buffer", "ep_success_buffer")
_WHOLE = ("n_steps", "verbose", "seed", "stats_window_size")
_PARTS = (
    *("policy", "optimizer", "spaces", "settings", "counters", "progress", "episodes", "random_states"),
    *_BUFFERS,
)


def from_version_2(parts: dict[str, Any]) -> dict[str, Any]:
    """Return the parts of a file from before observations and returns were normalized."""
    settings = dict(parts["settings"])
    if isinstance(kwargs := settings.get("policy_kwargs"), dict):
        own = settings.get("policy_class") != "PlasticPolicy"
        settings["policy_kwargs"] = with_former_defaults(kwargs, own_class=own)
    return {**parts, "settings": settings}


def own_copy(options: Any) -> Any:
    """Return a deep copy of nested options, with numpy's numbers converted to Python's."""
    if type(options) is dict:
        return {name: own_copy(value) for name, value in options.items()}
    if type(options) in (list, tuple):
        return type(options)(own_copy(value) for value in options)
    return plain_number(options)


def _completed(saved: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """Return the saved policy_kwargs with absent ones filled in; as in SB3, the others must not differ."""
    for name, value in given.items():
        if name not in saved or not (isinstance(saved[name], Absent) or saved[name] == value):
            raise ValueError(
                f"policy_kwargs[{name!r}] is {value!r}, but the saved policy had "
                f"{saved.get(name, 'none')!r}: custom_objects=dict(policy_kwargs=...) would replace them all"
            )
    return saved | given


def _counter(name: str, value: Any) -> int:
    """Return a counter as a plain int; the arguments of ``learn`` are rounded up, and at least 0.

    Raises:
        ValueError: it is not a whole number of at least 0.
    """
    if name in _FROM_LEARN:  # older files have it as it was given, such as 1e6 or -5
        return whole_steps(name, value if plain_number(value) >= 0 else 0)
    return check_whole(name, value, least=0)


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


def _env_state(agent: OnPolicyAlgorithm, resume: Resume | None) -> Any:
    """Return the state of the agent's environments, or Absent with the reason."""
    if resume is not None:
        return resume.env
    if agent.env is None:
        return Absent("the saved agent had no environment")
    try:
        state = env_state(agent.env)
        encode(state, {}, "env")
    except Exception as error:  # no error of an environment may prevent saving
        return Absent(str(error) or repr(error))
    return state


def _versions() -> dict[str, str]:
    """Return the versions of Python and of the libraries."""
    modules = (gym, np, stable_baselines3, torch)
    return {"python": platform.python_version(), **{m.__name__: str(m.__version__) for m in modules}}


class Resume(NamedTuple):
    """The state from which a loaded agent resumes training."""

    env: Any  # state of the environments; Absent if the file does not hold it, None before the first reset
    random_states: dict[str, Any] | None
    force_reset: bool


class Saved(NamedTuple):
    """The validated parts of a file, except settings, policy and optimiser."""

    numbers: dict[str, Any]  # attributes of the agent
    n_envs: int
    observations: spaces.Space[Any]
    actions: spaces.Space[Any]
    buffers: dict[str, list[Any] | None]
    episodes: Any
    random_states: dict[str, Any] | None
    env: Any


def fresh_policy(settings: Mapping[str, Any], saved: Saved) -> PlasticPolicy:
    """Build a policy without allocating memory, so that a file cannot demand more than it holds.

    Raises:
        TensorFileError: the settings are not allowed.
    """
    first = (saved.observations, saved.actions, FloatSchedule(1.0))
    return policy_without_memory(settings["policy"], first, settings["policy_kwargs"])


def take_network(agent: OnPolicyAlgorithm, parts: Mapping[str, Any]) -> None:
    """Give an agent the network in another agent's file, and the moments that its inputs are scaled by.

    Optimiser, counters and random numbers stay. The current episodes begin, so that a file of the agent holds
    the moments of a ``VecNormalize``.

    Args:
        agent: an agent with environments.
        parts: the parts of the file.

    Raises:
        TensorFileError: the networks differ; the message names the first parameter, and both shapes.
        EnvStateError: the moments do not fit.
    """
    check_network(agent.policy, parts)
    load_parameters(agent.policy, plain_names(parts["policy"]))
    assert agent.env is not None
    restore_means(agent.env, parts.get("env"))
    agent.learn(0)


def checked_episodes(policy: PlasticPolicy, saved: Any, n_envs: int) -> tuple[Any, Any, Any, Any]:
    """Return last observations, starts, the core's state and the discounted rewards of the saved episodes.

    Raises:
        TensorFileError: they do not fit the policy and ``n_envs`` environments.
    """
    space = policy.observation_space
    inner = space.spaces if isinstance(space, spaces.Dict) else {"": space}
    with reading("the part 'episodes' of the file"):
        obs, starts, core = saved["last_obs"], saved["starts"], saved["core"]
        found = {key: np.asarray(array).shape for key, array in by_key(obs).items()}
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
        discounted = saved.get("discounted")  # version 2 has none
        if discounted is not None and (
            discounted.shape != (n_envs,)
            or discounted.dtype != np.float64
            or not np.isfinite(discounted).all()
        ):
            raise ValueError(f"discounted must be {n_envs} finite numbers")
    return obs, starts, state, discounted


@dataclass(frozen=True)
class AgentFormat(Format):
    """The checkpoint of a recurrent on-policy agent.

    Args:
        settings: the constructor's arguments that a file holds besides the policy, with their checks.
        counters: names of the agent's counters.
        numbers: further attributes of the agent that a file holds, with their checks.
        schedules: names of those settings that may be functions of the remaining progress.
        check_together: checks all settings, where one limits another.
    """

    holds: tuple[str, ...] = _PARTS
    settings: Mapping[str, Check] = field(default_factory=lambda: SETTINGS)
    counters: tuple[str, ...] = COUNTERS
    numbers: Mapping[str, Check] = field(default_factory=dict)
    schedules: tuple[str, ...] = ("learning_rate",)
    check_together: Callable[[Mapping[str, Any]], object] = len

    def checked_settings(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Return the values of ``settings`` as plain Python values.

        Raises:
            ValueError: a value is not allowed; the message names the setting.
        """
        found = {name: check(name, settings[name]) for name, check in self.settings.items()}
        self.check_together(found)
        return found

    def current_settings(self, agent: OnPolicyAlgorithm) -> dict[str, Any]:
        """Return the agent's current settings and policy, as arguments of the constructor."""
        policy: Any = agent.policy
        kwargs, optimizer = dict(agent.policy_kwargs), policy.optimizer
        if agent.policy_class in agent.policy_aliases.values():
            kwargs |= replaced_in_core(policy, policy.core_kwargs)
            if type(optimizer) is not policy.optimizer_class:
                known = signature(type(optimizer)).parameters.keys() - {"lr"}
                options = {name: value for name, value in optimizer.defaults.items() if name in known}
                kwargs |= {"optimizer_class": type(optimizer), "optimizer_kwargs": options}
        own = {
            name: getattr(agent, "_stats_window_size" if name == "stats_window_size" else name)
            for name in self.settings
        }
        return {**own, "policy_class": agent.policy_class, "policy_kwargs": kwargs}

    def parts(
        self,
        agent: OnPolicyAlgorithm,
        core_state: Any,
        discounted: Any,
        resume: Resume | None,
        left_out: Collection[str],
    ) -> dict[str, Any]:
        """Return the parts of an agent's file.

        Args:
            agent: the agent to save.
            core_state: the state of its core.
            discounted: the discounted rewards of its episodes so far.
            resume: the state that it was loaded with, until it trains.
            left_out: names of settings and other parts to leave out.

        Raises:
            ValueError: ``left_out`` names an unknown part, or a setting is not allowed.
        """
        known = (*self.settings, "policy_kwargs", "_last_obs", "env", "random_states", *_BUFFERS)
        if unknown := sorted(set(left_out) - set(known)):
            raise ValueError(
                f"exclude: unknown part {', '.join(map(repr, unknown))}: choose from {', '.join(known)}"
            )
        settings, begun = self._storable_settings(agent), agent._last_obs is not None
        parts = {
            **pack_trained(agent.policy, agent.policy.optimizer),
            "spaces": [plain_space(agent.observation_space), plain_space(agent.action_space)],
            "settings": {name: value for name, value in settings.items() if name not in left_out},
            "counters": {name: _counter(name, getattr(agent, name)) for name in (*self.counters, "n_envs")},
            "progress": float(agent._current_progress_remaining),
            **{name: getattr(agent, name) for name in self.numbers},
            "episodes": None,
            "random_states": None,
            "versions": _versions(),
            **{
                name: None if name in left_out else _holdable(name, getattr(agent, name)) for name in _BUFFERS
            },
        }
        if "random_states" not in left_out:
            parts["random_states"] = resume.random_states if resume else random_states(agent.device)
        if "_last_obs" in left_out:
            return parts
        if begun:
            parts["episodes"] = {
                "last_obs": agent._last_obs,
                "starts": np.asarray(agent._last_episode_starts, dtype=np.bool_),
                "core": None if core_state is None else dict(core_state._asdict()),
                "discounted": discounted,
            }
        state = _env_state(agent, resume) if begun else None
        if begun and "env" in left_out:
            state = Absent("the environments' state was left out of the file")
        return {**parts, "env": state}

    def _storable_settings(self, agent: OnPolicyAlgorithm) -> dict[str, Any]:
        """Return the agent's settings, with Absent for those that a file cannot hold."""
        current = self.current_settings(agent)
        settings = self.checked_settings({name: plain_number(value) for name, value in current.items()})
        schedules = {
            name: Absent("a function") if (plain := plain_rate(schedule)) is None else plain
            for name in self.schedules
            if (schedule := settings[name]) is not None
        }
        names = {cls: name for name, cls in agent.policy_aliases.items()}
        return {
            **settings,
            **schedules,
            "policy_class": names.get(agent.policy_class, Absent(str(agent.policy_class))),
            "policy_kwargs": {name: held(value) for name, value in current["policy_kwargs"].items()},
        }

    def check_loads(self, agent: OnPolicyAlgorithm, parts: Mapping[str, Any]) -> None:
        """Check that loading accepts an agent's parts, given the settings that a file cannot hold.

        Raises:
            ValueError: it would refuse them; the message says why.
        """
        stored = parts["settings"]
        missing = {
            name: value
            for name, value in self.current_settings(agent).items()
            if name not in stored
            or isinstance(stored[name], Absent)
            or (name == "policy_kwargs" and any(isinstance(one, Absent) for one in stored[name].values()))
        }
        with undisturbed(agent.device):  # the constructor of a custom policy may draw random numbers
            settings = self.loaded_settings(parts, agent.policy_aliases, missing, {})
            self.checked_settings(settings)
            saved = self.validated(parts)
            made = fresh_policy(settings, saved)
            check_as_made("policy", agent.policy, made)
            check_optimizer_kind(agent.policy.optimizer, type(made.optimizer))
            check_trained(made, made.optimizer, parts)
            if saved.episodes is not None:
                checked_episodes(made, saved.episodes, saved.n_envs)

    def loaded_settings(
        self,
        parts: Mapping[str, Any],
        aliases: Mapping[str, type[BasePolicy]],
        custom_objects: Mapping[str, Any] | None,
        given: Mapping[str, Any],
    ) -> dict[str, Any]:
        """Return the arguments of the agent's constructor, except env and device.

        Args:
            parts: the parts of the file.
            aliases: the policies that a file can name.
            custom_objects: settings that replace those of the file.
            given: settings that replace those of the file, except that ``policy_kwargs`` only add to them.

        Raises:
            TensorFileError: the file's settings are invalid.
            ValueError: a name is unknown, or a setting that a file cannot hold is not given.
        """
        custom, names = dict(custom_objects or {}), (*self.settings, *POLICY)
        if (schedule := custom.pop("lr_schedule", None)) is not None:  # SB3's examples give both
            custom.setdefault("learning_rate", schedule)
        known = (*names, "tensorboard_log")  # the log's folder is never taken from a file
        if unknown := [name for name in (*custom, *given) if name not in known]:
            raise ValueError(f"load: unknown setting {unknown[0]!r}: choose from {', '.join(known)}")
        replaced = {*custom, *given} - {"policy_kwargs"}
        with reading("the part 'settings' of the file"):
            saved = parts["settings"]
            found = {name: saved[name] for name in names if name in saved and name not in replaced}
            for name in self.schedules:
                if name in found and not isinstance(found[name], Absent):
                    found[name] = rate_from_plain(found[name])
            for name in _WHOLE:
                if found.get(name) is not None and not isinstance(found[name], Absent):
                    found[name] = check_whole(name, found[name])
            if not isinstance(found.get("policy_kwargs", {}), dict):
                raise TypeError("policy_kwargs are a JSON object")
        found |= custom
        if "policy_kwargs" in given:
            found["policy_kwargs"] = _completed(found.get("policy_kwargs", {}), given["policy_kwargs"])
        found |= {name: value for name, value in given.items() if name != "policy_kwargs"}
        if missing := [name for name in names if name not in found]:
            raise ValueError(f"the file does not hold {missing[0]}: give it, load(..., {missing[0]}=...)")
        check_given("the saved agent's", found, "{}=...")
        check_given("the saved agent's", found["policy_kwargs"], "policy_kwargs=dict({}=...)")
        policy = found.pop("policy_class")
        if isinstance(policy, str):
            if policy not in aliases:
                raise TensorFileError(
                    f"unknown policy {policy!r} in the file: a file names {', '.join(aliases)}"
                )
            policy = aliases[policy]
        return {"policy": policy, **found}

    def validated(self, parts: Mapping[str, Any]) -> Saved:
        """Validate the parts of a file that no policy is needed for.

        Raises:
            TensorFileError: a part is invalid.
        """
        with reading("the part 'counters' of the file"):
            found = {name: _counter(name, parts["counters"][name]) for name in (*self.counters, "n_envs")}
        with reading():
            n_envs, progress = found.pop("n_envs"), float(parts["progress"])
            numbers = {name: check(name, parts[name]) for name, check in self.numbers.items()}
            if not all(isinstance(parts[name], (list, type(None))) for name in _BUFFERS):
                raise ValueError("the buffers are lists")
            if parts["random_states"] is not None:
                check_random_states(parts["random_states"])
            observations, actions = map(space_from_plain, parts["spaces"])
            return Saved(
                {**found, **numbers, "_current_progress_remaining": progress},
                n_envs,
                observations,
                actions,
                buffers={name: parts[name] for name in _BUFFERS},
                episodes=parts["episodes"],
                random_states=parts["random_states"],
                env=parts.get("env"),
            )
