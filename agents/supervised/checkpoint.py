"""The parts of an episode learner's checkpoint, each validated before it is used."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from math import inf
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from plasticrl.agents.checkpoint.format import LOOSE, Format, reading
from plasticrl.agents.checkpoint.network import (
    check_alike,
    kind_of,
    load_parameters,
    made_without_memory,
    parameters_of,
    plain_names,
    replaced_in_core,
    trained,
)
from plasticrl.agents.checkpoint.optimizer import check_trained, states_of
from plasticrl.agents.checkpoint.tensor_file import TensorFileError
from plasticrl.agents.checkpoint.tree import rate_from_plain
from plasticrl.agents.supervised.metrics import updates_within
from plasticrl.agents.supervised.networks import make_network
from plasticrl.arguments import (
    MOST_SIZE,
    MOST_STEPS,
    check_max_grad_norm,
    check_schedule,
    check_whole,
    plain_number,
)
from plasticrl.envs.supervised.task import EpisodeTask
from plasticrl.rules import RULES

FORMAT = Format("plasticrl.EpisodeLearner", 1, "EpisodeLearner.save", ("task", "settings"), loose=True)
_NETWORK, _OPTIMIZER, STATISTICS = "network/", "optimizer/", "statistics"
_ADAM = ("step", "exp_avg", "exp_avg_sq", "max_exp_avg_sq")
ONLY_ADAM = (
    "a learner's file holds Adam alone, so set learner.optimizer to a torch.optim.Adam, or keep only the "
    "parameters, torch.save(learner.network.state_dict(), path)"
)
CHECKED = ("learning_rate", "max_grad_norm", "batch_size", "stats_window_size", "verbose", "seed")
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
        "learning_rate": check_schedule("learning_rate", settings["learning_rate"]),
        "max_grad_norm": check_max_grad_norm(settings["max_grad_norm"]),
        **{
            name: check_whole(name, settings[name], least=1, most=MOST_SIZE)
            for name in ("batch_size", "stats_window_size")
        },
        "verbose": check_whole("verbose", settings["verbose"]),
        "seed": None if seed is None else check_whole("seed", seed, least=0),
    }


def current_kwargs(network: nn.Module, kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that make a named network again, also if its rule or backend was replaced."""
    replaced = replaced_in_core(network, kwargs)
    if "rule" in replaced:  # one without a name is left as it is, which plain() refuses
        names = [name for name, kind in RULES.items() if kind() == replaced["rule"]]
        replaced |= {"rule": names[0]} if names else {}
    return {**kwargs, **replaced}


