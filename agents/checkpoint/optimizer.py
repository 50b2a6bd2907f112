"""Saving and restoring of a network and its optimiser by parameter names, with every tensor checked."""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from copy import copy
from inspect import signature
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from plasticrl.agents.checkpoint.random_state import undisturbed
from plasticrl.agents.checkpoint.tensor_file import TensorFileError
from plasticrl.agents.checkpoint.tree import OPTIMIZERS
from plasticrl.arguments import plain_number
from plasticrl.nn import PlasticLinear, PlasticRNN
from plasticrl.rules import get_rule

T = TypeVar("T")
K = TypeVar("K")
M = TypeVar("M", bound=nn.Module)
_CPU = torch.device("cpu")
_COMPILED = "_orig_mod."  # what torch.compile puts before the names of a module's parameters
# Attributes of this package's networks that choose what they compute, and are in no tensor.
_SETTINGS = (
    *("rule", "mode", "bound_eta", "backend", "activation"),
    *("normalize_images", "input_mean", "input_std", "extra_neurons"),
)
_ANOTHER = ", so a file of it would be loaded as another network: undo the change"
# How a step is computed, not what it is: a trial on other tensors has no such choice.
_HOW = {"fused": None, "foreach": None, "capturable": False}


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


def freeze(module: nn.Module, names: Any) -> None:
    """Disable gradients for these parameters, and enable them for all others.

    Raises:
        TensorFileError: ``names`` are not names of the module's parameters.
    """
    check_frozen(module, names)
    for name, parameter in trained(module).items():
        if parameter.is_floating_point():
            parameter.requires_grad_(name not in names)


def check_frozen(module: nn.Module, names: Any) -> None:
    """Check that ``names`` is a list of names of the module's parameters.

    Raises:
        TensorFileError: it is not.
    """
    known = trained(module)
    if not isinstance(names, list) or not all(isinstance(name, str) and name in known for name in names):
        raise TensorFileError("the frozen parameters in the file are not among the network's")


def pack_network(module: nn.Module) -> dict[str, Any]:
    """The parts of a file that are a policy's alone: its parameters and which of them are frozen."""
    return {"policy": parameters_of(module), "frozen": frozen(module)}


def check_network(module: nn.Module, parts: dict[str, Any]) -> None:
    """Check that the parts of :func:`pack_network` in a file fit a policy.

    Raises:
        TensorFileError: they do not.
    """
    try:
        check_parameters(module, parts["policy"])
    except KeyError as error:
        raise TensorFileError(f"the file is incomplete or invalid ({error}): give another file") from error
    if "frozen" in parts:  # the first files did not have it
        check_frozen(module, parts["frozen"])


def restore_network(module: nn.Module, parts: dict[str, Any]) -> None:
    """Put parts that passed :func:`check_network` into a policy."""
    load_parameters(module, plain_names(parts["policy"]))
    if "frozen" in parts:
        freeze(module, parts["frozen"])


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
            stacklevel=4,
        )
    states = {names[p]: dict(state) for p, state in optimizer.state.items() if state and p in names}
    return {"state": states, "groups": optimizer_groups(module, optimizer)}


def changed_groups(module: nn.Module, optimizer: Optimizer, made: nn.Module | None = None) -> dict[str, Any]:
    """Return ``groups`` and ``frozen``, each only if it was changed after construction.

    Args:
        module: the network.
        optimizer: the network's optimiser.
        made: a fresh network to compare with. Default: one without frozen parameters.
    """
    usual = _usual_options(optimizer)
    groups, still = optimizer_groups(module, optimizer), frozen(module)
    as_made = [{**usual, "lr": None, "params": list(trained(module))}]
    changed = {} if [{**usual, **group, "lr": None} for group in groups] == as_made else {"groups": groups}
    return changed if still == (frozen(made) if made else []) else {**changed, "frozen": still}


def optimizer_groups(module: nn.Module, optimizer: Optimizer) -> list[dict[str, Any]]:
    """Return the options of each of the optimiser's groups, with the names of its parameters."""
    names = _names(module)
    return [
        {
            **{
                name: _plain_option(group[name], usual)
                for name, usual in optimizer.defaults.items()
                if name in group  # once loaded, torch adds defaults that not every optimizer knows
            },
            "params": [names[parameter] for parameter in group["params"] if parameter in names],
        }
        for group in optimizer.param_groups
    ]


