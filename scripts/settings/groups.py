"""Named groups of settings, presets of them, and the validation of values from a command line or a file."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass, field, fields, is_dataclass, replace
from math import isfinite
from pathlib import Path
from types import MappingProxyType, NoneType, UnionType
from typing import Any, Literal, TypeAlias, TypeVar, Union, get_args, get_origin, get_type_hints

from plasticrl.scripts.errors import UserError, one_line

Settings = TypeVar("Settings")
Value = TypeVar("Value")


@dataclass(frozen=True)
class Between:
    """A range of numbers from ``low`` to ``high``.

    Attributes:
        low, high: the bounds.
        log: draw uniformly on a logarithmic scale instead of a linear one.
    """

    low: float
    high: float
    log: bool = True

    def __contains__(self, value: object) -> bool:
        return isinstance(value, (int, float)) and self.low <= value <= self.high


@dataclass(frozen=True)
class OneOf:
    """A choice from a few values."""

    choices: tuple[str, ...]

    def __contains__(self, value: object) -> bool:
        return value in self.choices


SearchSpace: TypeAlias = Mapping[str, Between | OneOf]
"""Ranges and choices by the name of the setting."""

CoreValues: TypeAlias = Mapping[str, Mapping[str, Any]]
"""Values of settings for one core only: by the name of the core, and then of the setting."""

RULES = OneOf(("hebb", "oja", "clipped"))


def merged(groups: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return groups of settings with other values.

    Raises:
        TypeError: no group has a setting of that name.
    """
    names = {name: {one.name for one in fields(group)} for name, group in groups.items()}
    if unknown := values.keys() - set[str]().union(*names.values()):
        raise TypeError(f"there is no setting {min(unknown)}")
    return {
        name: replace(group, **{key: value for key, value in values.items() if key in names[name]})
        for name, group in groups.items()
    }


def changed(groups: Mapping[str, Any], **values: Any) -> dict[str, Any]:
    """Return groups of settings with other values; a constant learning rate stays constant.

    Raises:
        TypeError: no group has a setting of that name.
    """
    for group in groups.values() if "learning_rate" in values else ():
        if hasattr(group, "learning_rate") and group.final_learning_rate == group.learning_rate:
            values = {"final_learning_rate": values["learning_rate"], **values}
    return merged(groups, values)


class Grouped:
    """Base of whatever has named groups of settings; each is an attribute, too: ``run.maze``."""

    groups: Mapping[str, Any]

    def __getattr__(self, name: str) -> Any:
        groups = vars(self).get("groups", {})  # an object that is being copied or unpickled has none yet
        if name not in groups:
            raise AttributeError(f"{type(self).__name__} has no {name}", name=name, obj=self)
        return groups[name]


@dataclass(frozen=True)
class Preset(Grouped):
    """All settings of a training except core and seed.

    Attributes:
        groups: dataclasses of settings by the name of the group.
        space: the ranges that a search draws from.
        cores: values of settings for one core only, by its name.
    """

    groups: Mapping[str, Any]
    space: SearchSpace
    cores: CoreValues = field(default_factory=dict)

    def for_core(self, core: str) -> dict[str, Any]:
        """Return the settings of a core by the name of their group."""
        return merged(self.groups, self.cores.get(core, {}))

    def changed(
        self, space: SearchSpace = MappingProxyType({}), cores: CoreValues | None = None, **values: Any
    ) -> Preset:
        """Return a preset with other common values, other ranges, and perhaps other ``cores``."""
        return Preset(
            changed(self.groups, **values), {**self.space, **space}, self.cores if cores is None else cores
        )


def with_home(settings: Settings) -> Settings:
    """Return the settings with ``~`` and ``~user`` expanded in every path, as in ``--root=~/runs``.

    A shell expands them only at the start of a word.

    Args:
        settings: a dataclass, possibly with nested ones.

    Raises:
        UserError: a path starts with a user name that has no home folder here.
    """
    changed: dict[str, Any] = {}
    for one in fields(settings):  # type: ignore[arg-type]
        value = getattr(settings, one.name)
        if isinstance(value, Path) and str(value).startswith("~"):
            try:
                changed[one.name] = value.expanduser()
            except RuntimeError:
                raise UserError(
                    f"{one.name}: there is no home folder {value.parts[0]} for {value} (for a folder of "
                    "that name, give the full path)"
                ) from None
        elif is_dataclass(value):
            changed[one.name] = with_home(value)
    return replace(settings, **changed)  # type: ignore[type-var]


