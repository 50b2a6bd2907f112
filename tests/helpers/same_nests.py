"""Whether what two batched environments return is the same."""

from typing import Any

import numpy as np


def assert_same(one: Any, other: Any) -> None:
    """The same nest of dicts, arrays and object arrays, types included."""
    assert type(one) is type(other)
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        for name in one:
            assert_same(one[name], other[name])
    elif isinstance(one, (list, tuple)):
        assert len(one) == len(other)
        for a, b in zip(one, other, strict=True):
            assert_same(a, b)
    else:
        assert one.dtype == other.dtype
        if one.dtype == object:
            assert_same(list(one), list(other))
        else:
            np.testing.assert_array_equal(one, other)
