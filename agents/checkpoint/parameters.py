"""Getting and setting of an agent's parameters, from state dicts or from a file."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Container, Mapping
from operator import attrgetter
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from plasticrl.agents.checkpoint.format import reading
from plasticrl.agents.checkpoint.network import differences, load_parameters, parameters_of, plain_names
from plasticrl.agents.checkpoint.optimizer import (
    check_state_dict,
    load_states,
    optimizer_state,
    restore_trained,
)
from plasticrl.agents.checkpoint.tensor_file import PathOrFile

_OBJECTS = frozenset({"policy", "policy.optimizer"})


class ParameterExchange:
    """Mixin that replaces an SB3 algorithm's methods for parameters, since SB3's own would unpickle a file.

    It must be listed before the SB3 class.
    """

    policy: Any

    def get_parameters(self) -> dict[str, dict[str, Any]]:
        """Return the state dicts of ``policy`` and ``policy.optimizer`` as in SB3, also if compiled."""
        return {"policy": parameters_of(self.policy), "policy.optimizer": self.policy.optimizer.state_dict()}

    @classmethod
    @abstractmethod
    def _parts_in_file(cls, file: PathOrFile) -> dict[str, Any]:
        """Return the parts of a file of this class, among them ``policy`` and ``optimizer``.

        Raises:
            TensorFileError: the file was not written by this class.
        """

    def set_parameters(
        self,
        load_path_or_dict: PathOrFile | Mapping[str, Any],
        exact_match: bool = True,
        device: torch.device | str = "auto",
    ) -> None:
        """Load parameters and optimiser state; on an error, nothing is changed.

        Args:
            load_path_or_dict: a file written by ``save``, as a path or a binary file object, or state dicts
                by name, as returned by :meth:`get_parameters`. Nothing is unpickled.
            exact_match: require every parameter, and no others. False loads those that both have.
            device: for compatibility with SB3; the parameters stay on their device.

        Raises:
            OSError: the file cannot be read.
            TensorFileError: it is damaged, is none that this class wrote, or does not fit.
            ValueError: the dict's names are not those of the agent's objects, or a state dict does not fit
                the optimiser.
            RuntimeError: as in SB3, a state dict does not fit the policy.
        """
        if isinstance(load_path_or_dict, Mapping):
            self._set_from_dicts(load_path_or_dict, exact_match)
            return
        parts = self._parts_in_file(load_path_or_dict)
        with reading():
            parameters, optimizer = parts["policy"], parts["optimizer"]
            if not exact_match:
                own, held = parameters_of(self.policy), optimizer_state(self.policy, self.policy.optimizer)
                known = {name for group in held["groups"] for name in group["params"]}
                parameters = own | _among(own, parameters)
                optimizer = {**held, "state": held["state"] | _among(known, optimizer["state"])}
        restore_trained(self.policy, self.policy.optimizer, {"policy": parameters, "optimizer": optimizer})

    def _set_from_dicts(self, given: Mapping[str, dict[str, Any]], exact_match: bool) -> None:
        if exact_match and given.keys() != _OBJECTS:
            raise ValueError(
                f"names of parameters do not match the agent's: expected {', '.join(sorted(_OBJECTS))}, "
                f"got {', '.join(map(repr, given)) or 'none'}"
            )
        modules: list[tuple[nn.Module, dict[str, Any]]] = []
        optimizers: list[tuple[Optimizer, dict[str, Any]]] = []
        for name, state in given.items():
            try:
                target = attrgetter(name)(self)
            except (AttributeError, TypeError) as error:
                raise ValueError(f"the agent has no object {name!r}") from error
            if isinstance(target, Optimizer):
                check_state_dict(name, target, state)
                optimizers.append((target, state))
            elif isinstance(target, nn.Module):
                modules.append((target, _fitting(name, target, plain_names(state), exact_match)))
            else:
                raise ValueError(f"{name!r} is neither a network nor an optimizer of the agent")
        for optimizer, state in optimizers:  # all of it fits: nothing is refused from here on
            load_states(optimizer, state)
        for module, state in modules:
            load_parameters(module, state, strict=exact_match)


def _fitting(name: str, module: nn.Module, state: dict[str, Any], exact_match: bool) -> dict[str, Any]:
    own = parameters_of(module)
    if not exact_match:
        state = _among(own, state)
        own = _among(state, own)
    for key, found, expected in differences(state, own, _shape):
        raise RuntimeError(f"{name}'s {key} is {found} in the state dict and {expected} in the agent")
    return state


def _among(names: Container[str], by_name: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in plain_names(by_name).items() if name in names}


def _shape(value: Any) -> str:
    return f"of shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
