"""Conversion of Gymnasium's spaces to plain values and arrays, and back."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import numpy as np
from gymnasium import spaces

_INTEGERS: dict[str, Any] = {
    dtype.__name__: dtype
    for dtype in (np.int8, np.int16, np.int32, np.int64, np.uint8, np.uint16, np.uint32, np.uint64)
}


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
