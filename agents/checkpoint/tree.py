"""Nested values as JSON beside tensors, and back; the kinds that can come back are a closed list."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from math import isfinite
from typing import Any, NamedTuple

import numpy as np
import torch
from stable_baselines3.common.sb2_compat.rmsprop_tf_like import RMSpropTFLike
from stable_baselines3.common.torch_layers import CombinedExtractor, FlattenExtractor, NatureCNN
from stable_baselines3.common.utils import ConstantSchedule, FloatSchedule, LinearSchedule
from torch import Tensor, nn

from plasticrl.agents.common.feature_extractors import DictExtractor, SmallCNN
from plasticrl.rules import RULES, get_rule

OPTIMIZERS: tuple[type[torch.optim.Optimizer], ...] = (
    *(torch.optim.Adadelta, torch.optim.Adagrad, torch.optim.Adam, torch.optim.AdamW),
    *(torch.optim.Adamax, torch.optim.NAdam, torch.optim.RAdam, torch.optim.RMSprop, torch.optim.SGD),
    RMSpropTFLike,
)
# The only classes that a file can name. They are looked up here, never imported by their name.
_CLASSES: dict[str, type] = {
    cls.__name__: cls
    for cls in (
        *OPTIMIZERS,
        *(FlattenExtractor, NatureCNN, CombinedExtractor, SmallCNN, DictExtractor),
        *(nn.Tanh, nn.ReLU, nn.ELU, nn.LeakyReLU, nn.GELU, nn.SiLU, nn.Sigmoid, nn.Identity),
    )
}
_IN_FILES = frozenset(
    {
        *(torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.complex64, torch.bool),
        *(torch.int64, torch.int32, torch.int16, torch.int8),
        *(torch.uint64, torch.uint32, torch.uint16, torch.uint8),
    }
)
_MOST_BITS = 4096  # of a whole number: Python itself refuses to read one of 4,300 digits
_NOT_FINITE = {"inf": float("inf"), "-inf": float("-inf"), "nan": float("nan")}


class Absent(NamedTuple):
    """Stands in a tree for what a file cannot hold."""

    what: str


class NotPlainError(TypeError):
    """A value that a file cannot hold; the text names it."""


def encode(value: Any, tensors: dict[str, Tensor], name: str) -> Any:
    """``value`` as what JSON holds; its arrays and tensors are put into ``tensors``.

    Plain values, lists, tuples, mappings, arrays, tensors, the rules of plasticity, and the optimisers,
    feature extractors and activations of a closed list.

    Args:
        value: what to encode.
        tensors: is added to, by names that start with ``name``.
        name: of the value.

    Raises:
        NotPlainError: the value is, or holds, anything else.
    """
    if isinstance(value, np.generic):
        value = float(value) if isinstance(value, np.floating) else value.item()
    if isinstance(value, int) and value.bit_length() > _MOST_BITS:
        raise NotPlainError(f"{name} is a number of {value.bit_length()} bits, which no file holds")
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if isfinite(value) else {"$float": str(value)}
    if isinstance(value, Absent):
        return {"$absent": value.what}
    if isinstance(value, tuple):
        return {"$tuple": [encode(item, tensors, f"{name}/{i}") for i, item in enumerate(value)]}
    if isinstance(value, list):
        return [encode(item, tensors, f"{name}/{i}") for i, item in enumerate(value)]
    if isinstance(value, Mapping):
        if all(isinstance(key, str) and key[:1] != "$" for key in value):
            return {
                key: encode(item, tensors, f"{name}/{key}" if name else key) for key, item in value.items()
            }
        pairs = enumerate(value.items())
        return {"$mapping": [encode(list(pair), tensors, f"{name}/{i}") for i, pair in pairs]}
    if isinstance(value, Tensor):
        if value.layout is not torch.strided or value.dtype not in _IN_FILES:
            raise NotPlainError(f"{name} is a tensor of {value.dtype}, {value.layout}, which no file holds")
        return {"$tensor": _put(value.detach(), tensors, name)}
    if isinstance(value, np.ndarray):
        try:
            array = torch.from_numpy(value.astype(value.dtype.newbyteorder("="), order="C"))
        except TypeError as error:
            raise NotPlainError(f"{name} is an array of {value.dtype}, which no file holds") from error
        if array.dtype not in _IN_FILES:
            raise NotPlainError(f"{name} is an array of {value.dtype}, which no file holds")
        return {"$array": _put(array, tensors, name)}
    if isinstance(value, type) and _CLASSES.get(value.__name__) is value:
        return {"$class": value.__name__}
    if type(value) in RULES.values():
        options = {field.name: getattr(value, field.name) for field in fields(value)}
        return {"$rule": value.name, **encode(options, tensors, name)}
    raise NotPlainError(f"{name} is {value!r}, which no file holds")


def holds(value: Any) -> bool:
    """Return True if a file can hold the value."""
    try:
        encode(value, {}, "")
    except (NotPlainError, RecursionError):
        return False
    return True


def held(value: Any) -> Any:
    """Return the value, or :class:`Absent` if no file can hold it."""
    return value if holds(value) else Absent(repr(value))


def decode(value: Any, tensors: dict[str, Tensor]) -> Any:
    """The value that :func:`encode` was given.

    Args:
        value: what it returned.
        tensors: what it filled; what is used is taken out.

    Raises:
        ValueError, KeyError, TypeError: ``value`` was not made by it.
    """
    if isinstance(value, list):
        return [decode(item, tensors) for item in value]
    if not isinstance(value, dict):
        return value
    mark = next((key for key in value if key[:1] == "$"), None)
    if mark is None:
        return {key: decode(item, tensors) for key, item in value.items()}
    held = value[mark]
    if mark == "$float":
        return _NOT_FINITE[held]
    if mark == "$absent":
        return Absent(str(held))
    if mark == "$tuple":
        return tuple(decode(item, tensors) for item in list(held))
    if mark == "$mapping":
        return {decode(key, tensors): decode(item, tensors) for key, item in held}
    if mark == "$tensor":
        return tensors.pop(held)
    if mark == "$array":
        return tensors.pop(held).numpy().copy()
    if mark == "$class":
        return _CLASSES[held]
    if mark == "$rule":
        options = {key: decode(item, tensors) for key, item in value.items() if key != mark}
        return type(get_rule(str(held)))(**options)
    raise ValueError(f"{mark!r} is unknown")


def _put(tensor: Tensor, tensors: dict[str, Tensor], name: str) -> str:
    name = name.encode("ascii", "backslashreplace").decode()  # text may hold what no file's name may
    while name in tensors:  # "a/b" in one mapping and "b" in its neighbour "a"
        name += "'"
    tensors[name] = tensor
    return name


def plain_rate(rate: Any) -> Any:
    """A number, SB3's schedules as their arguments, None for any other function."""
    if isinstance(rate, FloatSchedule):
        rate = rate.value_schedule
    if isinstance(rate, ConstantSchedule):
        rate = rate.val
    if isinstance(rate, LinearSchedule):
        return [float(rate.start), float(rate.end), float(rate.end_fraction)]
    return None if callable(rate) else float(rate)


def rate_from_plain(plain: Any) -> Any:
    """The learning rate that :func:`plain_rate` was given, except for functions.

    Raises:
        TypeError, ValueError: ``plain`` was not made by it.
    """
    return LinearSchedule(*map(float, plain)) if isinstance(plain, list) else plain
