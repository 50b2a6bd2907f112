"""The state of a policy and its optimiser by the parameters' names, and back with every tensor checked."""

from __future__ import annotations

from collections import defaultdict
from copy import copy
from typing import Any

import torch
from stable_baselines3.common.policies import BasePolicy
from torch import Tensor, nn

from plasticrl.agents.tensor_file import TensorFileError


def optimizer_state(policy: BasePolicy) -> dict[str, Any]:
    """What the optimiser remembers of each parameter, and its options, as nested plain values and tensors."""
    names: dict[Tensor, str] = {parameter: name for name, parameter in policy.named_parameters()}
    optimizer = policy.optimizer
    return {
        "state": {names[parameter]: dict(state) for parameter, state in optimizer.state.items() if state},
        "groups": [
            {**group, "params": [names[parameter] for parameter in group["params"]]}
            for group in optimizer.param_groups
        ],
    }


def restore_policy(policy: BasePolicy, parameters: Any, optimizer: Any) -> None:
    """Put parameters and the optimiser's state into a policy; all of it, or none.

    Args:
        policy: to change.
        parameters: tensors by name, as ``policy.state_dict()`` has them.
        optimizer: what :func:`optimizer_state` told.

    Raises:
        TensorFileError: something is missing, is unknown, or has another shape or type.
    """
    check_alike("policy", parameters, policy.state_dict())
    state = _checked_state(policy, optimizer)
    policy.load_state_dict(parameters)
    policy.optimizer.load_state_dict(state)


def check_alike(name: str, found: Any, expected: dict[str, Any]) -> None:
    """Nothing, where ``found`` has what ``expected`` has, in the same shapes and types.

    Raises:
        TensorFileError: it has not; the text names the first difference.
    """
    if not isinstance(found, dict):
        raise TensorFileError(f"{name} is {type(found).__name__} where a JSON object belongs")
    for key in sorted(found.keys() | expected.keys()):
        here, there = (_kind(side[key]) if key in side else "missing" for side in (found, expected))
        if here != there:
            raise TensorFileError(
                f"{name}/{key} is {here} in the file and {there} in the agent: "
                "give the settings that the file was made with"
            )


def _checked_state(policy: BasePolicy, saved: Any) -> dict[str, Any]:
    """The saved state as ``Optimizer.load_state_dict`` wants it, by number instead of name."""
    try:
        states, groups = saved["state"], saved["groups"]
        known = optimizer_state(policy)["groups"]
        ordered = [name for group in known for name in group["params"]]
        if [group["params"] for group in groups] != [group["params"] for group in known]:
            raise TensorFileError("the optimizer's groups in the file are of other parameters than here")
        unknown = sorted(states.keys() - set(ordered))
    except (KeyError, TypeError, AttributeError) as error:
        raise TensorFileError(f"the optimizer's state is not whole ({error!r})") from error
    if unknown:
        raise TensorFileError(f"the optimizer's state is of {unknown[0]!r}, which the agent has not")
    after_one_step = _after_one_step(policy)
    for name, state in states.items():
        check_alike(f"optimizer/{name}", state, after_one_step[name])
    numbered, count = [], 0
    for group, fresh in zip(groups, known, strict=True):
        options = {key: value for key, value in group.items() if key in fresh and key != "params"}
        check_alike("optimizer's options", options, {key: fresh[key] for key in options})
        params = list(range(count, count + len(fresh["params"])))
        numbered.append({**fresh, **options, "params": params})
        count += len(params)
    return {"state": {ordered.index(name): state for name, state in states.items()}, "param_groups": numbered}


def _after_one_step(policy: BasePolicy) -> dict[str, dict[str, Any]]:
    """What this optimiser remembers once it has stepped: tried out on copies."""
    trial = copy(policy.optimizer)
    copies: dict[Tensor, nn.Parameter] = {}
    for parameter in policy.parameters():
        copies[parameter] = nn.Parameter(parameter.detach().clone())
        copies[parameter].grad = torch.zeros_like(parameter)
    trial.state = defaultdict(dict)
    trial.param_groups = [
        {**group, "params": [copies[parameter] for parameter in group["params"]]}
        for group in policy.optimizer.param_groups
    ]
    trial.step()
    return {name: dict(trial.state[copies[parameter]]) for name, parameter in policy.named_parameters()}


def _kind(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"{value.dtype} {tuple(value.shape)}"
    if isinstance(value, tuple):
        return f"({', '.join(_kind(item) for item in value)})"
    return "a number" if type(value) in (int, float) else type(value).__name__
