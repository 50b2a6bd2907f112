"""A network in a checkpoint: its parameters by name, which of them are frozen, and what its settings make."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from inspect import signature
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from plasticrl.agents.checkpoint.random_state import undisturbed
from plasticrl.agents.checkpoint.tensor_file import TensorFileError
from plasticrl.nn import PlasticLinear
from plasticrl.nn.plastic_rnn import PlasticRecurrence
from plasticrl.rules import get_rule

T = TypeVar("T")
M = TypeVar("M", bound=nn.Module)
CPU = torch.device("cpu")
_COMPILED = "_orig_mod."  # torch.compile's prefix of the names of a module's parameters
# Attributes of this package's networks that choose what they compute, and are in no tensor.
_SETTINGS = (
    *("rule", "mode", "bound_eta", "backend", "activation"),
    *("normalize_images", "input_mean", "input_std", "extra_neurons"),
)
_ANOTHER = ", so a file of it would be loaded as another network: undo the change"


def plain_name(name: str) -> str:
    """Return a parameter's name without the prefix of ``torch.compile``."""
    return name.replace(_COMPILED, "")


def plain_names(by_name: Mapping[str, T]) -> dict[str, T]:
    """Return a mapping with its keys replaced by their :func:`plain_name`."""
    return {plain_name(name): value for name, value in by_name.items()}


def parameters_of(module: nn.Module) -> dict[str, Any]:
    """Return parameters and buffers by their plain names."""
    return plain_names(module.state_dict())


def trained(module: nn.Module) -> dict[str, nn.Parameter]:
    """Return parameters, without buffers, by their plain names."""
    return plain_names(dict(module.named_parameters()))


def frozen(module: nn.Module) -> list[str]:
    """Return the names of the parameters without gradient."""
    return sorted(name for name, parameter in trained(module).items() if not parameter.requires_grad)


def pack_network(module: nn.Module) -> dict[str, Any]:
    """Return the parts of a file that describe a network: its parameters, and which of them are frozen."""
    return {"policy": parameters_of(module), "frozen": frozen(module)}


def check_network(module: nn.Module, parts: Mapping[str, Any]) -> None:
    """Check that the parts of :func:`pack_network` fit a network; ``frozen`` may be missing.

    Raises:
        TensorFileError: they do not.
    """
    if not isinstance(parts["policy"], dict):
        raise TensorFileError(f"policy is {type(parts['policy']).__name__}, but must be a JSON object")
    check_alike("policy", plain_names(parts["policy"]), parameters_of(module))
    if "frozen" not in parts:
        return
    names, known = parts["frozen"], trained(module)
    if not isinstance(names, list) or not all(isinstance(name, str) and name in known for name in names):
        raise TensorFileError("the frozen parameters in the file are not among the network's")


def restore_network(module: nn.Module, parts: Mapping[str, Any]) -> None:
    """Load parts that passed :func:`check_network` into a network."""
    load_parameters(module, plain_names(parts["policy"]))
    for name, parameter in trained(module).items():
        if "frozen" in parts and parameter.is_floating_point():
            parameter.requires_grad_(name not in parts["frozen"])


def load_parameters(module: nn.Module, parameters: dict[str, Any], *, strict: bool = True) -> None:
    """Call ``module.load_state_dict`` with plain names.

    Raises:
        RuntimeError: a shape differs or, if ``strict``, a name differs.
    """
    own = {plain_name(name): name for name in module.state_dict()}
    module.load_state_dict({own.get(name, name): value for name, value in parameters.items()}, strict=strict)


def check_as_made(name: str, module: nn.Module, made: nn.Module) -> None:
    """Check that a network is one that its settings make: the same parameters, layers and options.

    Raises:
        ValueError: it is not, so that its file could not be loaded, or would be another network.
    """
    for key, here, there in differences(parameters_of(module), parameters_of(made), kind_of):
        raise ValueError(
            f"{name}/{key} is {here}, but {there} in a network built from the settings, so its file could "
            "not be loaded: undo the change (for example with remove_parametrizations or prune.remove), or "
            "give a class of your own that builds it so"
        )
    layers, expected = _layers(module), _layers(made)
    for path in sorted(expected.keys() & layers.keys()):
        own, usual = layers[path], expected[path]
        where = f"{name}/{path}" if path else name
        if _class(own) != _class(usual) and not isinstance(own, torch.jit.ScriptModule):
            raise ValueError(
                f"{where} is a {_class(own)}, but a {_class(usual)} in a network built from the settings"
                f"{_ANOTHER}, or give a class of your own that makes it so"
            )
        for option in sorted(_options(own) & _options(usual)):
            here, there = (getattr(layer, option) for layer in (own, usual))
            if here != there:
                raise ValueError(
                    f"{where}{'.' if path else '/'}{option} is {here!r}, but {there!r} in a network "
                    f"built from the settings{_ANOTHER}, or make the network again with that setting"
                )


