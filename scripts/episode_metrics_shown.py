"""The metrics displayed for each supervised task."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from plasticrl.scripts.episode_settings import EpisodeTaskName
from plasticrl.scripts.shown_metric import ShownMetric


def _share(value: float) -> str:
    return f"{100 * value:.2f}%"


SHOWN_METRICS: Mapping[EpisodeTaskName, tuple[ShownMetric, ...]] = MappingProxyType(
    {
        "patterns": (
            ShownMetric("bit_error", "wrong bits", _share, -1),
            ShownMetric("hidden_bit_error", "wrong hidden bits", _share, -1),
        ),
        "images": (
            ShownMetric("hidden_mse", "squared error, hidden pixels", "{:.4f}".format, -1),
            ShownMetric("hidden_psnr", "PSNR (dB)", "{:.2f}".format, 1),
            ShownMetric("hidden_correlation", "correlation", "{:.3f}".format, 1),
        ),
        "omniglot": (ShownMetric("accuracy", "right answers", _share, 1),),
    }
)
"""The first metric of each task is the one that ranks the networks."""
