"""How good predictions are, episode by episode, and what can be said of the mean."""

from __future__ import annotations

from math import inf, isfinite, sqrt
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

EpisodeKind: TypeAlias = Literal["bits", "values", "classes"]

_Z = 1.959964  # a normal variable is within +-_Z with probability 0.95
_PEAK = 2.0  # values lie in [-1, 1]


class Estimate(NamedTuple):
    """A mean over episodes and its 95 % confidence interval."""

    mean: float
    low: float
    high: float


def episode_kind(target: NDArray[Any], n_classes: int | None) -> EpisodeKind:
    """What is asked for: a class, bits (every element of the target is -1 or 1), or values.

    Args:
        target: of B episodes, ``(B,)`` or ``(B, D)``.
        n_classes: of the task; None where it completes.
    """
    if n_classes is not None:
        return "classes"
    return "bits" if (np.abs(target) == 1).all() else "values"


def episode_metrics(
    prediction: Tensor, target: Tensor, hidden: Tensor | None, kind: EpisodeKind
) -> dict[str, Tensor]:
    """Metrics of each of B episodes.

    Args:
        prediction: ``(B, D)``, or the class ``(B,)``.
        target: the same shape.
        hidden: bool ``(B, D)``, the elements that were to be completed; None for all. Not for classes.
        kind: "classes": ``accuracy``. "bits": ``bit_error``, the share of bits whose sign is wrong (0 is
            wrong), and ``hidden_bit_error``, the same over the hidden bits. "values", all over the hidden
            elements only: ``hidden_mse``; ``hidden_psnr`` in dB with the range of [-1, 1] as its peak,
            infinite without any error; ``hidden_correlation``, Pearson's, 0 where prediction or target does
            not vary.

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
        wrong = (~(prediction * target > 0)).to(prediction)  # not <= 0, which would let NaN pass for right
        return {"bit_error": wrong.mean(-1), "hidden_bit_error": mean(wrong)}
    mse = mean((prediction - target).square())
    x = prediction - mean(prediction)[:, None]
    y = target - mean(target)[:, None]
    spread = (mean(x * x) * mean(y * y)).sqrt().clamp_min(torch.finfo(mse.dtype).tiny)
    return {
        "hidden_mse": mse,
        "hidden_psnr": 10 * torch.log10(_PEAK**2 / mse),
        "hidden_correlation": (mean(x * y) / spread).clamp(-1, 1),  # rounding may lead beyond
    }


def mean_interval(values: NDArray[np.floating]) -> Estimate:
    """Mean and its normal 95 % interval, mean ± 1.96 standard errors.

    Args:
        values: ``(n,)``, one per episode. The interval of a single one is without limits, and so is that of
            values with infinite ones, such as the PSNR where there is no error.
    """
    mean = float(np.mean(values))
    if len(values) == 1 or not isfinite(mean):
        return Estimate(mean, -inf, inf)
    half = _Z * float(np.std(values, ddof=1)) / sqrt(len(values))
    return Estimate(mean, mean - half, mean + half)


def share_interval(successes: int, n: int) -> Estimate:
    """A share and Wilson's 95 % interval, which holds near 0 and 1 too (Wilson, 1927).

    Args:
        successes: of ``n``.
        n: at least 1.
    """
    share = successes / n
    center = (share + _Z**2 / (2 * n)) / (1 + _Z**2 / n)
    half = _Z / (1 + _Z**2 / n) * sqrt(share * (1 - share) / n + _Z**2 / (4 * n**2))
    return Estimate(share, min(center - half, share), max(center + half, share))
