"""Typed settings out of what somebody wrote: on a command line, or in a file that may have been edited."""

from __future__ import annotations

import os
from dataclasses import fields, is_dataclass, replace
from math import isfinite
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from plasticrl.scripts.errors import UserError

Settings = TypeVar("Settings")


def with_home(settings: Settings) -> Settings:
    """The same settings with ``~`` and ``~user`` expanded in every path, as in ``--root=~/runs``.

    A shell expands them only where a word starts with them.

    Args:
        settings: a dataclass, perhaps with others in it.

    Raises:
        UserError: a path starts with the name of a user who has no home folder here.
    """
    changed: dict[str, Any] = {}
    for field in fields(settings):  # type: ignore[arg-type]
        value = getattr(settings, field.name)
        if isinstance(value, Path) and str(value).startswith("~"):
            try:
                changed[field.name] = value.expanduser()
            except RuntimeError:
                raise UserError(
                    f"{field.name}: there is no home folder {value.parts[0]} for {value} (a folder of that "
                    "name needs its whole path)"
                ) from None
        elif is_dataclass(value):
            changed[field.name] = with_home(value)
    return replace(settings, **changed)  # type: ignore[type-var]


def data_place(given: Path | None) -> Path | None:
    """Return the folder given, or else ``$PLASTICRL_DATA``, as an absolute path; None if there is neither."""
    place = given or os.environ.get("PLASTICRL_DATA")
    return Path(os.path.expanduser(place)).absolute() if place else None


def settings_from(kind: type[Settings], plain: Any) -> Settings:
    """A dataclass from the dict of its fields.

    Args:
        kind: a dataclass whose fields are bool, int, float, str, ``Literal``, or one of them or None.
        plain: as ``dataclasses.asdict`` gives it.

    Raises:
        TypeError: it is no dict, lacks a field, has one too many, or one of another type; the text names it.
    """
    if not isinstance(plain, dict):
        raise TypeError(f"an object belongs where {plain!r} is")
    known = {field.name for field in fields(kind)}  # type: ignore[arg-type]
    if known != plain.keys():
        wrong = sorted(known ^ plain.keys())[0]
        raise TypeError(f"{wrong} is {'missing' if wrong in known else 'unknown'}")
    hints = get_type_hints(kind)
    return kind(**{name: value_of(hints[name], name, value) for name, value in plain.items()})


def value_of(kind: Any, name: str, value: Any) -> Any:
    """The value, as a float where one is wanted and it is a whole number.

    Raises:
        TypeError: it is of another type; the text names it.
    """
    choices = get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)
    for choice in choices:
        if get_origin(choice) is Literal and isinstance(value, str) and value in get_args(choice):
            return value
        if choice is NoneType and value is None:
            return None
        if choice is float and type(value) in (int, float) and abs(value) < 2**63 and isfinite(value):
            return float(value)
        if choice is int and type(value) is int and abs(value) < 2**53:
            return value
        if choice in (bool, str) and type(value) is choice:
            return value
    raise TypeError(f"{name} is {value!r}, which is not allowed there")
