"""The spaces that a recurrent agent supports, conversion of values between env and network, action masks.

A network counts categories from 0 and has the parts of an action along one axis. An environment may start
its categories at another number and use any shape.

The conventions about masks are those of sb3-contrib's ``MaskablePPO``. An environment's ``action_masks()``
returns one bool for each value that a part of the next action may have, true where it is allowed: ``(n,)``
for ``Discrete(n)``, ``(sum(nvec),)`` for MultiDiscrete, and ``(2 n,)`` for MultiBinary, with a pair for each
bit: may it be 0, may it be 1. A batched environment returns them for all of its environments, ``(B, size)``.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from gymnasium import spaces
from stable_baselines3.common.preprocessing import maybe_transpose
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor

from plasticrl.agents.checkpoint.tree import NotPlainError, decode, encode, plain_space, space_from_plain

KINDS = (spaces.Box, spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary)
_NAMES = "Box, Discrete, MultiDiscrete or MultiBinary"
_MOST_CATEGORIES = 2**24
Masks = npt.NDArray[np.bool_]
_MASKS = "action_masks"
_LARGEST_WHOLE = 2**53  # floating point holds every whole number up to it


def check_spaces(observations: spaces.Space[Any], actions: spaces.Space[Any]) -> None:
    """Check that an agent supports these spaces and that its file can hold them.

    Raises:
        ValueError: a space is not supported; the message names it and the remedy.
    """
    if not isinstance(observations, spaces.Dict):
        _check_observation(f"the observation space {type(observations).__name__}", observations)
    else:
        _check_dict(observations)
        for key, inner in observations.spaces.items():
            _check_observation(f"the observation space Dict's {key!r}, {type(inner).__name__},", inner)
    _check_actions(actions)


def _check_dict(space: spaces.Dict) -> None:
    if not space.spaces:
        raise ValueError("the observation space Dict is empty: give it at least one entry")
    for key in space.spaces:
        if not isinstance(key, str):
            raise ValueError(
                f"the observation space Dict has the key {key!r}: keys must be text, change it with "
                "gymnasium.wrappers.TransformObservation"
            )
    if any(isinstance(inner, (spaces.Dict, spaces.Tuple)) for inner in space.values()):
        advice = (
            "gymnasium.wrappers.FlattenObservation makes one vector of it"
            if space.is_np_flattenable
            else f"write a gymnasium.ObservationWrapper that makes a Dict of {_NAMES}"
        )
        raise ValueError(f"the observation space Dict is nested, {space}: {advice}")
    others = {key: type(inner).__name__ for key, inner in space.items() if not isinstance(inner, KINDS)}
    if others:
        known = [key for key in space if key not in others]
        named = ", ".join(f"{key!r}: {kind}" for key, kind in others.items())
        leave_out = f"remove that with gymnasium.wrappers.FilterObservation(env, {known}), or "
        raise ValueError(
            f"the observation space Dict holds {named}, which is not {_NAMES}: "
            f"{leave_out if known else ''}write a gymnasium.ObservationWrapper that converts it to numbers"
        )


def _check_observation(where: str, space: spaces.Space[Any]) -> None:
    if not isinstance(space, KINDS):
        flat = isinstance(space, (spaces.Tuple, spaces.OneOf)) and space.is_np_flattenable
        advice = (
            "gymnasium.wrappers.FlattenObservation makes one vector of it"
            if flat
            else "write a gymnasium.ObservationWrapper that converts it to numbers"
        )
        raise ValueError(f"{where} is not {_NAMES}, or a Dict of these: {advice}")
    _check_part(where, space)


def _check_actions(space: spaces.Space[Any]) -> None:
    where = f"the action space {type(space).__name__}"
    if not isinstance(space, KINDS):
        raise ValueError(
            f"{where} is not {_NAMES}: write a gymnasium.ActionWrapper that converts from one of these"
        )
    _check_part(where, space)
    if not isinstance(space, spaces.Box):
        return
    bounds = np.stack([space.low, space.high]).astype(np.float64)
    if not np.isfinite(bounds).all() or (space.dtype.kind != "f" and np.abs(bounds).max() > _LARGEST_WHOLE):
        raise ValueError(
            f"{where} must have finite bounds (for integers, up to 2**53), not {space}: set them with "
            f"gymnasium.wrappers.TransformAction(env, lambda action: action, Box(-1, 1, {space.shape}))"
        )


def _check_part(where: str, space: spaces.Space[Any]) -> None:
    categories = space.n if isinstance(space, spaces.Discrete) else getattr(space, "nvec", np.zeros(1)).sum()
    if categories > _MOST_CATEGORIES:
        raise ValueError(
            f"{where} has {categories:,} categories, and a network has a unit for each: divide it "
            "into several smaller ones, such as a MultiDiscrete, in a wrapper"
        )
    if not prod(space.shape or ()):
        raise ValueError(f"{where} of shape {space.shape} has no elements: remove it")
    tensors: dict[str, Tensor] = {}
    try:
        plain = encode(plain_space(space), tensors, "space")
        held = space_from_plain(decode(plain, tensors)) == space
    except (NotPlainError, ValueError):
        held = False
    if not held:
        raise ValueError(
            f"{where} is {space!r}, which a file of an agent cannot hold: make it a plain {_NAMES}"
        )


def seen_space(space: spaces.Space[Any]) -> spaces.Space[Any]:
    """Return the space of a network's inputs for observations in ``space``; ``space`` itself if equal."""
    if isinstance(space, spaces.Dict):
        inner = OrderedDict((key, seen_space(part)) for key, part in space.spaces.items())
        same = all(part is inner[key] for key, part in space.spaces.items())
        return space if same else spaces.Dict(inner)
    if isinstance(space, spaces.Discrete) and space.start != 0:
        return spaces.Discrete(space.n)
    if isinstance(space, spaces.MultiDiscrete):  # the sum of its counts can be too large for a small dtype
        same = space.nvec.ndim == 1 and not space.start.any() and space.dtype == np.int64
        return space if same else spaces.MultiDiscrete(space.nvec.ravel().astype(np.int64))
    if isinstance(space, spaces.Box) and space.shape == ():
        return spaces.Box(space.low[None], space.high[None], dtype=space.dtype.type)
    return space


