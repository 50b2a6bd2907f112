"""Named groups of settings, presets of them, and the ranges that a search draws from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from types import MappingProxyType
from typing import Any, TypeAlias


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

RULES = OneOf(("hebb", "oja", "clipped"))


def changed(groups: Mapping[str, Any], **values: Any) -> dict[str, Any]:
    """Return groups of settings with other values; a constant learning rate stays constant.

    Raises:
        TypeError: no group has a setting of that name.
    """
    names = {name: {field.name for field in fields(group)} for name, group in groups.items()}
    if unknown := values.keys() - set[str]().union(*names.values()):
        raise TypeError(f"there is no setting {min(unknown)}")
    made = {}
    for name, group in groups.items():
        own = {setting: value for setting, value in values.items() if setting in names[name]}
        if "learning_rate" in own and group.final_learning_rate == group.learning_rate:
            own = {"final_learning_rate": own["learning_rate"], **own}
        made[name] = replace(group, **own)
    return made


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
    """

    groups: Mapping[str, Any]
    space: SearchSpace

    def changed(self, space: SearchSpace = MappingProxyType({}), **values: Any) -> Preset:
        """Return a preset with other values of some settings, and other ranges."""
        return Preset(changed(self.groups, **values), {**self.space, **space})
