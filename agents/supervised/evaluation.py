"""Evaluation of a learner, or of any function that predicts, on a task."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from plasticrl.agents.common.finite_checks import NonFiniteError
from plasticrl.agents.supervised.metrics import (
    Estimate,
    episode_kind,
    episode_metrics,
    mean_interval,
    share_interval,
)
from plasticrl.arguments import check_whole
from plasticrl.envs.supervised.task import EpisodeTask, Predictor

_STREAM = 0x65766C  # separates the random numbers from those of a training with the same seed


@dataclass(frozen=True)
class EpisodeEvaluation:
    """Metrics of predictions, averaged over episodes.

    Attributes:
        n_episodes: number of episodes.
        seed: seed that they were drawn with.
        metrics: mean and 95 % confidence interval of each metric, for independent episodes. The names are
            those of :func:`plasticrl.agents.supervised.metrics.episode_metrics`.
    """

    n_episodes: int
    seed: int
    metrics: Mapping[str, Estimate]

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, for JSON."""
        return {
            "n_episodes": self.n_episodes,
            "seed": self.seed,
            **{name: estimate._asdict() for name, estimate in self.metrics.items()},
        }


def evaluate_predictor(
    predict: Predictor, task: EpisodeTask, n_episodes: int = 1000, *, seed: int = 0, batch_size: int = 32
) -> EpisodeEvaluation:
    """Draw episodes, predict, and average the metrics; equal arguments give equal episodes for any predictor.

    Args:
        predict: maps a batch of episodes to vectors ``(B, D)``, or to classes ``(B,)``.
        task: the task that the episodes are drawn from.
        n_episodes: number of episodes. Default 1,000.
        seed: seed of the episodes. They differ from those of a training with the same seed.
        batch_size: episodes per batch; it also determines which episodes are drawn. Default 32.

    Raises:
        NonFiniteError: a prediction is NaN or infinite.
        ValueError: a number is not a whole one above 0 (``seed``: at least 0).
    """
    n_episodes = check_whole("n_episodes", n_episodes, least=1)
    batch_size = check_whole("batch_size", batch_size, least=1)
    seed = check_whole("seed", seed, least=0)
    rng = np.random.default_rng([_STREAM, seed])
    kind = None
    found: dict[str, list[NDArray[np.floating]]] = {}
    for start in range(0, n_episodes, batch_size):
        episode = task.sample(min(batch_size, n_episodes - start), rng).expanded()
        target = episode.answers()
        kind = kind or episode_kind(target, task.n_classes)
        prediction = predict(episode)
        if not np.isfinite(prediction).all():
            raise NonFiniteError("the prediction: not finite, so the network has diverged")
        metrics = episode_metrics(
            torch.as_tensor(prediction).double(),
            torch.as_tensor(target).double(),
            None if episode.hidden is None else torch.as_tensor(episode.hidden),
            kind,
        )
        for name, values in metrics.items():
            found.setdefault(name, []).append(values.numpy())
    whole = {name: np.concatenate(parts).astype(np.float64) for name, parts in found.items()}
    return EpisodeEvaluation(
        n_episodes,
        seed,
        {
            name: share_interval(int(values.sum()), n_episodes)
            if kind == "classes"
            else mean_interval(values)
            for name, values in whole.items()
        },
    )
