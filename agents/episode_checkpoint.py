"""What a checkpoint of an episode learner holds, and how a learner is made from it again."""

from __future__ import annotations

import json
from math import inf, isfinite
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from plasticrl.agents.episode_statistics import updates_within
from plasticrl.agents.networks import make_network
from plasticrl.agents.plain_rate import plain_rate, rate_from_plain
from plasticrl.agents.tensor_file import TensorFileError, check_format
from plasticrl.envs.episode import EpisodeTask

if TYPE_CHECKING:
    from plasticrl.agents.episode_learner import EpisodeLearner

_FORMAT, _VERSION = "plasticrl.EpisodeLearner", 1
_NETWORK, _OPTIMIZER, _STATISTICS = "network/", "optimizer/", "statistics"
_PLAIN = ("batch_size", "loss", "network_kwargs", "optimizer_kwargs", "seed", "stats_window_size")


def plain(name: str, options: dict[str, Any] | None) -> dict[str, Any]:
    """The options, if a checkpoint can hold them.

    Raises:
        ValueError: they are not plain values.
    """
    options = dict(options or {})
    for option, value in options.items():
        try:
            json.dumps(value, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"{name}: {option} must be a plain, finite value, which a checkpoint can hold, "
                f"not {value!r}: give a rule by its name, such as rule='oja'"
            ) from error
    return options


def pack(learner: EpisodeLearner) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """All that training needs to go on, as tensors and plain data."""
    tensors = {_NETWORK + name: tensor for name, tensor in learner.network.state_dict().items()}
    for name, parameter in learner.network.named_parameters():
        for key, value in learner.optimizer.state.get(parameter, {}).items():
            tensors[f"{_OPTIMIZER}{name}/{key}"] = value
    tensors[_STATISTICS] = learner.statistics.values
    data = {
        "format": _FORMAT,
        "version": _VERSION,
        "task": _task(learner.task),
        "settings": {
            "network": learner.network_name,
            "learning_rate": plain_rate(learner.learning_rate),
            "max_grad_norm": learner.max_grad_norm if isfinite(learner.max_grad_norm) else None,
            **{name: getattr(learner, name) for name in _PLAIN},
            "verbose": int(learner.verbose),
        },
        "num_episodes": learner.num_timesteps,
        "n_updates": learner.n_updates,
        "statistics": learner.statistics.names,
        "generator": learner.rng.bit_generator.state,
    }
    return tensors, data


def settings(data: dict[str, Any], task: EpisodeTask, given: dict[str, Any]) -> dict[str, Any]:
    """Arguments of the learner's constructor: what the file says, and instead of it what is given.

    Raises:
        TensorFileError: the file is no learner's, or of a later version.
        ValueError: it does not fit the task, or lacks what must be given.
    """
    check_format(data, _FORMAT, _VERSION, "EpisodeLearner.save")
    try:
        saved, trained_on = dict(data["settings"]), data["task"]
        found = {name: saved[name] for name in (*_PLAIN, "network")}
        found["max_grad_norm"] = inf if saved["max_grad_norm"] is None else saved["max_grad_norm"]
        found["learning_rate"] = rate_from_plain(saved["learning_rate"])
        found["verbose"] = saved.get("verbose", 0)  # the first files did not have it
        if type(found["verbose"]) is not int:
            raise TypeError(f"verbose is a whole number, not {found['verbose']!r}")
    except (KeyError, TypeError, ValueError) as error:
        raise TensorFileError(f"the file's settings are not whole ({error!r}): give another file") from error
    if trained_on != _task(task):
        raise ValueError(f"the learner was trained for {trained_on}, but the task has {_task(task)}")
    if isinstance(given.get("network"), torch.nn.Module):
        found["network_kwargs"] = None
    found |= given
    for name, why in (
        ("network", "was made with a network of its own"),
        ("learning_rate", "had a function as learning rate"),
    ):
        if found[name] is None:
            raise ValueError(f"the saved learner {why}, which no file holds: load(..., {name}=...)")
    return found