def data_place(given: Path | None) -> Path | None:
    """Return the folder given, or else ``$PLASTICRL_DATA``, as an absolute path; None if there is neither."""
    place = given or os.environ.get("PLASTICRL_DATA")
    return Path(os.path.expanduser(place)).absolute() if place else None


def settings_from(kind: type[Settings], plain: Any) -> Settings:
    """Build a dataclass from the dict of its fields.

    Args:
        kind: a dataclass whose fields are bool, int, float, str, Path, ``Literal``, a union of one with None,
            a tuple of these, or a mapping from str to plain values.
        plain: the fields, as returned by ``dataclasses.asdict``; those with a default may be missing.

    Raises:
        TypeError: it is not a dict, or a field is missing, unknown or of another type; the message names it.
    """
    if not isinstance(plain, dict):
        raise TypeError(f"expected an object, got {plain!r}")
    known: dict[str, Field[Any]] = {one.name: one for one in fields(kind)}  # type: ignore[arg-type]
    if unknown := plain.keys() - known.keys():
        raise TypeError(f"{min(unknown)} is unknown")
    if missing := [name for name in known if name not in plain and known[name].default is MISSING]:
        raise TypeError(f"{missing[0]} is missing")
    hints = get_type_hints(kind)
    return kind(**{name: value_of(hints[name], name, value) for name, value in plain.items()})


def choice_from(known: Mapping[str, Value], name: str, value: Any) -> Value:
    """Return the value of a key.

    Raises:
        TypeError: there is no such key; the message names the setting and the keys.
    """
    if not isinstance(value, str) or value not in known:
        raise TypeError(f"{name} is {value!r}, not one of {', '.join(known)}")
    return known[value]


def checked_version(value: Any, latest: int) -> int:
    """Return the version of a file of settings.

    Raises:
        TypeError: it is not a version.
        UserError: it is later than ``latest``, which this package writes.
    """
    version = int(value_of(int, "version", value))
    if version < 1:
        raise TypeError(f"version is {version}, which is not allowed")
    if version > latest:
        raise UserError(
            f"the run is of a later plasticrl (its config.json has version {version}, this one reads up to "
            f"{latest}): update it with pip install --upgrade plasticrl"
        )
    return version


def flag_of(options: Any, name: str) -> str:
    """Return the word of the command line that a field of a command's options, or of a group, is given by."""
    given = getattr(get_type_hints(options, include_extras=True)[name], "__metadata__", ())
    flag: str = next((one.name for one in given if getattr(one, "name", None)), name)
    return "--" + flag.replace("_", "-")


def value_of(kind: Any, name: str, value: Any) -> Any:
    """Return the value if it has the given type; convert whole numbers if a float is expected.

    Raises:
        TypeError: it is of another type; the message names it.
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
        if choice is Path and isinstance(value, str):
            return Path(value)
        if get_origin(choice) is tuple and isinstance(value, (list, tuple)):
            return tuple(value_of(get_args(choice)[0], name, one) for one in value)
        if get_origin(choice) is Mapping and isinstance(value, dict):
            return {value_of(str, f"a name in {name}", key): one for key, one in value.items()}
    allowed = " or ".join(_in_words(choice) for choice in choices)
    raise TypeError(f"{name} is {one_line(repr(value), 60)}, which is not allowed: it must be {allowed}")


_WORDS: Mapping[Any, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a text",
    Path: "a path",
    tuple: "a list",
    Mapping: "a mapping of names to values",
    NoneType: "null",
}


def _in_words(kind: Any) -> str:
    """Return what a file may hold for a type, in words."""
    origin = get_origin(kind)
    return f"one of {', '.join(get_args(kind))}" if origin is Literal else _WORDS[origin or kind]
