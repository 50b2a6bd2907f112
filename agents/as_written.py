"""Tells whether networks still compute what the source of their classes says, as the fast paths assume."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from itertools import chain
from operator import attrgetter, is_
from types import FunctionType
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from stable_baselines3.common.torch_layers import CombinedExtractor, FlattenExtractor, NatureCNN
from torch import Tensor, nn
from torch.nn.modules.module import _has_any_global_hook

from plasticrl.agents.policy import PlasticPolicy
from plasticrl.nn import PlasticRNN
from plasticrl.nn.plastic import Plasticity

_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
_SPECIAL = ("__call__", "__getattr__", "__setattr__")
_SAMPLED = 256  # elements of each tensor that are looked at after every step


class _Class:
    """A class as it was when this module was imported."""

    def __init__(self, kind: type) -> None:
        self.names = frozenset(name for name in dir(kind) if not name.startswith("__") or name in _SPECIAL)
        self._looked_up = attrgetter(*sorted(self.names))
        self._kind, self._found = kind, self._looked_up(kind)
        self._replaced_before = not all(map(_own_methods, kind.__mro__))

    def holds(self) -> bool:
        """False where a method was replaced, in the class or in one it derives from."""
        return not self._replaced_before and bool(self._looked_up(self._kind) == self._found)


def _own_methods(kind: type) -> bool:
    """False where a method comes from another package: someone has replaced it."""
    package = kind.__module__.partition(".")[0]
    return all(
        value.__globals__["__name__"].partition(".")[0] == package
        for name, value in vars(kind).items()
        if isinstance(value, FunctionType) and (not name.startswith("__") or name in _SPECIAL)
    )


# What computes the same in training and evaluation, without random numbers.
_CLASSES = {
    kind: _Class(kind)
    for kind in (
        PlasticPolicy, PlasticRNN, Plasticity, FlattenExtractor, CombinedExtractor, NatureCNN,
        nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ELU, nn.Flatten, nn.GELU, nn.Identity, nn.LayerNorm, nn.LeakyReLU,
        nn.Linear, nn.MaxPool1d, nn.MaxPool2d, nn.ModuleDict, nn.ModuleList, nn.ReLU, nn.Sequential,
        nn.Sigmoid, nn.SiLU, nn.Softplus, nn.Tanh,
    )
}  # fmt: skip


def as_written(modules: Iterable[Any]) -> bool:
    """True where each module computes what its class's source says, the same at every call.

    False where one is of an unknown class (also a subclass), has a hook or an attribute that hides one of
    its class, where a method of its class was replaced, or where there are hooks for all modules.
    """
    kinds = set()
    for module in modules:
        kind = type(module)
        known = _CLASSES.get(kind)
        if known is None:
            return False
        own = vars(module)
        if not known.names.isdisjoint(own) or any(own[name] for name in _HOOKS):
            return False
        kinds.add(kind)
    return not _has_any_global_hook() and all(_CLASSES[kind].holds() for kind in kinds)


class Values:
    """The parameters and buffers of some modules as they are now."""

    def __init__(self, modules: Sequence[nn.Module]) -> None:
        self._modules = modules
        self._tensors = self._now()
        self._versions = [tensor._version for tensor in self._tensors]
        self._copies = [tensor.detach().clone() for tensor in self._tensors]

    def hold(self) -> bool:
        """True where these are the same tensors with the same values, and were so all the time.

        A change that was undone is noticed where torch counts it.
        """
        now = self._now()
        return (
            len(now) == len(self._tensors)
            and all(map(is_, now, self._tensors))
            and [tensor._version for tensor in now] == self._versions
            and all(_equal(*pair) for pair in zip(now, self._copies, strict=True))
        )

    def _now(self) -> list[Tensor]:
        dicts = ((module._parameters, module._buffers) for module in self._modules)
        every = chain.from_iterable(one.values() for one in chain.from_iterable(dicts))
        return [tensor for tensor in every if tensor is not None]


def _equal(one: Tensor, other: Tensor) -> bool:
    return torch.equal(one, other) or torch.allclose(one, other, rtol=0, atol=0, equal_nan=True)


class Replay:
    """Tells whether a rollout's outputs are still what the update would compute again.

    To be made when the rollout begins.
    """

    def __init__(self, policy: Any) -> None:
        self._modules = self._computing(policy)
        self._values = Values(self._modules) if self._modules else None

    def holds(self, policy: Any) -> bool:
        """False where that is not known: the update must then run the core again."""
        return (
            self._values is not None and self._computing(policy) == self._modules and self._values.hold()
        )

    @staticmethod
    def _computing(policy: Any) -> list[nn.Module]:
        """The modules between an observation and the core's output; none where they are not as written."""
        kind = type(policy)
        if (
            not isinstance(policy, PlasticPolicy)
            or _UNROLLS(kind) != _UNROLLS(PlasticPolicy)
            or not _CLASSES[PlasticPolicy].holds()
            or not _CLASSES[PlasticPolicy].names.isdisjoint(vars(policy))
            or any(vars(policy)[name] for name in _HOOKS)
            or type(policy.core) is not PlasticRNN
        ):
            return []
        modules = [*policy.features_extractor.modules(), *policy.core.modules()]
        return modules if as_written(modules) else []


