"""An agent's settings: those that are allowed, and what a file holds of them or is given instead."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from stable_baselines3.common.policies import BasePolicy

from plasticrl.agents.argument_checks import (
    MOST_STEPS,
    check_flag,
    check_learning_rate,
    check_max_grad_norm,
    check_max_grad_ratio,
    check_number,
    check_whole,
    plain_number,
)
from plasticrl.agents.plain_rate import rate_from_plain
from plasticrl.agents.plain_tree import Absent
from plasticrl.agents.tensor_file import TensorFileError
from plasticrl.nn.core import positive

_MOST_SEED = 2**32 - 1  # numpy's
# Each as the plain value that it is kept as, or an error that names it.
_CHECKS: dict[str, Callable[[str, Any], Any]] = {
    "n_steps": lambda name, value: positive(name, plain_number(value)),
    "gamma": partial(check_number, most=1),
    "gae_lambda": partial(check_number, most=1),
    "ent_coef": check_number,
    "concentration_coef": check_number,
    "vf_coef": check_number,
    "max_grad_norm": lambda _, value: check_max_grad_norm(value),
    "normalize_advantage": check_flag,
    "stats_window_size": partial(check_whole, least=0, most=MOST_STEPS),
    "verbose": check_whole,
    "seed": lambda name, value: None if value is None else check_whole(name, value, least=0, most=_MOST_SEED),
    "learning_rate": lambda _, value: check_learning_rate(value),
}
PLAIN_SETTINGS = (*_CHECKS, "max_grad_ratio")
_HELD = (*PLAIN_SETTINGS, "policy_class", "policy_kwargs")
_GIVEN = (*_HELD, "tensorboard_log")  # the log's folder is never taken from a file
_WHOLE = ("n_steps", "verbose", "seed", "stats_window_size")


def checked_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Values of the names in ``PLAIN_SETTINGS``, as Python's own.

    Raises:
        ValueError: one is not allowed; the text names it.
    """
    found = {name: check(name, settings[name]) for name, check in _CHECKS.items()}
    return {
        **found,
        "max_grad_ratio": check_max_grad_ratio(settings["max_grad_ratio"], found["max_grad_norm"]),
    }


def own_copy(options: Any) -> Any:
    """Nested options that nobody else can change, with Python's own numbers in place of numpy's."""
    if type(options) is dict:
        return {name: own_copy(value) for name, value in options.items()}
    if type(options) in (list, tuple):
        return type(options)(own_copy(value) for value in options)
    return plain_number(options)


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
    replaced = {*custom, *given} - {"policy_kwargs"}
    try:
        found = {name: saved[name] for name in _HELD if name in saved and name not in replaced}
        if not isinstance(found.get("learning_rate"), Absent) and "learning_rate" in found:
            found["learning_rate"] = rate_from_plain(found["learning_rate"])
        for name in _WHOLE:
            if found.get(name) is not None and not isinstance(found[name], Absent):
                found[name] = check_whole(name, found[name])
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
