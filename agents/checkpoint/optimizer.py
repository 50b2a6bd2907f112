"""An optimiser in a checkpoint: its options and the state of each parameter, by the parameters' names."""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Callable, Mapping
from copy import copy
from itertools import chain
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from plasticrl.agents.checkpoint.format import reading
from plasticrl.agents.checkpoint.network import (
    CPU,
    check_alike,
    check_network,
    frozen,
    kind_of,
    pack_network,
    plain_name,
    plain_names,
    restore_network,
    shape_of,
    trained,
)
from plasticrl.agents.checkpoint.tensor_file import TensorFileError
from plasticrl.arguments import plain_number

K = TypeVar("K")
# How a step is computed, not its result: a trial on other tensors has no such choice.
_HOW = {"fused": None, "foreach": None, "capturable": False}


def pack_trained(module: nn.Module, optimizer: Optimizer) -> dict[str, Any]:
    """Return the parts of a file that describe a network and its optimiser."""
    return {**pack_network(module), "optimizer": optimizer_state(module, optimizer)}


def check_trained(
    module: nn.Module, optimizer: Optimizer, parts: Mapping[str, Any], *, keep_options: bool = False
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Check the arguments of :func:`restore_trained`; return the optimiser's groups and states by name.

    Raises:
        TensorFileError: a value is missing or unknown, or has another shape or type.
    """
    check_network(module, parts)
    parameters = trained(module)
    with reading("the optimizer's state in the file"):
        saved = parts["optimizer"]
        states, groups = plain_names(saved["state"]), saved.get("groups")
        if groups is None:  # unchanged since construction
            groups = [{"params": list(parameters)}]
        groups = [{**group, "params": list(map(plain_name, group["params"]))} for group in groups]
        return _checked(optimizer, groups, states, parameters, kind_of, keep_options=keep_options), states


def restore_trained(
    module: nn.Module, optimizer: Optimizer, parts: Mapping[str, Any], *, keep_options: bool = False
) -> None:
    """Load a file's parameters and optimiser state into a network; on an error, nothing is changed.

    Args:
        module: the network to change.
        optimizer: the network's optimiser.
        parts: the parts of the file, as :func:`pack_trained` returns them. Without ``frozen``, the
            parameters that are frozen stay so; without ``groups``, the optimiser gets its usual options.
        keep_options: do not change the optimiser's options.

    Raises:
        TensorFileError: a value is missing or unknown, or has another shape or type.
    """
    groups, states = check_trained(module, optimizer, parts, keep_options=keep_options)
    restore_network(module, parts)
    parameters = trained(module)
    optimizer.param_groups.clear()
    for group in groups:
        optimizer.add_param_group({**group, "params": [parameters[name] for name in group["params"]]})
    numbers = {name: i for i, name in enumerate(name for group in groups for name in group["params"])}
    numbered = [{**group, "params": [numbers[name] for name in group["params"]]} for group in groups]
    load_states(
        optimizer,
        {"state": {numbers[name]: state for name, state in states.items()}, "param_groups": numbered},
    )


def load_states(optimizer: Optimizer, state_dict: dict[str, Any]) -> None:
    """Load a state dict, with each state in the memory order of its parameter, as after a step.

    Files hold tensors row by row. A fused optimiser pairs the elements of parameter and state by their place
    in memory, so that another order, such as that of ``torch.channels_last``, would mix them up.
    """
    optimizer.load_state_dict(state_dict)
    for parameter, state in optimizer.state.items():
        for name, value in state.items():
            of_parameter = isinstance(value, Tensor) and value.shape == parameter.shape
            if of_parameter and value.stride() != parameter.stride():
                state[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)


def optimizer_state(module: nn.Module, optimizer: Optimizer) -> dict[str, Any]:
    """Return the optimiser's state of each parameter and its options, as nested plain values and tensors.

    Parameters that no longer belong to the module are left out with a warning.
    """
    names = _names(module)
    held = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    if lost := [tuple(parameter.shape) for parameter in held if parameter not in names]:
        warnings.warn(
            f"the optimizer holds parameters of shapes {lost} that the network no longer has; they are not "
            "saved",
            stacklevel=5,
        )
    return {"state": states_of(module, optimizer), "groups": _groups(module, optimizer)}


def states_of(module: nn.Module, optimizer: Optimizer) -> dict[str, dict[str, Any]]:
    """Return the optimiser's state of each of the module's parameters that it has stepped."""
    found = {name: optimizer.state.get(parameter) for name, parameter in trained(module).items()}
    return {name: dict(state) for name, state in found.items() if state}


def changed_groups(module: nn.Module, optimizer: Optimizer, made: nn.Module | None = None) -> dict[str, Any]:
    """Return ``groups`` and ``frozen``, each only if it was changed after construction.

    Args:
        module: the network.
        optimizer: the network's optimiser.
        made: a fresh network to compare with. Default: one without frozen parameters.
    """
    usual = _usual_options(optimizer)
    groups, still = _groups(module, optimizer), frozen(module)
    as_made = [{**usual, "lr": None, "params": list(trained(module))}]
    changed = {} if [{**usual, **group, "lr": None} for group in groups] == as_made else {"groups": groups}
    return changed if still == (frozen(made) if made else []) else {**changed, "frozen": still}


def check_optimizer_kind(optimizer: Optimizer, usual: type[Optimizer], way_out: str | None = None) -> None:
    """Check that the optimiser is of the class that loading a file makes again.

    Args:
        optimizer: the optimiser to save.
        usual: the class that is made.
        way_out: advice for the message. Default: to give the class to the policy.

    Raises:
        ValueError: it was replaced by one of another class.
    """
    if type(optimizer) is not usual:
        own = type(optimizer).__name__
        advice = way_out or f"make the agent with policy_kwargs=dict(optimizer_class={own}) instead"
        raise ValueError(
            f"the optimizer is {own}, but the settings make {usual.__name__}, so a file of it could not be "
            f"loaded: {advice}"
        )


def check_state_dict(name: str, optimizer: Optimizer, given: Any) -> None:
    """Check that ``optimizer.load_state_dict`` can take a state dict; nothing is changed.

    Args:
        name: name of the optimiser, for the message.
        optimizer: the optimiser to load it into.
        given: the state dict of another optimiser.

    Raises:
        ValueError: something is missing, is unknown, or has another shape.
    """
    own = [group["params"] for group in optimizer.param_groups]
    try:
        with reading("it"):
            groups = given["param_groups"]
            if [len(group["params"]) for group in groups] != [len(held) for held in own]:
                raise ValueError("it has other groups of parameters")
            numbers = chain.from_iterable(group["params"] for group in groups)
            parameters = dict(zip(numbers, chain.from_iterable(own), strict=True))
            _checked(optimizer, groups, given["state"], parameters, shape_of)
    except TensorFileError as error:
        raise ValueError(f"{name}: the state dict does not fit the agent's optimizer ({error})") from error


def _groups(module: nn.Module, optimizer: Optimizer) -> list[dict[str, Any]]:
    """Return the options of each of the optimiser's groups, with the names of its parameters."""
    names = _names(module)
    return [
        {
            **_plain_options(group, optimizer.defaults),
            "params": [names[parameter] for parameter in group["params"] if parameter in names],
        }
        for group in optimizer.param_groups
    ]


def _names(module: nn.Module) -> dict[Tensor, str]:
    return {parameter: name for name, parameter in trained(module).items()}


def _usual_options(optimizer: Optimizer) -> dict[str, Any]:
    return _plain_options(optimizer.defaults, optimizer.defaults)


def _plain_options(group: Mapping[str, Any], usual: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of a group's options that the optimiser knows, as plain values."""
    return {name: _plain_option(group[name], value) for name, value in usual.items() if name in group}


def _plain_option(value: Any, usual: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return (tuple if isinstance(usual, tuple) else type(value))(plain_number(one) for one in value)
    return plain_number(value)


def _checked(
    optimizer: Optimizer,
    groups: list[dict[str, Any]],
    states: Mapping[K, dict[str, Any]],
    parameters: Mapping[K, Tensor],
    kind: Callable[[Any], str],
    *,
    keep_options: bool = False,
) -> list[dict[str, Any]]:
    """Check groups and states, whose parameters are keys of ``parameters``; return groups with all options.

    Raises:
        TensorFileError: something is missing, is unknown, or has another kind or shape.
    """
    usual, checked = _usual_options(optimizer), []
    for group in groups:
        found = {} if keep_options else _plain_options(group, usual)
        check_alike("optimizer's options", found, {name: usual[name] for name in found}, _kind_of_option)
        checked.append({**usual, **found, "params": group["params"]})
    held = [name for group in checked for name in group["params"]]
    if len(set(held)) < len(held) or not set(held) <= parameters.keys():
        raise TensorFileError("the optimizer's groups do not list parameters of the agent, each at most once")
    if unknown := sorted(states.keys() - set(held), key=str):
        raise TensorFileError(f"the optimizer's state is of {unknown[0]!r}, which is in no group")
    after_one_step = _after_one_step(optimizer, checked, parameters)
    for name, state in states.items():
        check_alike(f"optimizer/{name}", state, after_one_step[name], kind)
    return checked


def _kind_of_option(value: Any) -> str:
    return "a switch" if value is None or isinstance(value, bool) else kind_of(value)


def _after_one_step(
    optimizer: Optimizer, groups: list[dict[str, Any]], parameters: Mapping[K, Tensor]
) -> dict[K, dict[str, Any]]:
    """Return the optimiser's states after one step, tried out on copies, without memory if possible.

    Raises:
        TensorFileError: the optimiser cannot step with these options.
    """
    held = [{**group, "params": {name: parameters[name] for name in group["params"]}} for group in groups]
    try:
        try:
            return _stepped(optimizer, held, torch.device("meta"))
        except Exception:  # a user's optimiser that reads values may raise anything if there are none
            return _stepped(optimizer, held, CPU)
    except (ArithmeticError, RuntimeError, TypeError, ValueError, AssertionError) as error:
        raise TensorFileError(f"the optimizer's options are not allowed ({error!r})") from error


def _stepped(
    optimizer: Optimizer, groups: list[dict[str, Any]], device: torch.device
) -> dict[Any, dict[str, Any]]:
    trial = copy(optimizer)
    trial.state, trial.param_groups = defaultdict(dict), []
    copies = {}
    for group in groups:
        for name, parameter in group["params"].items():
            copies[name] = nn.Parameter(torch.zeros_like(parameter, device=device))
            copies[name].grad = torch.zeros_like(copies[name])
        options = {**group, **{option: value for option, value in _HOW.items() if option in group}}
        trial.param_groups.append({**options, "params": [copies[name] for name in group["params"]]})
    step = type(trial).step
    getattr(step, "__wrapped__", step)(trial)  # without the hooks that a user put on steps
    return {name: dict(trial.state[parameter]) for name, parameter in copies.items()}
