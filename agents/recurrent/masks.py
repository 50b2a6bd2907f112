"""Masks of forbidden actions: how environments give them, what they do to a policy, evaluation with them.

The conventions are those of sb3-contrib's ``MaskablePPO``. An environment's ``action_masks()`` returns one
bool for each value that a part of the next action may have, true where it is allowed: ``(n,)`` for
``Discrete(n)``, ``(sum(nvec),)`` for MultiDiscrete, and ``(2 n,)`` for MultiBinary, with a pair for each bit:
may it be 0, may it be 1. A batched environment returns them for all of its environments, ``(B, size)``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from gymnasium import spaces
from stable_baselines3.common.callbacks import EvalCallback
from stable_baselines3.common.evaluation import evaluate_policy as sb3_evaluate_policy
from stable_baselines3.common.type_aliases import GymEnv
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv
from torch import Tensor

from plasticrl.envs.common.vec_env import as_vec_env

Masks = npt.NDArray[np.bool_]
_METHOD = "action_masks"


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
    return env.has_attr(_METHOD) and part_sizes(env.action_space).size > 0


def masks_of(env: VecEnv) -> Masks:
    """Return the masks of the next actions of all environments, ``(B, size)``.

    Raises:
        ValueError: as in :func:`checked_masks`.
    """
    return checked_masks(env.env_method(_METHOD), env.action_space, env.num_envs)


def checked_masks(masks: Any, space: spaces.Space[Any], batch: int) -> Masks:
    """Return masks as bools, ``(batch, size)``.

    Args:
        masks: bools, or the numbers 0 and 1, of that shape; for a batch of 1 also ``(size,)``.
        space: space of the actions.
        batch: number of environments.

    Raises:
        ValueError: they have another shape or other values, or allow no action; the message says where.
    """
    sizes = part_sizes(space)
    size = int(sizes.sum())
    name = _line(space)
    advice = f"action_masks of {name} must be {size} bools for each environment, shape ({batch}, {size})"
    try:
        array = np.asarray(masks)
    except ValueError as error:
        raise ValueError(f"{advice}, but they differ in shape ({error})") from error
    if array.shape == (size,) and batch == 1:
        array = array[None]
    if array.shape != (batch, size):
        raise ValueError(
            f"{advice}, not {array.shape}: give one bool for each value of each part of an action"
        )
    if array.dtype != np.bool_ and not np.isin(array, (0, 1)).all():
        raise ValueError(f"{advice}, true where a value is allowed, not other values ({array.dtype})")
    allowed: Masks = array.astype(np.bool_)
    possible = np.logical_or.reduceat(allowed, np.cumsum(sizes) - sizes, axis=1)
    if not possible.all():
        row, part = np.argwhere(~possible)[0]
        where = f"part {part} of the action" if len(sizes) > 1 else "the action"
        raise ValueError(
            f"action_masks of environment {row} allow none of the {sizes[part]} values of {where}, {name}: "
            "allow at least one, or end the episode where nothing is left to do"
        )
    return allowed


def masked_head(head: Tensor, masks: Tensor, space: spaces.Space[Any]) -> Tensor:
    """Return an action head's output that gives forbidden values the probability 0.

    The allowed ones keep their ratios. No gradient flows to the output of a forbidden value.

    Args:
        head: logits of all categories, or one logit for each bit, ``(N, A)``.
        masks: bool ``(N, size)``.
        space: space of the actions.
    """
    # Not infinite: the entropy multiplies it by 0. A quarter, so that sums of a few stay finite.
    never = torch.finfo(head.dtype).min / 4
    if isinstance(space, spaces.MultiBinary):
        zero, one = masks.reshape(*head.shape, 2).unbind(-1)
        return torch.where(one, torch.where(zero, head, -never), never)
    return torch.where(masks, head, never)


def as_argument(masks: Tensor | None) -> dict[str, Tensor]:
    """Return masks as the argument ``action_masks``, and no argument without masks.

    A policy whose own methods know no masks can then be trained where there are none.
    """
    return {} if masks is None else {_METHOD: masks}


class _AsksForMasks:
    """An agent whose ``predict`` asks an env for the masks, which SB3's evaluation does not pass."""

    def __init__(self, model: Any, env: VecEnv) -> None:
        self._model, self._env = model, env

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def predict(self, *given: Any, **options: Any) -> Any:
        return self._model.predict(*given, **options, action_masks=masks_of(self._env))


def _asking(model: Any, env: VecEnv) -> Any:
    return _AsksForMasks(model, env) if has_masks(env) else model


def evaluate_policy(
    model: Any,
    env: GymEnv,
    n_eval_episodes: int = 10,
    deterministic: bool = True,
    render: bool = False,
    callback: Callable[[dict[str, Any], dict[str, Any]], None] | None = None,
    reward_threshold: float | None = None,
    return_episode_rewards: bool = False,
    warn: bool = True,
) -> Any:
    """Evaluate an agent by SB3's function of this name, with the env's ``action_masks()`` if it has them.

    sb3-contrib's function for masks does not pass the agent's memory from step to step; this one does.

    Args:
        model: the agent; for an env with masks, its ``predict`` must have the argument ``action_masks``.
        env: a Gymnasium env, an SB3 ``VecEnv``, or a Gymnasium ``VectorEnv`` that resets in the same step.
        n_eval_episodes: number of episodes. Default 10.
        deterministic: take the most probable actions, the default, or draw them.
        render: render the env at each step.
        callback: called after each step with SB3's ``locals()`` and ``globals()``.
        reward_threshold: least mean return that is accepted.
        return_episode_rewards: return two lists, returns and lengths of the episodes.
        warn: warn where no ``Monitor`` counts the returns.

    Returns:
        Mean and standard deviation of the return, or the two lists.

    Raises:
        AssertionError: the mean return is not above ``reward_threshold``.
        ValueError: the masks are not allowed; the message says why.
    """
    made = as_vec_env(env)
    envs = made if isinstance(made, VecEnv) else DummyVecEnv([lambda: made])
    return sb3_evaluate_policy(
        _asking(model, envs),
        envs,
        n_eval_episodes,
        deterministic,
        render,
        callback,
        reward_threshold,
        return_episode_rewards,
        warn,
    )


class MaskedEvalCallback(EvalCallback):
    """SB3's ``EvalCallback``, with the ``action_masks()`` of its env; arguments as there.

    sb3-contrib's callback for masks does not pass the agent's memory from step to step; this one does.
    """

    def _on_step(self) -> bool:
        agent = self.model
        self.model = _asking(agent, self.eval_env)
        try:
            goes_on: bool = super()._on_step()
        finally:
            self.model = agent
        return goes_on