_UNROLLS = attrgetter("__call__", "forward", "step_", "_features", "extract_features")


class Watch:
    """Notices between two steps that modules on the CPU are no longer what they were.

    A look is cheap enough for every step: of a large tensor whose change torch does not count (through
    ``.data`` or numpy) it sees some elements only. :meth:`Values.hold` sees all.
    """

    def __init__(self, modules: Sequence[nn.Module]) -> None:
        self._own = [vars(module) for module in modules]
        self._hooks = [own[name] for own in self._own for name in _HOOKS]
        parts = [own[name] for own in self._own for name in ("_parameters", "_buffers", "_modules")]
        self._parts = [part for part in parts if part]
        self._attributes = list(chain.from_iterable(map(dict.values, self._own)))
        self._held = list(chain.from_iterable(map(dict.values, self._parts)))
        self._tensors = [held for held in self._held if isinstance(held, Tensor)]
        self._views = [_sample(tensor) for tensor in self._tensors]
        self._seen = self._look()

    def unchanged(self) -> bool:
        """False where an attribute, a hook, a layer, a method or a parameter has changed."""
        try:
            same = list(chain.from_iterable(map(dict.values, self._own))) == self._attributes
        except (RuntimeError, ValueError):  # tensors or arrays of several elements that are not the same
            return False
        return (
            same
            and not any(self._hooks)
            and all(map(is_, chain.from_iterable(map(dict.values, self._parts)), self._held))
            and self._look() == self._seen
        )

    def _look(self) -> tuple[Any, ...]:
        return (
            [tensor._version for tensor in self._tensors],
            [view.tobytes() for view in self._views],
            _METHODS(sys.modules[__name__]),
            _has_any_global_hook(),
        )


def _sample(tensor: Tensor) -> npt.NDArray[Any]:
    flat: npt.NDArray[Any] = np.reshape(tensor.detach().numpy(), -1)
    return flat[:: 1 + len(flat) // _SAMPLED]


# The methods that a step runs; all others are looked at before and after a rollout.
_METHODS = attrgetter(
    *(
        f"{kind}.{name}"
        for kind, names in {
            "PlasticPolicy": "sample step_ distribution extract_features __call__",
            "PlasticRNN": "step_ forward coefficients __call__",
            "Plasticity": "eta",
            "FlattenExtractor": "forward __call__",
            "nn.Flatten": "forward __call__",
            "nn.Linear": "forward __call__",
        }.items()
        for name in names.split()
    )
)
