"""Masks of forbidden actions in a policy, and evaluation with them.

See :mod:`plasticrl.agents.recurrent.spaces` for their form.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import torch
from gymnasium import spaces
from stable_baselines3.common.callbacks import EvalCallback
from stable_baselines3.common.evaluation import evaluate_policy as sb3_evaluate_policy
from stable_baselines3.common.type_aliases import GymEnv
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv
from torch import Tensor

from plasticrl.agents.recurrent.spaces import has_masks, masks_of
from plasticrl.envs.common.vec_env import as_vec_env


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
    return {} if masks is None else {"action_masks": masks}


class _AsksForMasks:
    """An agent whose ``predict`` asks an env for the masks, which SB3's evaluation does not pass."""

    def __init__(self, model: Any, env: VecEnv) -> None:
        self._model, self._env = model, env

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def predict(self, *given: Any, **options: Any) -> Any:
        return self._model.predict(*given, **options, action_masks=masks_of(self._env))


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
        _AsksForMasks(model, envs) if has_masks(envs) else model,
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

    def _init_callback(self) -> None:
        super()._init_callback()
        self._has_masks = has_masks(self.eval_env)

    def _on_step(self) -> bool:
        agent = self.model
        if self._has_masks:
            self.model = cast(Any, _AsksForMasks(agent, self.eval_env))
        try:
            goes_on: bool = super()._on_step()
        finally:
            self.model = agent
        return goes_on
