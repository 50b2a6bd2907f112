"""The content of an episode learner's checkpoint, and its restoration."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from math import inf, isfinite
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Adam

from plasticrl.agents.checkpoint.optimizer import (
    changed_groups,
    check_alike,
    check_as_made,
    check_frozen,
    check_optimizer,
    check_optimizer_kind,
    freeze,
    kind_of,
    load_optimizer,
    load_parameters,
    made_without_memory,
    parameters_of,
    plain_names,
    replaced_in_core,
    trained,
)
from plasticrl.agents.checkpoint.tensor_file import TensorFileError, as_read, check_format
from plasticrl.agents.checkpoint.tree import decode, encode, plain_rate, rate_from_plain
from plasticrl.agents.supervised.metrics import updates_within
from plasticrl.agents.supervised.networks import make_network
from plasticrl.agents.supervised.update import loss_for
from plasticrl.arguments import (
    MOST_STEPS,
    check_count,
    check_learning_rate,
    check_max_grad_norm,
    check_whole,
    plain_number,
)
from plasticrl.envs.supervised.task import EpisodeTask
from plasticrl.nn.core import positive
from plasticrl.rules import RULES

if TYPE_CHECKING:
    from plasticrl.agents.supervised.learner import EpisodeLearner

_FORMAT, _VERSION = "plasticrl.EpisodeLearner", 1
_NETWORK, _OPTIMIZER, _STATISTICS = "network/", "optimizer/", "statistics"
_ADAM = ("step", "exp_avg", "exp_avg_sq", "max_exp_avg_sq")
_ONLY_ADAM = (
    "a learner's file holds Adam alone, so set learner.optimizer to a torch.optim.Adam, or keep only the "
    "parameters, torch.save(learner.network.state_dict(), path)"
)
_COUNTERS = ("num_episodes", "n_updates")
_CHECKED = ("learning_rate", "max_grad_norm", "batch_size", "stats_window_size", "verbose", "seed")
_PLAIN = ("batch_size", "loss", "network_kwargs", "optimizer_kwargs", "seed", "stats_window_size")


def plain(name: str, options: dict[str, Any] | None) -> dict[str, Any]:
    """Return options as a checkpoint restores them: numpy's numbers become Python's, tuples become lists.

    Raises:
        ValueError: a value is not plain.
    """
    found = {}
    for option, value in dict(options or {}).items():
        try:
            found[option] = json.loads(json.dumps(value, allow_nan=False, default=plain_number))
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"{name}: {option} must be a plain, finite value that a checkpoint can hold, "
                f"not {value!r}: give a rule by its name, such as rule='oja'"
            ) from error
    return found


def checked_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the learner's numeric settings as plain Python values.

    Raises:
        ValueError: a value is not allowed; the message names the setting.
    """
    seed = settings["seed"]
    return {
        "learning_rate": check_learning_rate(settings["learning_rate"]),
        "max_grad_norm": check_max_grad_norm(settings["max_grad_norm"]),
        **{name: positive(name, settings[name]) for name in ("batch_size", "stats_window_size")},
        "verbose": check_whole("verbose", settings["verbose"]),
        "seed": None if seed is None else check_count("seed", seed, least=0),
    }