def loaded_settings(parts: Mapping[str, Any], task: EpisodeTask, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of the learner's constructor: those of the file, overridden by the given ones.

    Raises:
        TensorFileError: the file's settings are incomplete or invalid.
        ValueError: it does not fit the task, or a value that it cannot hold is not given.
    """
    with reading("the part 'settings' of the file"):
        saved, trained_on = dict(parts["settings"]), parts["task"]
        found = {name: saved[name] for name in (*_PLAIN, "network")}
        found["max_grad_norm"] = inf if saved["max_grad_norm"] is None else saved["max_grad_norm"]
        if "learning_rate" not in given:
            found["learning_rate"] = rate_from_plain(saved["learning_rate"])
        found["verbose"] = saved.get("verbose", 0)  # missing in the oldest files
        if "verbose" not in given and not isinstance(found["verbose"], int):
            raise TypeError(f"verbose is a whole number, not {found['verbose']!r}")
    if trained_on != sizes(task):
        raise ValueError(f"the learner was trained for {trained_on}, but the task has {sizes(task)}")
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


def check_sizes(settings: Mapping[str, Any], task: EpisodeTask, parts: Mapping[str, Any]) -> None:
    """Check, before memory is allocated, that the settings give a network of the file's parameters.

    Raises:
        TensorFileError: they do not.
        TypeError, ValueError: the settings are invalid.
    """
    if not isinstance(settings["network"], nn.Module):
        _check_network(network_without_memory(settings, task), parts)


def _check_network(network: nn.Module, parts: Mapping[str, Any]) -> None:
    own = {_NETWORK + name: one for name, one in parameters_of(network).items()}
    check_alike("", _split(parts)[0], own)


def take_network(network: nn.Module, parts: Mapping[str, Any]) -> None:
    """Give a network the parameters in a learner's file.

    Raises:
        TensorFileError: the networks differ; the message names the first parameter, and both shapes.
    """
    _check_network(network, parts)
    of_network = _split(parts)[0]
    load_parameters(network, {name.removeprefix(_NETWORK): one for name, one in of_network.items()})


def network_without_memory(settings: Mapping[str, Any], task: EpisodeTask) -> nn.Module:
    """Build the network that a file's settings name, without allocating memory."""
    kwargs = settings["network_kwargs"] or {}
    return made_without_memory(partial(make_network, task, settings["network"], **kwargs), trusted=False)


def loose_tensors(network: nn.Module, optimizer: Optimizer, statistics: Tensor) -> dict[str, Tensor]:
    """Return the tensors of a file by name: parameters, Adam's states, and the running statistics."""
    return {
        **{_NETWORK + name: tensor for name, tensor in parameters_of(network).items()},
        **{
            f"{_OPTIMIZER}{name}/{key}": value
            for name, state in states_of(network, optimizer).items()
            for key, value in state.items()
        },
        STATISTICS: statistics,
    }


def _split(parts: Mapping[str, Any]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return a file's tensors of the network, and all others."""
    tensors = plain_names(parts[LOOSE])
    of_network = {name: tensor for name, tensor in tensors.items() if name.startswith(_NETWORK)}
    return of_network, {name: tensor for name, tensor in tensors.items() if name not in of_network}


class Saved(NamedTuple):
    """The validated parts of a file, except the settings."""

    trained: dict[str, Any]  # network and optimiser
    statistics: tuple[tuple[str, ...], Tensor]
    num_episodes: int
    n_updates: int
    generator: Any


def saved_parts(
    parts: Mapping[str, Any], network: nn.Module, optimizer: Optimizer, *, keep_options: bool = False
) -> Saved:
    """Validate the parts of a file against a network and its optimiser, which are not changed.

    Raises:
        TensorFileError: a part is missing or unknown, or has the wrong shape.
    """
    of_network, others = _split(parts)
    statistics = _statistics(others.pop(STATISTICS, None), parts)
    states, known = dict[str, dict[str, Tensor]](), trained(network)
    for name, tensor in others.items():
        parameter, _, key = name.removeprefix(_OPTIMIZER).rpartition("/")
        if not name.startswith(_OPTIMIZER) or key not in _ADAM or parameter not in known:
            raise TensorFileError(f"{name} is in the file, but is unknown: give another file")
        states.setdefault(parameter, {})[key] = tensor
    of_both = {
        "policy": {name.removeprefix(_NETWORK): tensor for name, tensor in of_network.items()},
        "optimizer": {"state": states, "groups": parts.get("groups")},
        **({"frozen": parts["frozen"]} if "frozen" in parts else {}),
    }
    check_trained(network, optimizer, of_both, keep_options=keep_options)
    with reading("the part of counters and generator"):
        np.random.default_rng(0).bit_generator.state = parts["generator"]
        n_episodes, n_updates = (
            check_whole(name, parts[name], least=0, most=MOST_STEPS) for name in ("num_episodes", "n_updates")
        )
    return Saved(of_both, statistics, n_episodes, n_updates, parts["generator"])


def _statistics(values: Tensor | None, parts: Mapping[str, Any]) -> tuple[tuple[str, ...], Tensor]:
    """Return names and values of the running statistics, validated against the file's settings."""
    names, settings = parts.get("statistics"), parts["settings"]
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise TensorFileError(
            f"the statistics' names are {names!r}, not a list of strings: give another file"
        )
    with reading("the part 'settings' of the file"):
        most = updates_within(settings["stats_window_size"], settings["batch_size"])
    if (
        values is None
        or not values.is_floating_point()
        or values.ndim != 2
        or len(values) > most
        or values.shape[1] != len(names)
    ):
        raise TensorFileError(
            f"{STATISTICS} is {'missing' if values is None else kind_of(values)} in the file, but must be "
            f"floating-point of at most {most} updates x {len(names)} names: give another file"
        )
    return tuple(names), values


def sizes(task: EpisodeTask) -> dict[str, Any]:
    """Return the sizes of a task that its networks depend on."""
    shape, n_classes = [int(size) for size in task.input_shape], task.n_classes
    return {"input_shape": shape, "n_classes": None if n_classes is None else int(n_classes)}
