"""The settings of a saved agent: what the file holds, and instead of it what is given."""

from __future__ import annotations

from types import NoneType
from typing import Any

from stable_baselines3.common.policies import BasePolicy

from plasticrl.agents.a2c_checkpoint import SETTINGS
from plasticrl.agents.plain_rate import rate_from_plain
from plasticrl.agents.plain_tree import Absent
from plasticrl.agents.tensor_file import TensorFileError

_HELD = (*SETTINGS, "stats_window_size", "learning_rate", "policy_class", "policy_kwargs")
_GIVEN = (*_HELD, "tensorboard_log")  # the log's folder is never taken from a file
_WHOLE = ("n_steps", "verbose", "seed", "stats_window_size")


def loaded_settings(
    saved: Any,
    custom_objects: dict[str, Any] | None,
    given: dict[str, Any],
    aliases: dict[str, type[BasePolicy]],
) -> dict[str, Any]:
    """Arguments of the agent's constructor, but for env and device.

    Args:
        saved: what the file holds.
        custom_objects: replace what it holds.
        given: replace it too, but ``policy_kwargs`` only add to it.
        aliases: the policies that a file can name.

    Raises:
        TensorFileError: the file's settings are not whole.
        ValueError: a name is unknown, or something is lacking that no file can hold.
    """
    custom = dict(custom_objects or {})
    if (schedule := custom.pop("lr_schedule", None)) is not None:  # SB3's examples give both
        custom.setdefault("learning_rate", schedule)
    for name in (*custom, *given):
        if name not in _GIVEN:
            raise ValueError(f"load: there is no setting {name!r}; there is {', '.join(_GIVEN)}")
    try:
        found = {name: saved[name] for name in _HELD if name in saved}
        if not isinstance(found.get("learning_rate"), Absent) and "learning_rate" in found:
            found["learning_rate"] = rate_from_plain(found["learning_rate"])
        for name in _WHOLE:
            if type(found.get(name)) not in (int, NoneType, Absent):
                raise TypeError(f"{name} is a whole number, not {found[name]!r}")
        if not isinstance(found.get("policy_kwargs", {}), dict):
            raise TypeError("policy_kwargs are a JSON object")
    except (KeyError, TypeError, ValueError) as error:
        raise TensorFileError(f"settings in the file are not whole ({error}): give another file") from error
    found |= custom
    if "policy_kwargs" in given:
        found["policy_kwargs"] = _completed(found.get("policy_kwargs", {}), given["policy_kwargs"])
    found |= {name: value for name, value in given.items() if name != "policy_kwargs"}
    _check_none_is_absent(found)
    policy = found.pop("policy_class")
    if isinstance(policy, str):
        if policy not in aliases:
            raise TensorFileError(f"unknown policy {policy!r} in the file: a file names {', '.join(aliases)}")
        policy = aliases[policy]
    return {"policy": policy, **found}


def _completed(saved: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """As in SB3, what is given may not differ from what is saved."""
    for name, value in given.items():
        if name not in saved or not (isinstance(saved[name], Absent) or saved[name] == value):
            raise ValueError(
                f"policy_kwargs[{name!r}] is {value!r}, but the saved policy had "
                f"{saved.get(name, 'none')!r}: custom_objects=dict(policy_kwargs=...) would replace them all"
            )
    return saved | given


def _check_none_is_absent(found: dict[str, Any]) -> None:
    for name in _HELD:
        if name not in found:
            raise ValueError(f"the file does not hold {name}: give it, load(..., {name}=...)")
        if isinstance(found[name], Absent):
            raise ValueError(
                f"the saved agent's {name} was {found[name].what}, which no file holds: load(..., {name}=...)"
            )
    for name, value in found["policy_kwargs"].items():
        if isinstance(value, Absent):
            raise ValueError(
                f"the saved agent's {name} was {value.what}, which no file holds: "
                f"load(..., policy_kwargs=dict({name}=...))"
            )
