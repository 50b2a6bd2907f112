"""Encoding of nested values as JSON plus tensors, and decoding; only a closed list of types is decoded.

Learning rates and Gymnasium's spaces are converted to such values first.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import fields
from math import isfinite
from typing import Any, NamedTuple

import numpy as np
import torch
from gymnasium import spaces
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
# The only classes that a file can name. They are looked up here, never imported by name.
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
_INTEGERS: dict[str, Any] = {
    dtype.__name__: dtype
    for dtype in (np.int8, np.int16, np.int32, np.int64, np.uint8, np.uint16, np.uint32, np.uint64)
}
_MOST_BITS = 4096  # limit for integers; Python itself refuses to parse more than 4,300 digits
_NOT_FINITE = {"inf": float("inf"), "-inf": float("-inf"), "nan": float("nan")}


class Absent(NamedTuple):
    """Placeholder in a tree for a value that a file cannot hold."""

    what: str  # the value or the reason, for messages


class NotPlainError(TypeError):
    """A value cannot be stored in a file; the message names it."""


def encode(value: Any, tensors: dict[str, Tensor], name: str) -> Any:
    """Encode ``value`` as JSON data, and move its arrays and tensors to ``tensors``.

    Supported are plain values, lists, tuples, mappings, arrays, tensors, the rules of plasticity, and a
    closed list of optimisers, features extractors and activations.

    Args:
        value: the value to encode.
        tensors: receives arrays and tensors, under names that start with ``name``.
        name: name of the value.

    Raises:
        NotPlainError: the value is not supported, or holds one that is not.
    """
    if isinstance(value, np.generic):
        value = float(value) if isinstance(value, np.floating) else value.item()
    if isinstance(value, int) and value.bit_length() > _MOST_BITS:
        raise NotPlainError(f"{name} is a number of {value.bit_length()} bits, which a file cannot hold")
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
            raise NotPlainError(
                f"{name} is a tensor of {value.dtype}, {value.layout}, which a file cannot hold"
            )
        return {"$tensor": _put(value.detach(), tensors, name)}
    if isinstance(value, np.ndarray):
        try:
            array = torch.from_numpy(value.astype(value.dtype.newbyteorder("="), order="C"))
        except TypeError as error:
            raise NotPlainError(f"{name} is an array of {value.dtype}, which a file cannot hold") from error
        if array.dtype not in _IN_FILES:
            raise NotPlainError(f"{name} is an array of {value.dtype}, which a file cannot hold")
        return {"$array": _put(array, tensors, name)}
    if isinstance(value, type) and _CLASSES.get(value.__name__) is value:
        return {"$class": value.__name__}
    if type(value) in RULES.values():
        options = {field.name: getattr(value, field.name) for field in fields(value)}
        return {"$rule": value.name, **encode(options, tensors, name)}
    raise NotPlainError(f"{name} is {value!r}, which a file cannot hold")


def holds(value: Any) -> bool:
    """Return True if a file can hold the value."""
    try:
        encode(value, {}, "")
    except (NotPlainError, RecursionError):
        return False
    return True


def held(value: Any) -> Any:
    """Return the value, or :class:`Absent` if a file cannot hold it."""
    return value if holds(value) else Absent(repr(value))


def decode(value: Any, tensors: dict[str, Tensor]) -> Any:
    """Return the value that :func:`encode` encoded.

    Args:
        value: the result of :func:`encode`.
        tensors: the tensors that it stored; those that are used are removed.

    Raises:
        ValueError, KeyError, TypeError: ``value`` was not returned by :func:`encode`.
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
    name = name.encode("ascii", "backslashreplace").decode()  # keys may hold characters that files refuse
    while name in tensors:  # the key "a/b", and the key "b" within "a", give the same name
        name += "'"
    tensors[name] = tensor
    return name