def _class(layer: nn.Module) -> str:
    return f"{type(layer).__module__}.{type(layer).__qualname__}"


def _layers(module: nn.Module) -> dict[str, nn.Module]:
    """Return all modules in one by their plain names; of a compiled one, the original."""
    named = module.named_modules(remove_duplicate=False)
    return {plain_name(f"{name}.").removesuffix("."): layer for name, layer in named}


def _options(layer: nn.Module) -> set[str]:
    """Return the names in ``_SETTINGS`` that a layer of this package has; users' own may mean anything."""
    ours = any(cls.__module__.startswith("plasticrl.") for cls in type(layer).__mro__)
    return {name for name in _SETTINGS if ours and name in vars(layer)}


def replaced_in_core(network: nn.Module, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``rule`` and ``backend`` of a plastic core, each only if it was replaced after construction.

    Args:
        network: a policy or a learner's network.
        given: options that its core was made with.
    """
    core = getattr(network, "core", None)
    core = getattr(core, "_orig_mod", core)  # as it was before torch.compile
    if not isinstance(core, (PlasticRecurrence, PlasticLinear)):
        return {}
    made = {name: known.default for name, known in signature(type(core)).parameters.items()} | dict(given)
    replaced: dict[str, Any] = {}
    if core.plasticity.rule != get_rule(made["rule"]):
        replaced["rule"] = core.plasticity.rule
    if isinstance(core, PlasticRecurrence) and core.backend != made["backend"]:
        replaced["backend"] = core.backend
    return replaced


def made_without_memory(make: Callable[[], M], *, trusted: bool) -> M:
    """Return the network that ``make`` builds, on the meta device; random generators stay as they are.

    Args:
        make: builds the network.
        trusted: if building fails on the meta device, since ``make`` reads values, build it in memory.
    """
    with undisturbed(CPU):
        try:
            with torch.device("meta"):
                return make()
        except Exception:  # code that reads values may raise anything if there are none
            if not trusted:
                raise
    with undisturbed(CPU):
        return make()


def check_alike(
    name: str, found: Any, expected: Mapping[Any, Any], kind: Callable[[Any], str] | None = None
) -> None:
    """Check that two mappings have the same keys, with values of the same kind.

    Args:
        name: name of both, for the message; empty if the keys are whole names.
        found: the mapping in the file.
        expected: the mapping in the agent.
        kind: the description of a value that must be the same. Default: :func:`kind_of`.

    Raises:
        TensorFileError: they differ; the message names the first difference.
    """
    if not isinstance(found, dict):
        raise TensorFileError(f"{name} is {type(found).__name__}, but must be a JSON object")
    for key, here, there in differences(found, expected, kind or kind_of):
        raise TensorFileError(
            f"{name}{'/' if name else ''}{key} is {here} in the file and {there} in the agent: "
            "give the settings that the file was made with"
        )


def differences(
    found: Mapping[Any, Any], expected: Mapping[Any, Any], kind: Callable[[Any], str]
) -> Iterator[tuple[str, str, str]]:
    """Yield each key whose values differ in kind, with the kinds of both."""
    for key in sorted(found.keys() | expected.keys()):
        here, there = (kind(side[key]) if key in side else "missing" for side in (found, expected))
        if here != there:
            yield key, here, there


def kind_of(value: Any) -> str:
    """Return dtype and shape of a tensor, or the type of another value."""
    if isinstance(value, Tensor):
        return f"{value.dtype} {tuple(value.shape)}"
    if isinstance(value, tuple):
        return f"({', '.join(kind_of(item) for item in value)})"
    return "a number" if type(value) in (int, float) else type(value).__name__


def shape_of(value: Any) -> str:
    """Return the shape of a tensor, whatever its dtype, or the type of another value."""
    if isinstance(value, Tensor) and value.ndim:
        return f"of shape {tuple(value.shape)}"
    return "a number" if isinstance(value, (int, float, Tensor)) else type(value).__name__