def _names(module: nn.Module) -> dict[Tensor, str]:
    return {parameter: name for name, parameter in trained(module).items()}


def _usual_options(optimizer: Optimizer) -> dict[str, Any]:
    return {name: _plain_option(value, value) for name, value in optimizer.defaults.items()}


def _plain_option(value: Any, usual: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return (tuple if isinstance(usual, tuple) else type(value))(plain_number(one) for one in value)
    return plain_number(value)


def restore(
    module: nn.Module, optimizer: Optimizer, parameters: Any, saved: Any, *, keep_options: bool = False
) -> None:
    """Load parameters and optimiser state into a network; on an error, nothing is changed.

    Args:
        module: the network to change.
        optimizer: the network's optimiser.
        parameters: tensors by name, as returned by :func:`parameters_of`.
        saved: the result of :func:`optimizer_state`.
        keep_options: do not change the optimiser's options.

    Raises:
        TensorFileError: a value is missing or unknown, or has another shape or type.
    """
    groups, states = check_fits(module, optimizer, parameters, saved, keep_options=keep_options)
    load_parameters(module, plain_names(parameters))
    load_optimizer(module, optimizer, groups, states)


def load_parameters(module: nn.Module, parameters: dict[str, Any], *, strict: bool = True) -> None:
    """Call ``module.load_state_dict`` with plain names.

    Raises:
        RuntimeError: a shape differs or, if ``strict``, a name differs.
    """
    own = {plain_name(name): name for name in module.state_dict()}
    module.load_state_dict({own.get(name, name): value for name, value in parameters.items()}, strict=strict)


def load_optimizer(
    module: nn.Module, optimizer: Optimizer, groups: list[dict[str, Any]], states: dict[str, Any]
) -> None:
    """Load groups and states, by the parameters' plain names, into an optimiser."""
    parameters = trained(module)
    optimizer.param_groups.clear()
    for group in groups:
        optimizer.add_param_group({**group, "params": [parameters[name] for name in group["params"]]})
    numbers = {name: i for i, name in enumerate(name for group in groups for name in group["params"])}
    numbered = [{**group, "params": [numbers[name] for name in group["params"]]} for group in groups]
    optimizer.load_state_dict(
        {"state": {numbers[name]: state for name, state in states.items()}, "param_groups": numbered}
    )


def check_fits(
    module: nn.Module, optimizer: Optimizer, parameters: Any, saved: Any, *, keep_options: bool = False
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Validate the arguments of :func:`restore`; return groups and states for :func:`load_optimizer`.

    Raises:
        TensorFileError: a value is missing or unknown, or has another shape or type.
    """
    check_parameters(module, parameters)
    return check_optimizer(module, optimizer, saved, keep_options=keep_options)


def check_parameters(module: nn.Module, parameters: Any) -> None:
    """As :func:`check_fits`, of the parameters alone.

    Raises:
        TensorFileError: something is missing, is unknown, or has another shape or type.
    """
    if not isinstance(parameters, dict):
        raise TensorFileError(f"policy is {type(parameters).__name__}, but must be a JSON object")
    check_alike("policy", plain_names(parameters), parameters_of(module))


def check_optimizer(
    module: nn.Module, optimizer: Optimizer, saved: Any, *, keep_options: bool = False
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Do the same as :func:`check_fits` for the optimiser alone.

    Raises:
        TensorFileError: a value is missing or unknown, or has another shape or type.
    """
    usual = _usual_options(optimizer)
    try:
        states, groups = plain_names(saved["state"]), saved.get("groups")
        if groups is None:  # unchanged since construction
            groups = [{"params": list(trained(module))}]
        named = [[plain_name(name) for name in group["params"]] for group in groups]
        groups = [
            _checked_options({} if keep_options else group, usual) | {"params": names}
            for group, names in zip(groups, named, strict=True)
        ]
    except (KeyError, TypeError, AttributeError) as error:
        raise TensorFileError(f"the optimizer's state is incomplete ({error!r})") from error
    held = [name for names in named for name in names]
    parameters = trained(module)
    if len(set(held)) < len(held) or not set(held) <= parameters.keys():
        raise TensorFileError(
            "the optimizer's groups in the file do not list parameters of the agent, each at most once"
        )
    if unknown := sorted(states.keys() - set(held)):
        raise TensorFileError(f"the optimizer's state is of {unknown[0]!r}, which the agent lacks")
    after_one_step = _after_one_step(optimizer, groups, parameters)
    for name, state in states.items():
        check_alike(f"optimizer/{name}", state, after_one_step[name])
    return groups, states


def check_state_dict(name: str, optimizer: Optimizer, given: Any) -> None:
    """Check that ``optimizer.load_state_dict`` can take a state dict; nothing is changed.

    Args:
        name: of the optimiser, for the text.
        optimizer: to load it into.
        given: what the ``state_dict`` of another returned.

    Raises:
        ValueError: something is missing, is unknown, or has another shape.
    """
    own = [group["params"] for group in optimizer.param_groups]
    try:
        groups, states = given["param_groups"], given["state"]
        numbers = [number for group in groups for number in group["params"]]
        if [len(group["params"]) for group in groups] != [len(held) for held in own]:
            raise ValueError("it has other groups of parameters")
        if unknown := states.keys() - set(numbers):
            raise ValueError(f"it holds the state of {min(unknown, key=str)!r}, which is in no group")
        usual, options = _usual_options(optimizer), []
        for group in groups:
            found = _plain_group(group, usual)
            for key, here, there in differences(found, {key: usual[key] for key in found}, _kind_of_option):
                raise ValueError(f"{key} is {here}, and {there} in the agent")
            options.append({**usual, **found, "params": group["params"]})
        parameters = dict(zip(numbers, (parameter for held in own for parameter in held), strict=True))
        after_one_step = _after_one_step(optimizer, options, parameters)
        for number, state in states.items():
            for key, here, there in differences(dict(state), after_one_step[number], _shape):
                raise ValueError(f"{key} of parameter {number} is {here}, and {there} in the agent")
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"{name}: the state dict does not fit the agent's optimizer ({error})") from error


def _checked_options(group: dict[str, Any], usual: dict[str, Any]) -> dict[str, Any]:
    options = _plain_group(group, usual)
    check_alike("optimizer's options", options, {name: usual[name] for name in options}, kind=_kind_of_option)
    return {**usual, **options}


def _plain_group(group: dict[str, Any], usual: dict[str, Any]) -> dict[str, Any]:
    return {name: _plain_option(value, usual[name]) for name, value in group.items() if name in usual}


def _after_one_step(
    optimizer: Optimizer, groups: list[dict[str, Any]], parameters: Mapping[K, Tensor]
) -> dict[K, dict[str, Any]]:
    """The optimiser's memory after one step, tried out on copies, in little memory if possible.

    Raises:
        TensorFileError: the optimiser cannot step with these options.
    """
    held = [{**group, "params": {name: parameters[name] for name in group["params"]}} for group in groups]
    try:
        if type(optimizer) in OPTIMIZERS:
            return _tried_on_few(optimizer, held)
        try:
            return _tried(optimizer, held, torch.device("meta"))
        except Exception:  # it may look at values, and fail in a way of its own where there are none
            return _tried(optimizer, held, _CPU)
    except (ArithmeticError, RuntimeError, TypeError, ValueError, AssertionError) as error:
        raise TensorFileError(f"the optimizer's options are not allowed ({error!r})") from error


def _tried_on_few(optimizer: Optimizer, groups: list[dict[str, Any]]) -> dict[Any, dict[str, Any]]:
    """As :func:`_tried`, but on one small tensor of each group and type.

    It serves torch's own optimisers, whose states have the parameter's shape or are single numbers.
    """
    small = [
        {**group, "params": {f"{i} {p.dtype}": p.new_zeros(2, 3) for p in group["params"].values()}}
        for i, group in enumerate(groups)
    ]
    found = _tried(optimizer, small, _CPU)
    return {
        name: {
            key: value.new_empty(()).expand(p.shape) if isinstance(value, Tensor) and value.ndim else value
            for key, value in found[f"{i} {p.dtype}"].items()
        }
        for i, group in enumerate(groups)
        for name, p in group["params"].items()
    }


def _tried(
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


def check_alike(
    name: str, found: Any, expected: dict[str, Any], kind: Callable[[Any], str] | None = None
) -> None:
    """Check that ``found`` has the same keys as ``expected``, with values of the same shapes and types.

    Args:
        name: of both, for the text; empty where the keys are whole names.
        found: in the file.
        expected: in the agent.
        kind: the description that must be the same. Default: :func:`kind_of`.

    Raises:
        TensorFileError: they differ; the message names the first difference.
    """
    if not isinstance(found, dict):
        raise TensorFileError(f"{name} is {type(found).__name__} where a JSON object belongs")
    for key, here, there in differences(found, expected, kind or kind_of):
        raise TensorFileError(
            f"{name}{'/' if name else ''}{key} is {here} in the file and {there} in the agent: "
            "give the settings that the file was made with"
        )


def check_as_made(name: str, module: nn.Module, made: nn.Module) -> None:
    """Check that a network is one that its settings make: the same parameters, layers and options.

    Raises:
        ValueError: it is not, so that what is saved could not be loaded, or would be another network.
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
                f"{_ANOTHER}, "
                "or give a class of your own that makes it so"
            )
        for option in sorted(_options(own) & _options(usual)):
            here, there = (getattr(layer, option) for layer in (own, usual))
            if here != there:
                raise ValueError(
                    f"{where}{'.' if path else '/'}{option} is {here!r}, but {there!r} in a network "
                    f"built from the settings{_ANOTHER}, or make the network anew with that setting"
                )


def _class(layer: nn.Module) -> str:
    return f"{type(layer).__module__}.{type(layer).__qualname__}"


def _layers(module: nn.Module) -> dict[str, nn.Module]:
    """All modules in one, by their plain names; of a compiled one, what was compiled."""
    return {
        plain_name(f"{name}.").removesuffix("."): layer
        for name, layer in module.named_modules(remove_duplicate=False)
    }


def _options(layer: nn.Module) -> set[str]:
    """The names in ``_SETTINGS`` that a layer of this package has; those of users' own may count anything."""
    ours = any(cls.__module__.startswith("plasticrl.") for cls in type(layer).__mro__)
    return {name for name in _SETTINGS if ours and name in vars(layer)}


def replaced_in_core(network: nn.Module, given: Mapping[str, Any]) -> dict[str, Any]:
    """``rule`` and ``backend`` of a plastic core, each only where it was replaced after the constructor.

    Args:
        network: that has the core, a policy or a learner's.
        given: options that it was made with.
    """
    core = getattr(network, "core", None)
    core = getattr(core, "_orig_mod", core)  # as it was before torch.compile
    if not isinstance(core, (PlasticRNN, PlasticLinear)):
        return {}
    made = {name: known.default for name, known in signature(type(core)).parameters.items()} | dict(given)
    replaced: dict[str, Any] = {}
    if core.plasticity.rule != get_rule(made["rule"]):
        replaced["rule"] = core.plasticity.rule
    if isinstance(core, PlasticRNN) and core.backend != made["backend"]:
        replaced["backend"] = core.backend
    return replaced


def check_optimizer_kind(optimizer: Optimizer, usual: type[Optimizer], way_out: str | None = None) -> None:
    """Check that the optimiser is of the kind that is made again when a file is loaded.

    Args:
        optimizer: to save.
        usual: the kind that is made.
        way_out: advice for the text. Default: to give the class to the policy.

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


def made_without_memory(make: Callable[[], M], *, trusted: bool) -> M:
    """The network that ``make`` makes, its tensors without content; the random generators stay as they are.

    Args:
        make: builds the network.
        trusted: if building fails on the meta device, since ``make`` reads values, build it in memory.
    """
    with undisturbed(_CPU):
        try:
            with torch.device("meta"):
                return make()
        except Exception:  # code that looks at values fails in ways of its own where there are none
            if not trusted:
                raise
    with undisturbed(_CPU):
        return make()


def differences(
    found: dict[str, Any], expected: dict[str, Any], kind: Callable[[Any], str]
) -> Iterator[tuple[str, str, str]]:
    """Yield each key whose values differ in kind, with the kinds of both."""
    for key in sorted(found.keys() | expected.keys()):
        here, there = (kind(side[key]) if key in side else "missing" for side in (found, expected))
        if here != there:
            yield key, here, there


def kind_of(value: Any) -> str:
    """Dtype and shape of a tensor, or the type of another value."""
    if isinstance(value, Tensor):
        return f"{value.dtype} {tuple(value.shape)}"
    if isinstance(value, tuple):
        return f"({', '.join(kind_of(item) for item in value)})"
    return "a number" if type(value) in (int, float) else type(value).__name__


def _kind_of_option(value: Any) -> str:
    return "a switch" if value is None or isinstance(value, bool) else kind_of(value)


def _shape(value: Any) -> str:
    if isinstance(value, Tensor) and value.ndim:
        return f"of shape {tuple(value.shape)}"
    return "a number" if isinstance(value, (int, float, Tensor)) else type(value).__name__
