"""Checks that networks compute exactly what the source of their classes says, as the fast paths assume."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain
from operator import attrgetter, is_, itemgetter
from types import FunctionType
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from stable_baselines3.common.torch_layers import CombinedExtractor, FlattenExtractor, NatureCNN
from torch import Tensor, nn

from plasticrl.agents.common.feature_extractors import DictExtractor, SmallCNN
from plasticrl.agents.recurrent.policies import PlasticPolicy
from plasticrl.nn import PlasticRNN
from plasticrl.nn.core import HOOKS, hooks_for_all
from plasticrl.nn.plastic import Plasticity

_SPECIAL = ("__call__", "__getattr__", "__setattr__")
_SAMPLED = 64  # elements of each tensor that are compared after every step


class _Class:
    """A class as it was when this module was imported."""

    def __init__(self, kind: type) -> None:
        self.names = frozenset(name for name in dir(kind) if not name.startswith("__") or name in _SPECIAL)
        self._get = attrgetter(*sorted(self.names))
        self._kind, self._found = kind, self._get(kind)
        self._replaced_before = not all(map(_own_methods, kind.__mro__))

    def holds(self) -> bool:
        """Return False if a method was replaced, in the class or in one of its base classes."""
        return not self._replaced_before and bool(self._get(self._kind) == self._found)


def _own_methods(kind: type) -> bool:
    """Return False if a method comes from another package, which means that it was replaced."""
    package = kind.__module__.partition(".")[0]
    return all(
        value.__globals__["__name__"].partition(".")[0] == package
        for name, value in vars(kind).items()
        if isinstance(value, FunctionType) and (not name.startswith("__") or name in _SPECIAL)
    )


# Classes that compute the same in training and in evaluation, and use no random numbers.
_CLASSES = {
    kind: _Class(kind)
    for kind in (
        PlasticPolicy, PlasticRNN, Plasticity, FlattenExtractor, CombinedExtractor, NatureCNN,
        SmallCNN, DictExtractor,
        nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ELU, nn.Flatten, nn.GELU, nn.Identity, nn.LayerNorm, nn.LeakyReLU,
        nn.Linear, nn.MaxPool1d, nn.MaxPool2d, nn.ModuleDict, nn.ModuleList, nn.ReLU, nn.Sequential,
        nn.Sigmoid, nn.SiLU, nn.Softplus, nn.Tanh,
    )
}  # fmt: skip


def as_written(modules: Iterable[Any]) -> bool:
    """Return True if each module computes what its class's source says, the same at every call.

    Return False if a module is of an unknown class (including a subclass of a known one), has a hook or an
    attribute that hides one of its class, or if a method of its class was replaced, or if global hooks for
    all modules are registered.
    """
    kinds = set()
    for module in modules:
        kind = type(module)
        known = _CLASSES.get(kind)
        if known is None:
            return False
        own = vars(module)
        if not known.names.isdisjoint(own) or any(own[name] for name in HOOKS):
            return False
        kinds.add(kind)
    return not hooks_for_all() and all(_CLASSES[kind].holds() for kind in kinds)


class Values:
    """Snapshot of the parameters and buffers of some modules."""

    def __init__(self, modules: Sequence[nn.Module]) -> None:
        self._modules = modules
        self._tensors = self._now()
        self._versions = [tensor._version for tensor in self._tensors]
        self._copies = [tensor.detach().clone() for tensor in self._tensors]

    def hold(self) -> bool:
        """Return True if the modules have had the same tensors with the same values since the snapshot.

        A change that was undone since is noticed only if torch counted it (``Tensor._version``).
        """
        now = self._now()
        return (
            len(now) == len(self._tensors)
            and all(map(is_, now, self._tensors))
            and [tensor._version for tensor in now] == self._versions
            and all(_equal(*pair) for pair in zip(now, self._copies, strict=True))
        )

    def _now(self) -> list[Tensor]:
        own = [[*module._parameters.values(), *module._buffers.values()] for module in self._modules]
        return [tensor for tensor in chain.from_iterable(own) if tensor is not None]


def _equal(one: Tensor, other: Tensor) -> bool:
    return torch.equal(one, other) or torch.allclose(one, other, rtol=0, atol=0, equal_nan=True)


class Replay:
    """Check that a rollout's outputs are what the update would compute again.

    Create it before the rollout begins.
    """

    def __init__(self, policy: Any) -> None:
        self._modules = self._computing(policy)
        self._values = Values(self._modules) if self._modules else None

    def holds(self, policy: Any) -> bool:
        """Return True if the outputs can be reused; if False, the update must run the core again."""
        return self._values is not None and self._computing(policy) == self._modules and self._values.hold()

    @staticmethod
    def _computing(policy: Any) -> list[nn.Module]:
        """Return the modules between observation and core output; none if they are not as written."""
        kind = type(policy)
        if (
            not isinstance(policy, PlasticPolicy)
            or _UNROLLS(kind) != _UNROLLS(PlasticPolicy)
            or not _CLASSES[PlasticPolicy].holds()
            or not _CLASSES[PlasticPolicy].names.isdisjoint(vars(policy))
            or any(vars(policy)[name] for name in HOOKS)
            or type(policy.core) is not PlasticRNN
        ):
            return []
        modules = [*policy.features_extractor.modules(), *policy.core.modules()]
        return modules if as_written(modules) else []


_UNROLLS = attrgetter("__call__", "forward", "step_", "_features", "extract_features")


class Watch:
    """Detector of changes to modules on the CPU, or to other objects, between two steps.

    It is cheap enough to run after every step. It compares a sample of the elements of large tensors, since
    torch does not count changes through ``.data`` or numpy, and only those methods of a class that a step
    runs. :meth:`Values.hold` and :func:`as_written` compare everything.
    """

    def __init__(self, modules: Sequence[nn.Module], *others: object) -> None:
        own = [vars(module) for module in modules]
        parts = [one[name] for one in own for name in ("_parameters", "_buffers", "_modules")]
        self._own, self._hooks = (
            own + [vars(other) for other in others],
            [one[name] for one in own for name in HOOKS],
        )
        self._parts = [part.values() for part in parts if part]
        self._held = list(chain.from_iterable(self._parts))
        self._tensors = [part for part in self._held if isinstance(part, Tensor)]
        self._views = [_sample(tensor) for tensor in self._tensors]
        public = [(one, [name for name in one if not name.startswith("_")]) for one in own]
        self._settings = [(itemgetter(*names), one) for one, names in public]
        self._classes = [(_STEP[kind], kind) for kind in {type(module) for module in modules}]
        self._sizes = list(map(len, self._own))
        self._seen = self._look()

    def unchanged(self) -> bool:
        """Return False if an attribute, a hook, a layer, a method or a parameter has changed."""
        return (
            list(map(len, self._own)) == self._sizes  # an attribute can hide a method of the class
            and not any(self._hooks)
            and all(map(is_, chain.from_iterable(self._parts), self._held))
            and not hooks_for_all()
            and self._look() == self._seen
        )

    def _look(self) -> tuple[list[Any], ...]:
        return (
            [tensor._version for tensor in self._tensors],
            [view.tobytes() for view in self._views],
            [get(one) for get, one in self._settings],
            [get(kind) for get, kind in self._classes],
        )


def _sample(tensor: Tensor) -> npt.NDArray[Any]:
    flat: npt.NDArray[Any] = np.reshape(tensor.detach().numpy(), -1)
    return flat[:: 1 + len(flat) // _SAMPLED]


# The methods that a step runs.
_STEP = {
    PlasticPolicy: attrgetter("__call__", "_features", "distribution", "extract_features", "sample", "step_"),
    PlasticRNN: attrgetter("__call__", "coefficients", "forward", "step_"),
    Plasticity: attrgetter("eta"),
    FlattenExtractor: attrgetter("__call__", "forward"),
    nn.Flatten: attrgetter("__call__", "forward"),
    nn.Linear: attrgetter("__call__", "forward"),
}