def pack(learner: EpisodeLearner) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the content of a learner's checkpoint, as tensors and plain data.

    Raises:
        ValueError: a setting, the optimiser or the generator was replaced by one that a file cannot hold;
            the message names it.
    """
    check_optimizer_kind(learner.optimizer, Adam, _ONLY_ADAM)
    if type(learner.rng.bit_generator) is not np.random.PCG64:
        raise ValueError(f"rng must be a generator of np.random.default_rng(), not {learner.rng}")
    tensors = _named(parameters_of(learner.network))
    for name, parameter in trained(learner.network).items():
        for key, value in learner.optimizer.state.get(parameter, {}).items():
            tensors[f"{_OPTIMIZER}{name}/{key}"] = value
    tensors[_STATISTICS] = learner.statistics.values
    settings = checked_settings({name: plain_number(getattr(learner, name)) for name in _CHECKED})
    data = {
        "format": _FORMAT,
        "version": _VERSION,
        "task": _task(learner.task),
        "settings": {
            **settings,
            "network": learner.network_name,
            "learning_rate": plain_rate(settings["learning_rate"]),
            "max_grad_norm": settings["max_grad_norm"] if isfinite(settings["max_grad_norm"]) else None,
            "loss": loss_for(learner.loss, learner.task.n_classes),
            "network_kwargs": plain("network_kwargs", _network_kwargs(learner)),
            "optimizer_kwargs": plain("optimizer_kwargs", learner.optimizer_kwargs),
        },
        "num_episodes": check_whole("num_timesteps", learner.num_timesteps, least=0),
        "n_updates": check_whole("n_updates", learner.n_updates, least=0),
        "statistics": learner.statistics.names,
        "generator": learner.rng.bit_generator.state,
        **{
            name: encode(part, {}, name)
            for name, part in changed_groups(learner.network, learner.optimizer).items()
        },
    }
    return tensors, data


def _network_kwargs(learner: EpisodeLearner) -> dict[str, Any]:
    """Options that make this network again, also where its rule or backend was replaced."""
    replaced = {}
    if learner.network_name:
        replaced = replaced_in_core(learner.network, learner.network_kwargs)
    if "rule" in replaced:  # one without a name is left as it is, which plain() refuses
        names = [name for name, kind in RULES.items() if kind() == replaced["rule"]]
        replaced |= {"rule": names[0]} if names else {}
    return {**learner.network_kwargs, **replaced}


def check_loads(learner: EpisodeLearner, tensors: dict[str, Tensor], data: dict[str, Any]) -> None:
    """Check that ``load`` accepts this content, given the settings that a file cannot hold.

    Raises:
        ValueError: ``load`` would refuse it; the message says why.
    """
    read = as_read(data)
    given: dict[str, Any] = {} if learner.network_name else {"network": learner.network}
    if read["settings"]["learning_rate"] is None:
        given["learning_rate"] = learner.learning_rate
    found = settings(read, learner.task, given)
    checked_settings(found)
    network: nn.Module = learner.network
    if learner.network_name:
        network = _made(found, learner.task)
        check_as_made("network", learner.network, network)
    _checked(network, learner.optimizer, tensors, read)


def settings(data: dict[str, Any], task: EpisodeTask, given: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of the learner's constructor: those of the file, overridden by the given ones.

    Raises:
        TensorFileError: the file is not one of a learner, or has another version.
        ValueError: it does not fit the task, or a value that it cannot hold is not given.
    """
    check_format(data, _FORMAT, _VERSION, "EpisodeLearner.save")
    try:
        saved, trained_on = dict(data["settings"]), data["task"]
        found = {name: saved[name] for name in (*_PLAIN, "network")}
        found["max_grad_norm"] = inf if saved["max_grad_norm"] is None else saved["max_grad_norm"]
        if "learning_rate" not in given:
            found["learning_rate"] = rate_from_plain(saved["learning_rate"])
        found["verbose"] = saved.get("verbose", 0)  # missing in the oldest files
        if "verbose" not in given and not isinstance(found["verbose"], int):
            raise TypeError(f"verbose is a whole number, not {found['verbose']!r}")
    except (KeyError, TypeError, ValueError) as error:
        raise TensorFileError(
            f"the file's settings are incomplete or invalid ({error!r}): give another file"
        ) from error
    if trained_on != _task(task):
        raise ValueError(f"the learner was trained for {trained_on}, but the task has {_task(task)}")
    if isinstance(given.get("network"), torch.nn.Module):
        found["network_kwargs"] = None
    found |= given
    for name, why in (
        ("network", "was built with a network object"),
        ("learning_rate", "had a function as learning rate"),
    ):
        if found[name] is None:
            raise ValueError(f"the saved learner {why}, which a file cannot hold: load(..., {name}=...)")
    return found


def check_sizes(settings: dict[str, Any], task: EpisodeTask, tensors: dict[str, Tensor]) -> None:
    """Check, before memory is allocated, that the settings give a network of the file's parameters.

    Raises:
        TensorFileError: they do not.
        TypeError, ValueError: the settings are invalid.
    """
    if isinstance(settings["network"], torch.nn.Module):
        return
    found = {name: tensor for name, tensor in plain_names(tensors).items() if name.startswith(_NETWORK)}
    check_alike("", found, _named(parameters_of(_made(settings, task))))


def _made(settings: dict[str, Any], task: EpisodeTask) -> nn.Module:
    kwargs = settings["network_kwargs"] or {}
    return made_without_memory(partial(make_network, task, settings["network"], **kwargs), trusted=False)


def _named(parameters: Mapping[str, Any]) -> dict[str, Any]:
    return {_NETWORK + name: tensor for name, tensor in parameters.items()}