def seen(obs: Any, space: spaces.Space[Any]) -> Any:
    """Convert tensors of observations ``(N, ...)`` to elements of :func:`seen_space`."""
    if isinstance(space, spaces.Dict):
        return {key: seen(obs[key], inner) for key, inner in space.spaces.items()}
    if isinstance(space, spaces.Discrete) and space.start != 0:
        return obs.long() - int(space.start)
    if isinstance(space, spaces.MultiDiscrete) and (space.nvec.ndim != 1 or space.start.any()):
        return (obs.long() - _start(space, obs.device)).flatten(1)
    if isinstance(space, spaces.Box) and space.shape == ():
        return obs[:, None]
    return obs


def chosen_space(space: spaces.Space[Any]) -> spaces.Space[Any]:
    """Return the space of a network's actions for an environment with this action space."""
    if isinstance(space, spaces.MultiBinary):
        return spaces.MultiBinary(prod(space.shape))
    return seen_space(space)


def actions_to_env(actions: npt.NDArray[Any], space: spaces.Space[Any]) -> npt.NDArray[Any]:
    """Convert actions ``(N, ...)`` of :func:`chosen_space` to actions of the environment's space.

    Actions of a Box are clipped, as in SB3; those of an integer Box are also rounded.
    """
    shaped = actions.reshape(-1, *(space.shape or ()))
    if isinstance(space, spaces.Box):
        shaped = np.clip(shaped, space.low, space.high)
        if space.dtype.kind != "f":
            shaped = np.rint(shaped)
    elif isinstance(space, (spaces.Discrete, spaces.MultiDiscrete)):
        shaped = shaped + space.start
    return shaped.astype(space.dtype, copy=False)


def actions_from_env(actions: Tensor, space: spaces.Space[Any]) -> Tensor:
    """Convert actions ``(N, ...)`` of the environment's space to those of :func:`chosen_space`."""
    flat = actions.reshape(len(actions), -1)
    if isinstance(space, spaces.Discrete):
        return flat.long().squeeze(1) - int(space.start)
    if isinstance(space, spaces.MultiDiscrete):
        return flat.long() - _start(space, actions.device).flatten()
    return flat.float()


def _start(space: spaces.MultiDiscrete, device: torch.device) -> Tensor:
    return torch.as_tensor(space.start.astype(np.int64), device=device)


def batched(observation: Any, space: spaces.Space[Any], name: str = "observation") -> tuple[Any, bool]:
    """Return observations as arrays ``(N, ...)``, and True if they are of several environments.

    Args:
        observation: an array, or a dict of arrays; images with channels first or last.
        space: space of one observation.
        name: name for error messages.

    Raises:
        ValueError: it is not an observation of that space; the message says why.
    """
    if isinstance(space, spaces.Dict):
        return _batched_dict(observation, space, name)
    if isinstance(observation, Mapping):
        raise ValueError(f"{name} is a dict, but the space is {space}: give an array")
    if isinstance(observation, Tensor):
        observation = observation.detach().cpu().numpy()
    try:
        array = np.array(observation)
    except ValueError as error:
        raise ValueError(f"{name} must be an array of numbers, not a ragged sequence ({error})") from error
    if array.dtype.kind not in "biuf":
        raise ValueError(f"{name} must be an array of numbers, not of {array.dtype}")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise ValueError(f"{name} holds NaN or infinity: an agent needs finite numbers")
    if array.ndim in (3, 4):
        array = maybe_transpose(array, space)
    shape: tuple[int, ...] = space.shape or ()
    if array.shape != shape and array.shape[1:] != shape:
        raise ValueError(
            f"Unexpected observation shape {array.shape} of the {name}: the space is {space}, so give shape "
            f"{shape}, or for n environments (n, {', '.join(map(str, shape))})"
        )
    if isinstance(space, (spaces.Discrete, spaces.MultiDiscrete)):
        counts = space.n if isinstance(space, spaces.Discrete) else space.nvec
        start = np.asarray(space.start, dtype=np.int64)
        if (array < start).any() or (array >= start + counts).any():
            raise ValueError(f"{name} holds a number that is not in {space}")
    return array.reshape(-1, *shape), array.shape != shape


