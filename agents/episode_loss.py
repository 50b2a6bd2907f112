"""Losses of episodes: a scalar to minimise."""

from math import inf
from typing import Literal, TypeAlias, get_args

import torch
from torch import Tensor
from torch.nn import functional as F

from plasticrl.agents.episode_tensors import EpisodeTensors

LossName: TypeAlias = Literal["squared_error", "cross_entropy", "binary_cross_entropy"]
_CLASSIFYING: tuple[LossName, ...] = ("cross_entropy", "binary_cross_entropy")


def loss_for(name: LossName | None, n_classes: int | None) -> LossName:
    """Return the loss ``name``, or the default one, after checking that it suits the task.

    Args:
        name: None selects squared error for a completion task and cross-entropy for a classification task.
        n_classes: number of classes of the task; None for a completion task.

    Raises:
        ValueError: the name is unknown, or the loss is for the other kind of task.
    """
    allowed: tuple[LossName, ...] = ("squared_error",) if n_classes is None else _CLASSIFYING
    if name is None:
        return allowed[0]
    if name not in get_args(LossName) or name not in allowed:
        raise ValueError(f"loss must be one of {', '.join(map(repr, allowed))} for this task, not {name!r}")
    return name


def episode_loss(outputs: Tensor, episode: EpisodeTensors, name: LossName) -> Tensor:
    """Return the loss as a mean over episodes, and over the scored steps of each.

    - ``squared_error``: sum over the D elements, as in the paper's programs for patterns and images.
    - ``cross_entropy``: negative log-probability of the correct class (the paper's text, experiment 3).
    - ``binary_cross_entropy``: mean over the N softmax outputs, each treated as a separate binary prediction
      (the paper's program, experiment 3).

    Args:
        outputs: ``(T, B, D)``, or log-probabilities ``(T, B, N)``.
        episode: provides target and mask.
        name: the loss.

    Returns:
        A scalar.
    """
    mask = episode.target_mask
    weight = mask / mask.sum(0) / mask.shape[1]  # (T, B), sums to 1
    if name == "squared_error":
        errors = (outputs - episode.target).square().sum(-1)
    elif name == "cross_entropy":
        target = episode.target.expand(len(outputs), -1)
        errors = -outputs.gather(-1, target[..., None]).squeeze(-1)
    else:
        right = F.one_hot(episode.target, outputs.shape[-1]).bool()
        errors = -torch.where(right, outputs, _log_of_the_rest(outputs)).mean(-1)
    # Do not multiply instead: errors of steps that are not scored may be infinite, and 0 * inf is NaN.
    return (weight * errors.masked_fill(~mask, 0)).sum()


def _log_of_the_rest(outputs: Tensor) -> Tensor:
    """Return ``log(1 - p)`` of each class, from ``log p`` of the others: exact even if p itself rounds to 1.

    Args:
        outputs: log-probabilities ``(..., N)``.
    """
    n = outputs.shape[-1]
    own = torch.eye(n, dtype=torch.bool, device=outputs.device)
    return outputs.unsqueeze(-2).expand(*outputs.shape, n).masked_fill(own, -inf).logsumexp(-1)


def judged_outputs(outputs: Tensor, episode: EpisodeTensors) -> Tensor:
    """Return each episode's output at its last scored step: ``(T, B, D)`` to ``(B, D)``."""
    steps, batch = episode.target_mask.shape
    numbers = torch.arange(1, steps + 1, device=outputs.device)[:, None]
    last = (episode.target_mask * numbers).argmax(0)
    return outputs[last, torch.arange(batch, device=outputs.device)]
