"""One step of gradient descent on a batch of episodes, and its loss."""

from __future__ import annotations

from math import inf, isfinite
from typing import Any, Literal, Protocol, TypeAlias, get_args

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.utils import clip_grads_with_norm_, get_total_norm

from plasticrl.agents.common.distributed import Ranks
from plasticrl.agents.common.finite_checks import NonFiniteError, first_non_finite
from plasticrl.agents.supervised.metrics import EpisodeKind, EpisodeStatistics, episode_kind, episode_metrics
from plasticrl.agents.supervised.network import EpisodeNetwork, EpisodeTensors, to_tensors
from plasticrl.envs.supervised.task import Episode, EpisodeTask

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


def predicted(outputs: Tensor, episode: EpisodeTensors, n_classes: int | None) -> Tensor:
    """Return the vector ``(B, D)`` or the class ``(B,)`` at each episode's last scored step."""
    judged = judged_outputs(outputs, episode)
    return judged if n_classes is None else judged.argmax(-1)


def _answers(outputs: Tensor, episode: EpisodeTensors, n_classes: int | None) -> tuple[Tensor, Tensor]:
    """Return predictions and targets of each episode's last scored step, or of all if each has a target."""
    if n_classes is None or episode.target.ndim == 1:
        return predicted(outputs, episode, n_classes), episode.target
    return outputs.argmax(-1)[episode.target_mask], episode.target[episode.target_mask]


class Learner(Protocol):
    """The attributes of a learner that an update and pictures of episodes use."""

    network: EpisodeNetwork
    optimizer: torch.optim.Optimizer
    device: torch.device
    task: EpisodeTask
    eval_task: EpisodeTask | None
    loss: LossName
    batch_size: int
    max_grad_norm: float
    num_timesteps: int
    n_updates: int
    statistics: EpisodeStatistics
    ranks: Ranks


class EpisodeUpdate:
    """Updates of a learner's network, with the results of the last update for the log.

    The only value copied from the device to the host is one bit, which says if loss and gradient are finite.

    Attributes:
        grad_norm: norm of the gradient before clipping.
        state: the core's state at the end of the episodes.
    """

    grad_norm: Tensor
    state: Any

    def __init__(self, learner: Learner) -> None:
        self._learner = learner
        self._kind: EpisodeKind | None = None

    def run(self, episode: Episode) -> None:
        """Take one gradient descent step, and count the episodes.

        Args:
            episode: the batch, or this process's share of it.

        Raises:
            NonFiniteError: loss or gradient are not finite; the parameters are unchanged.
        """
        learner = self._learner
        learner.network.train()
        learner.optimizer.zero_grad()
        tensors = to_tensors(episode, learner.device)
        outputs, state = learner.network(tensors)
        loss = episode_loss(outputs, tensors, learner.loss)
        loss.backward()  # type: ignore[no-untyped-call]
        self._kind = self._kind or episode_kind(episode.target, learner.task.n_classes)
        prediction, target = _answers(outputs.detach(), tensors, learner.task.n_classes)
        metrics = episode_metrics(prediction, target, tensors.hidden, self._kind)
        means = (loss, *(values.mean() for values in metrics.values()))
        loss, *means_of_metrics = learner.ranks.average(learner.network.parameters(), *means)
        self.grad_norm = get_total_norm([p.grad for p in learner.network.parameters() if p.grad is not None])
        self.state = type(state)(*(s.detach() for s in state))
        if not torch.stack((loss, self.grad_norm)).isfinite().all():
            raise self._non_finite(tensors, outputs, loss)
        if isfinite(learner.max_grad_norm):
            clip_grads_with_norm_(learner.network.parameters(), learner.max_grad_norm, self.grad_norm)
        learner.optimizer.step()

        learner.n_updates += 1
        learner.num_timesteps += learner.batch_size
        learner.statistics.add({"loss": loss, **dict(zip(metrics, means_of_metrics, strict=True))})

    def _non_finite(self, tensors: EpisodeTensors, outputs: Tensor, loss: Tensor) -> NonFiniteError:
        """Return an error that names the first non-finite tensor in the order of the computation."""
        learner = self._learner
        parameters = dict(learner.network.named_parameters())
        name = first_non_finite(
            {
                "the episode's inputs": tensors.inputs,
                "the episode's target": tensors.target,
                **{f"parameter {name}": p for name, p in parameters.items()},
                "the outputs": outputs,
                **{f"the core's {n}": s for n, s in zip(self.state._fields, self.state, strict=True)},
                "the loss": loss,
                **{f"the gradient of {name}": p.grad for name, p in parameters.items()},
                "the gradient's norm": self.grad_norm,
            }
        )
        return NonFiniteError(
            f"{name}: not finite in update {learner.n_updates + 1}, after {learner.num_timesteps} episodes. "
            "The parameters are those before this update; try a lower learning_rate or max_grad_norm"
        )