def check_sizes(settings: dict[str, Any], task: EpisodeTask, tensors: dict[str, Tensor]) -> None:
    """Before any memory is taken, see that the settings ask for what is in the file.

    Raises:
        TensorFileError: they do not.
        TypeError, ValueError: they are not settings.
    """
    if isinstance(settings["network"], torch.nn.Module):
        return
    with torch.device("meta"):
        network = make_network(task, settings["network"], **(settings["network_kwargs"] or {}))
    expected = {_NETWORK + name: _size(tensor) for name, tensor in network.state_dict().items()}
    _check_alike({name: t for name, t in tensors.items() if name.startswith(_NETWORK)}, expected)


def unpack(learner: EpisodeLearner, tensors: dict[str, Tensor], data: dict[str, Any]) -> None:
    """Put a file's parameters, optimiser state, counters and generator into a learner.

    Raises:
        TensorFileError: something is missing, is unknown, or has the wrong shape.
    """
    expected = {_NETWORK + name: _size(tensor) for name, tensor in learner.network.state_dict().items()}
    for name, parameter in learner.network.named_parameters():
        for key in ("exp_avg", "exp_avg_sq", "max_exp_avg_sq"):
            if (entry := f"{_OPTIMIZER}{name}/{key}") in tensors:
                expected[entry] = _size(parameter)
                expected[f"{_OPTIMIZER}{name}/step"] = _size(torch.tensor(0.0))
    names, values = _statistics(tensors.pop(_STATISTICS, None), data)
    _check_alike(tensors, expected)
    learner.network.load_state_dict({name: tensors[_NETWORK + name] for name in learner.network.state_dict()})
    states = {}
    for index, (name, _) in enumerate(learner.network.named_parameters()):
        start = f"{_OPTIMIZER}{name}/"
        state = {key[len(start) :]: tensor for key, tensor in tensors.items() if key.startswith(start)}
        if state:
            states[index] = state
    groups = learner.optimizer.state_dict()["param_groups"]
    learner.optimizer.load_state_dict({"state": states, "param_groups": groups})
    try:
        learner.num_timesteps, learner.n_updates = int(data["num_episodes"]), int(data["n_updates"])
        learner.statistics.restore(names, values.to(learner.device))
        learner.rng.bit_generator.state = data["generator"]
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise TensorFileError(f"the file's counters are not whole ({error!r}): give another file") from error


def _statistics(values: Tensor | None, data: dict[str, Any]) -> tuple[tuple[str, ...], Tensor]:
    """Names and values, where a learner with the file's settings can have them."""
    names, settings = data.get("statistics"), data["settings"]
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise TensorFileError(f"the statistics' names are {names!r}, not a list of texts: give another file")
    try:
        most = updates_within(settings["stats_window_size"], settings["batch_size"])
    except (TypeError, ZeroDivisionError) as error:
        raise TensorFileError(f"the file's settings are not whole ({error!r}): give another file") from error
    found = "missing" if values is None else _size(values)
    if (
        values is None
        or not values.is_floating_point()
        or values.ndim != 2
        or len(values) > most
        or values.shape[1] != len(names)
    ):
        raise TensorFileError(
            f"{_STATISTICS} is {found} in the file, and must be floating-point of at most {most} updates x "
            f"{len(names)} names: give another file"
        )
    return tuple(names), values


def _check_alike(tensors: dict[str, Tensor], expected: dict[str, str]) -> None:
    found = {name: _size(tensor) for name, tensor in tensors.items()}
    for name in sorted(found.keys() | expected.keys()):
        if found.get(name) != expected.get(name):
            raise TensorFileError(
                f"{name} is {found.get(name, 'missing')} in the file and {expected.get(name, 'missing')} in "
                "the learner: give the network and the task that the file was made with"
            )


def _task(task: EpisodeTask) -> dict[str, Any]:
    return {"input_shape": list(task.input_shape), "n_classes": task.n_classes}


def _size(tensor: Tensor) -> str:
    return f"{tensor.dtype} {tuple(tensor.shape)}"