def plain_rate(rate: Any) -> Any:
    """Return a learning rate as a number, SB3's linear schedule as its arguments, other functions as None."""
    if isinstance(rate, FloatSchedule):
        rate = rate.value_schedule
    if isinstance(rate, ConstantSchedule):
        rate = rate.val
    if isinstance(rate, LinearSchedule):
        return [float(rate.start), float(rate.end), float(rate.end_fraction)]
    return None if callable(rate) else float(rate)


def rate_from_plain(plain: Any) -> Any:
    """Return the learning rate that :func:`plain_rate` converted, except for functions.

    Raises:
        TypeError, ValueError: ``plain`` was not returned by it.
    """
    return LinearSchedule(*map(float, plain)) if isinstance(plain, list) else plain


def plain_space(space: spaces.Space[Any]) -> dict[str, Any]:
    """Return the constructor's arguments of a Box, Discrete, MultiDiscrete, MultiBinary or Dict of these.

    A subclass is stored as its base class, which compares equal to it.

    Raises:
        TypeError: it is another kind of space.
    """
    if isinstance(space, spaces.Box):
        return {"kind": "Box", "low": space.low, "high": space.high}
    if isinstance(space, spaces.Discrete):
        dtype = {} if space.dtype == np.int64 else {"dtype": space.dtype.name}
        return {"kind": "Discrete", "n": space.n, "start": space.start, **dtype}
    if isinstance(space, spaces.MultiDiscrete):
        return {"kind": "MultiDiscrete", "nvec": space.nvec, "start": space.start}
    if isinstance(space, spaces.MultiBinary):
        return {"kind": "MultiBinary", "n": space.n if isinstance(space.n, int) else list(space.n)}
    if isinstance(space, spaces.Dict):  # its order is that of the features
        return {"kind": "Dict", "spaces": [[key, plain_space(inner)] for key, inner in space.items()]}
    raise TypeError(
        f"{space} cannot be saved: only Box, Discrete, MultiDiscrete, MultiBinary and Dict spaces can"
    )


def space_from_plain(plain: Any) -> spaces.Space[Any]:
    """Return the space that :func:`plain_space` converted.

    Raises:
        ValueError: ``plain`` was not returned by it.
    """
    try:
        with np.errstate(all="ignore"):  # gymnasium compares bounds of any size
            return _space(plain)
    except (KeyError, TypeError, AssertionError, OverflowError, RecursionError) as error:
        raise ValueError(f"not a space ({error!r})") from error


def _space(plain: Any) -> spaces.Space[Any]:
    kind = plain["kind"]
    if kind == "Box":
        low, high = _array(plain["low"]), _array(plain["high"])
        if low.dtype != high.dtype:
            raise TypeError(f"bounds are {low.dtype} and {high.dtype}")
        return spaces.Box(low, high, dtype=low.dtype.type)
    if kind == "Discrete":
        dtype = {"dtype": _INTEGERS[plain["dtype"]]} if "dtype" in plain else {}
        return spaces.Discrete(_whole(plain["n"]), start=_whole(plain["start"]), **dtype)
    if kind == "MultiDiscrete":
        nvec, start = _array(plain["nvec"]), _array(plain["start"])
        return spaces.MultiDiscrete(nvec, dtype=nvec.dtype.type, start=start)
    if kind == "MultiBinary":
        n = plain["n"]
        return spaces.MultiBinary([_whole(size) for size in n] if isinstance(n, list) else _whole(n))
    if kind == "Dict":
        return spaces.Dict(OrderedDict((key, _space(inner)) for key, inner in plain["spaces"]))
    raise ValueError(f"unknown space {kind!r}")


def _array(value: Any) -> Any:
    if not isinstance(value, np.ndarray):
        raise TypeError(f"expected an array, got {value!r}")
    return value


def _whole(value: Any) -> int:
    if type(value) is not int or abs(value) > 2**62:
        raise TypeError(f"expected a whole number, got {value!r}")
    return value