class _Saved(NamedTuple):
    """The content of a file except the settings, validated against a learner."""

    parameters: dict[str, Tensor]
    groups: list[dict[str, Any]]
    states: dict[str, Any]
    frozen: list[str] | None
    statistics: tuple[tuple[str, ...], Tensor]
    num_episodes: int
    n_updates: int
    generator: Any


def unpack(
    learner: EpisodeLearner, tensors: dict[str, Tensor], data: dict[str, Any], *, keep_options: bool = False
) -> None:
    """Put a file's parameters, optimiser state, counters and generator into a learner.

    Args:
        learner: a learner built with the file's settings.
        tensors: the tensors of the file.
        data: the plain data of the file.
        keep_options: take the optimiser's options from the settings, not from the file.

    Raises:
        TensorFileError: a part is missing or unknown, or has the wrong shape.
    """
    saved = _checked(learner.network, learner.optimizer, tensors, data, keep_options=keep_options)
    load_parameters(learner.network, saved.parameters)
    load_optimizer(learner.network, learner.optimizer, saved.groups, saved.states)
    if saved.frozen is not None:
        freeze(learner.network, saved.frozen)
    names, values = saved.statistics
    learner.statistics.restore(names, values.to(learner.device))
    learner.num_timesteps, learner.n_updates = saved.num_episodes, saved.n_updates
    learner.rng.bit_generator.state = saved.generator


def _checked(
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    tensors: dict[str, Tensor],
    data: dict[str, Any],
    *,
    keep_options: bool = False,
) -> _Saved:
    """Validate a file against a network and its optimiser without changing them.

    Raises:
        TensorFileError: a part is missing or unknown, or has the wrong shape.
    """
    tensors = plain_names(tensors)
    expected = _named(parameters_of(network))
    states: dict[str, dict[str, Tensor]] = {}
    for name, parameter in trained(network).items():
        start = f"{_OPTIMIZER}{name}/"
        for key in ("exp_avg", "exp_avg_sq", "max_exp_avg_sq"):
            if start + key in tensors:
                expected[start + key] = parameter
                expected[f"{start}step"] = torch.tensor(0.0)
        state = {key: tensors[start + key] for key in _ADAM if start + key in tensors}
        if state:
            states[name] = state
    names, values = _statistics(tensors.pop(_STATISTICS, None), data)
    check_alike("", tensors, expected)
    try:
        groups = decode(data["groups"], {}) if "groups" in data else None
        frozen = data.get("frozen")
        if frozen is not None:
            check_frozen(network, frozen)
        counters = [check_whole(name, data[name], least=0, most=MOST_STEPS) for name in _COUNTERS]
        np.random.default_rng(0).bit_generator.state = data["generator"]
    except TensorFileError:
        raise
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise TensorFileError(
            f"the file's counters are incomplete or invalid ({error!r}): give another file"
        ) from error
    saved = {"state": states, "groups": groups}
    groups, states = check_optimizer(network, optimizer, saved, keep_options=keep_options)
    return _Saved(
        {name: tensors[_NETWORK + name] for name in parameters_of(network)},
        *(groups, states, frozen, (names, values), *counters, data["generator"]),
    )


def _statistics(values: Tensor | None, data: dict[str, Any]) -> tuple[tuple[str, ...], Tensor]:
    """Return names and values of the running statistics, validated against the file's settings."""
    names, settings = data.get("statistics"), data["settings"]
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise TensorFileError(
            f"the statistics' names are {names!r}, not a list of strings: give another file"
        )
    try:
        most = updates_within(settings["stats_window_size"], settings["batch_size"])
    except (TypeError, ZeroDivisionError) as error:
        raise TensorFileError(
            f"the file's settings are incomplete or invalid ({error!r}): give another file"
        ) from error
    found = "missing" if values is None else kind_of(values)
    if (
        values is None
        or not values.is_floating_point()
        or values.ndim != 2
        or len(values) > most
        or values.shape[1] != len(names)
    ):
        raise TensorFileError(
            f"{_STATISTICS} is {found} in the file, but must be floating-point of at most {most} updates x "
            f"{len(names)} names: give another file"
        )
    return tuple(names), values


def _task(task: EpisodeTask) -> dict[str, Any]:
    shape, n_classes = [int(size) for size in task.input_shape], task.n_classes
    return {"input_shape": shape, "n_classes": None if n_classes is None else int(n_classes)}