def _batched_dict(observation: Any, space: spaces.Dict, name: str) -> tuple[dict[str, Any], bool]:
    if not isinstance(observation, Mapping):
        raise ValueError(f"{name} must be a dict with {', '.join(map(repr, space))}, not {type(observation)}")
    if observation.keys() != space.spaces.keys():
        wrong = sorted(observation.keys() ^ space.spaces.keys(), key=str)
        raise ValueError(
            f"{name} must have exactly {', '.join(map(repr, space))}; {', '.join(map(repr, wrong))} "
            "is missing or unknown"
        )
    found = {key: batched(observation[key], inner, f"{name}[{key!r}]") for key, inner in space.items()}
    if len({(len(array), several) for array, several in found.values()}) > 1:
        lengths = {key: len(array) if several else None for key, (array, several) in found.items()}
        raise ValueError(f"all parts of {name} must be of the same number of environments, not {lengths}")
    return {key: array for key, (array, _) in found.items()}, any(several for _, several in found.values())


def to_numpy(tensor: Tensor) -> npt.NDArray[Any]:
    """The tensor as an array; floats of 16 bits, as ``torch.autocast`` makes them, become float32."""
    short = tensor.is_floating_point() and tensor.dtype.itemsize < 4  # numpy has no bfloat16
    array: npt.NDArray[Any] = (tensor.float() if short else tensor).detach().cpu().numpy()
    return array


class MaskError(ValueError):
    """Masks of actions that have a wrong form, or allow nothing; the message says where."""


def part_sizes(space: spaces.Space[Any]) -> npt.NDArray[np.int64]:
    """Return the number of values of each part of an action.

    Raises:
        ValueError: the space has no masks, since its actions are numbers.
    """
    if isinstance(space, spaces.Discrete):
        return np.array([space.n], dtype=np.int64)
    if isinstance(space, spaces.MultiDiscrete):
        return space.nvec.ravel().astype(np.int64)
    if isinstance(space, spaces.MultiBinary):
        return np.full(np.prod(space.shape), 2, dtype=np.int64)
    raise ValueError(
        f"action_masks are for actions in Discrete, MultiDiscrete or MultiBinary, not in {_line(space)}: "
        "leave them out (an env must not have the method action_masks), or divide the actions into "
        "categories in a gymnasium.ActionWrapper"
    )


def _line(space: spaces.Space[Any]) -> str:
    return " ".join(str(space).split())  # numpy divides long or nested arrays into lines


def has_masks(env: VecEnv) -> bool:
    """Return True if the environments have the method ``action_masks``.

    Raises:
        ValueError: they have it, but their actions are numbers.
    """
    return env.has_attr(_MASKS) and part_sizes(env.action_space).size > 0


def masks_of(env: VecEnv) -> Masks:
    """Return the masks of the next actions of all environments, ``(B, size)``.

    Raises:
        MaskError: as in :func:`checked_masks`.
    """
    return checked_masks(env.env_method(_MASKS), env.action_space, env.num_envs)


def checked_masks(masks: Any, space: spaces.Space[Any], batch: int) -> Masks:
    """Return masks as bools, ``(batch, size)``.

    Args:
        masks: bools, or the numbers 0 and 1, of that shape; for a batch of 1 also ``(size,)``.
        space: space of the actions.
        batch: number of environments.

    Raises:
        MaskError: they have another shape or other values, or allow no action; the message says where.
    """
    sizes = part_sizes(space)
    size = int(sizes.sum())
    name = _line(space)
    advice = f"action_masks of {name} must be {size} bools for each environment, shape ({batch}, {size})"
    try:
        array = np.asarray(masks)
    except ValueError as error:
        raise MaskError(f"{advice}, but they differ in shape ({error})") from error
    if array.shape == (size,) and batch == 1:
        array = array[None]
    if array.shape != (batch, size):
        raise MaskError(
            f"{advice}, not {array.shape}: give one bool for each value of each part of an action"
        )
    if array.dtype != np.bool_ and not np.isin(array, (0, 1)).all():
        raise MaskError(f"{advice}, true where a value is allowed, not other values ({array.dtype})")
    allowed: Masks = array.astype(np.bool_)
    possible = np.logical_or.reduceat(allowed, np.cumsum(sizes) - sizes, axis=1)
    if not possible.all():
        row, part = np.argwhere(~possible)[0]
        where = f"part {part} of the action" if len(sizes) > 1 else "the action"
        raise MaskError(
            f"action_masks of environment {row} allow none of the {sizes[part]} values of {where}, {name}: "
            "allow at least one, or end the episode where nothing is left to do"
        )
    return allowed
