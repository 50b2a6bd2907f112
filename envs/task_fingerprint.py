"""A fingerprint that identifies a supervised task: its class, its settings and its data."""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np

from plasticrl.envs.episode import EpisodeTask

_SHAPE = ("steps", "input_shape", "n_classes", "input_bound")  # may be class attributes


def task_fingerprint(task: EpisodeTask) -> str:
    """Return a text that is equal for tasks of one class with equal public attributes, and rarely otherwise.

    Plain values are included as they are, arrays by dtype, shape and checksum, objects that hold settings
    (``Presentation``) by their class and their own plain values, and anything else by its class. Private
    attributes are left out, because they may be caches.
    """
    attributes = {name: getattr(task, name) for name in _SHAPE} | vars(task)
    return _described(task, {name: _text(value) for name, value in attributes.items()})


def _described(thing: object, attributes: dict[str, str]) -> str:
    public = [f"{name}={text}" for name, text in sorted(attributes.items()) if not name.startswith("_")]
    return f"{type(thing).__qualname__}({', '.join(public)})"


def _text(value: Any) -> str:
    if isinstance(value, np.ndarray) and not value.dtype.hasobject:
        content = np.ascontiguousarray(value).reshape(-1).view(np.uint8).data
        return f"<{value.dtype.str} {value.shape} {zlib.crc32(content):08x}>"
    plain = _plain_text(value)
    if plain is None:
        inner = {name: _plain_text(its) or "..." for name, its in getattr(value, "__dict__", {}).items()}
        return _described(value, inner)
    return plain


def _plain_text(value: Any) -> str | None:
    """Return the text of a plain value; None for other values."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, (tuple, list)):
        return f"({', '.join(_plain_text(one) or '...' for one in value)})"
    return repr(value) if value is None or isinstance(value, (str, bool, int, float)) else None
