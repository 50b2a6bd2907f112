"""One gradient descent step on a batch of episodes."""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn.utils import clip_grads_with_norm_, get_total_norm

from plasticrl.agents.episode_loss import episode_loss, judged_outputs
from plasticrl.agents.episode_metrics import EpisodeKind, episode_kind, episode_metrics
from plasticrl.agents.episode_tensors import EpisodeTensors, to_tensors
from plasticrl.agents.finite_checks import NonFiniteError, first_non_finite
from plasticrl.envs.episode import Episode

if TYPE_CHECKING:
    from plasticrl.agents.episode_learner import EpisodeLearner


def predicted(outputs: Tensor, episode: EpisodeTensors, n_classes: int | None) -> Tensor:
    """Return the vector ``(B, D)`` or the class ``(B,)`` at each episode's last scored step."""
    judged = judged_outputs(outputs, episode)
    return judged if n_classes is None else judged.argmax(-1)


class EpisodeUpdate:
    """Updates of a learner's network, with the results of the last update for the log.

    The only value copied from the device to the host is one bit, which says if loss and gradient are finite.

    Attributes:
        grad_norm: norm of the gradient before clipping.
        state: the core's state at the end of the episodes.
    """

    grad_norm: Tensor
    state: Any

    def __init__(self, learner: EpisodeLearner) -> None:
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
        prediction = predicted(outputs.detach(), tensors, learner.task.n_classes)
        metrics = episode_metrics(prediction, tensors.target, tensors.hidden, self._kind)
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
