"""Guard of the shortcuts: they hold for networks that compute what the source of their classes says."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from operator import is_
from typing import Any

import torch
from stable_baselines3.common.torch_layers import CombinedExtractor, FlattenExtractor, NatureCNN
from torch import Tensor, nn

from plasticrl.agents.common.feature_extractors import DictExtractor, SmallCNN
from plasticrl.agents.recurrent.policies import PlasticPolicy
from plasticrl.agents.recurrent.rollout import Rollout
from plasticrl.nn import PlasticGRU, Plasticity, PlasticLSTM, PlasticRNN
from plasticrl.nn.plastic_rnn import HOOKS, hooks_for_all

# They compute the same in training and evaluation, without random numbers; with all their attributes' names.
_NAMES = {
    kind: frozenset(dir(kind))
    for kind in (
        PlasticPolicy, PlasticRNN, PlasticLSTM, PlasticGRU, Plasticity,
        FlattenExtractor, CombinedExtractor, NatureCNN, SmallCNN,
        DictExtractor, nn.Conv2d, nn.Flatten, nn.Linear, nn.ModuleDict, nn.ModuleList, nn.ReLU, nn.Sequential,
    )
}  # fmt: skip
# These classes and those they derive from, as they were when this module was imported.
_ORIGINAL = {base: dict(vars(base)) for base in chain.from_iterable(kind.__mro__[:-1] for kind in _NAMES)}
_COMPUTING = ("__call__", "__getattr__", "__setattr__")  # other special methods, torch.compile replaces some


def unmodified(modules: Iterable[Any]) -> bool:
    """Return True if each module computes what its class's source says, the same at every call.

    Return False if a module is of an unknown class (including a subclass of a known one), has a hook or an
    attribute that hides one of its class, or if a method of its class was replaced, or if global hooks for
    all modules are registered.
    """
    modules = list(modules)
    return (
        all(
            type(module) in _NAMES
            and _NAMES[type(module)].isdisjoint(vars(module))
            and not any(vars(module)[name] for name in HOOKS)
            for module in modules
        )
        and not hooks_for_all()
        and _methods_hold(_bases(modules))
    )


def _bases(modules: Sequence[nn.Module]) -> list[type]:
    return list(dict.fromkeys(chain.from_iterable(type(module).__mro__[:-1] for module in modules)))


def _methods_hold(bases: Iterable[type]) -> bool:
    for base in bases:
        if vars(base) != _ORIGINAL[base]:
            now = dict(vars(base))
            if _computing_part(now) != _computing_part(_ORIGINAL[base]):
                return False
            _ORIGINAL[base] = now
    return True


def _computing_part(attributes: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in attributes.items() if name[:2] != "__" or name in _COMPUTING}


def computing(policy: Any) -> list[Any]:
    """The policy and the layers that decide an action; the policy alone where it is of another class."""
    if type(policy) is not PlasticPolicy:
        return [policy]
    return [policy, *policy.features_extractor.modules(), *policy.core.modules(), policy.action_net]


def mark(tensors: Iterable[Tensor]) -> list[tuple[int, int]]:
    """Identity and version of tensors; another mark means another tensor or a change that torch counts."""
    return [(id(tensor), tensor._version) for tensor in tensors]


class Watch:
    """Notices that modules which are :func:`unmodified` are no longer what they were.

    It sees their attributes, layers, hooks, methods, parameters and buffers.
    """

    def __init__(self, modules: Sequence[nn.Module]) -> None:
        own = [vars(module) for module in modules]
        inner = [one[name] for one in own for name in ("_parameters", "_buffers", "_modules", *HOOKS)]
        self._dicts = own + inner
        self._sizes = list(map(len, self._dicts))
        self._values = [one.values() for one in self._dicts if one]
        self._held = list(chain.from_iterable(self._values))
        self._bases = _bases(modules)
        self._parameters = [held for held in self._held if isinstance(held, Tensor)]
        self._copies = [parameter.detach().clone() for parameter in self._parameters]
        self._versions = [parameter._version for parameter in self._parameters]

    def unchanged(self) -> bool:
        """False after any change that Python or torch count; cheap enough for every step."""
        return (
            list(map(len, self._dicts)) == self._sizes
            and all(map(is_, chain.from_iterable(self._values), self._held))
            and [parameter._version for parameter in self._parameters] == self._versions
            and not hooks_for_all()
            and _methods_hold(self._bases)
        )

    def no_hidden_change(self) -> bool:
        """False where torch did not count that a parameter changed, as through ``.data`` or numpy."""
        return all(
            parameter._version != version or _equal(parameter, copy)
            for parameter, version, copy in zip(self._parameters, self._versions, self._copies, strict=True)
        )


def _equal(one: Tensor, other: Tensor) -> bool:
    return torch.equal(one, other) or torch.allclose(one, other, rtol=0, atol=0, equal_nan=True)


class Replay:
    """Check that a rollout's outputs are what the update would compute again.

    Args:
        policy: the policy that begins the rollout.
        rollout: what it fills; its ``state`` is set.
    """

    def __init__(self, policy: Any, rollout: Rollout) -> None:
        self._policy, self._rollout, self._start = policy, rollout, rollout.state
        modules = computing(policy)
        self._watch = Watch(modules) if unmodified(modules) else None
        self._start_mark = mark(self._start)
        self._results: tuple[Tensor, ...] = ()
        self._results_mark: list[tuple[int, int]] = []

    def note_results(self, final: Iterable[Tensor]) -> None:
        """Take note of the rollout's outputs and of the state after its last step."""
        self._results = (self._rollout.outputs, *final)
        self._results_mark = mark(self._results)

    def holds(self, policy: Any, rollout: Rollout, final: Iterable[Tensor]) -> bool:
        """False where that is not known: the update must then run the core again."""
        return (
            self._watch is not None
            and policy is self._policy
            and rollout is self._rollout
            and mark(rollout.state) == self._start_mark
            and mark((rollout.outputs, *final)) == self._results_mark
            and rollout.is_as_put()
            and self._watch.unchanged()
            and self._watch.no_hidden_change()
        )
