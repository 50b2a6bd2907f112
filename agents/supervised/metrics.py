"""Metrics of predictions, episode by episode, running means of them over training, and evaluations."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from math import inf, isfinite, sqrt
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from plasticrl.agents.common.finite_checks import NonFiniteError
from plasticrl.arguments import check_whole
from plasticrl.envs.supervised.task import EpisodeTask, Predictor

EpisodeKind: TypeAlias = Literal["bits", "values", "classes"]

_Z = 1.959964  # a standard normal variable is within +-_Z with probability 0.95
_PEAK = 2.0  # range of values in [-1, 1]


class Estimate(NamedTuple):
    """A mean over episodes and its 95 % confidence interval."""

    mean: float
    low: float
    high: float


def episode_kind(target: NDArray[Any], n_classes: int | None) -> EpisodeKind:
    """Return the kind of target: a class, bits (all elements are -1 or 1), or values.

    Args:
        target: targets of B episodes, ``(B,)`` or ``(B, D)``.
        n_classes: number of classes of the task; None for a completion task.
    """
    if n_classes is not None:
        return "classes"
    return "bits" if (np.abs(target) == 1).all() else "values"


def episode_metrics(
    prediction: Tensor, target: Tensor, hidden: Tensor | None, kind: EpisodeKind
) -> dict[str, Tensor]:
    """Return metrics for each of B episodes.

    Args:
        prediction: ``(B, D)``, or classes ``(B,)``.
        target: the same shape.
        hidden: bool ``(B, D)``, the elements to complete; None for all. Not used for classes.
        kind: "classes" gives ``accuracy``. "bits" gives ``bit_error``, the fraction of bits with the wrong
            sign (0 counts as wrong), and ``hidden_bit_error``, the same over the hidden bits. "values" gives
            three metrics over the hidden elements: ``hidden_mse``; ``hidden_psnr`` in dB, with the range of
            [-1, 1] as its peak, infinite if the error is zero; ``hidden_correlation``, Pearson's, 0 if
            prediction or target is constant.

    Returns:
        ``(B,)`` for each name.
    """
    if kind == "classes":
        return {"accuracy": (prediction == target).float()}
    if hidden is None:
        hidden = torch.ones_like(target, dtype=torch.bool)
    count = hidden.sum(-1)

    def mean(values: Tensor) -> Tensor:
        return (hidden * values).sum(-1) / count

    if kind == "bits":
        wrong = (~(prediction * target > 0)).to(prediction)  # not <= 0, which would count NaN as correct
        return {"bit_error": wrong.mean(-1), "hidden_bit_error": mean(wrong)}
    mse = mean((prediction - target).square())
    x = prediction - mean(prediction)[:, None]
    y = target - mean(target)[:, None]
    spread = (mean(x * x) * mean(y * y)).sqrt().clamp_min(torch.finfo(mse.dtype).tiny)
    return {
        "hidden_mse": mse,
        "hidden_psnr": 10 * torch.log10(_PEAK**2 / mse),
        "hidden_correlation": (mean(x * y) / spread).clamp(-1, 1),  # rounding may exceed the range
    }


def mean_interval(values: NDArray[np.floating]) -> Estimate:
    """Return the mean and its normal 95 % confidence interval, mean ± 1.96 standard errors.

    Args:
        values: ``(n,)``, one per episode. The interval is unbounded for a single value, and if a value is
            infinite, such as the PSNR of a prediction without error.
    """
    mean = float(np.mean(values))
    if len(values) == 1 or not isfinite(mean):
        return Estimate(mean, -inf, inf)
    half = _Z * float(np.std(values, ddof=1)) / sqrt(len(values))
    return Estimate(mean, mean - half, mean + half)


def share_interval(successes: int, n: int) -> Estimate:
    """Return a proportion and its Wilson 95 % interval, which is valid near 0 and 1, too (Wilson, 1927).

    Args:
        successes: number of successes out of ``n``.
        n: at least 1.
    """
    share = successes / n
    center = (share + _Z**2 / (2 * n)) / (1 + _Z**2 / n)
    half = _Z / (1 + _Z**2 / n) * sqrt(share * (1 - share) / n + _Z**2 / (4 * n**2))
    return Estimate(share, min(center - half, share), max(center + half, share))


def updates_within(episodes: int, batch_size: int) -> int:
    """Return the number of updates in a window of ``episodes`` episodes, at least one."""
    return max(1, episodes // batch_size)


class EpisodeStatistics:
    """A window of the values of the last updates.

    Args:
        updates: maximum number of updates in the window.
    """

    def __init__(self, updates: int) -> None:
        self.names: tuple[str, ...] = ()
        self._values: deque[Tensor] = deque(maxlen=updates)

    def add(self, values: Mapping[str, Tensor]) -> None:
        """Append the scalars of one update; if their names have changed, clear the window first."""
        if self.names != tuple(values):
            self.clear()
            self.names = tuple(values)
        self._values.append(torch.stack([value.detach() for value in values.values()]))

    def means(self) -> dict[str, float]:
        """Return the means over the window by name; empty before the first update."""
        means = self.values.mean(0).tolist() if self._values else []
        return dict(zip(self.names, means, strict=True))

    @property
    def values(self) -> Tensor:
        """The window, ``(updates so far, names)``."""
        return torch.stack(tuple(self._values)) if self._values else torch.zeros(0, len(self.names))

    def clear(self) -> None:
        """Empty the window."""
        self._values.clear()

    def restore(self, names: tuple[str, ...], values: Tensor) -> None:
        """Replace the content by ``names`` and the latest ``values`` of another window."""
        self.names = names
        self.clear()
        self._values.extend(values)


_STREAM = 0x65766C  # separates the random numbers from those of a training with the same seed


@dataclass(frozen=True)
class EpisodeEvaluation:
    """Metrics of predictions, averaged over episodes.

    Attributes:
        n_episodes: number of episodes.
        seed: seed that they were drawn with.
        metrics: mean and 95 % confidence interval of each metric, for independent episodes. The names are
            those of :func:`episode_metrics`.
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
