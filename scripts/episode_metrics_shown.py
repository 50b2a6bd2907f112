"""What is shown of a supervised task's metrics: their names, and which way is better."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple

from plasticrl.scripts.episode_settings import EpisodeTaskName


class ShownMetric(NamedTuple):
    """One metric.

    Attributes:
        name: as the learner calls it.
        label: in tables.
        form: writes a value.
        sign: 1 where more is better, -1 where less is.
    """

    name: str
    label: str
    form: Callable[[float], str]
    sign: int

    def text(self, value: float | None) -> str:
        """A value; None is infinite."""
        return "∞" if value is None else self.form(value)


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
"""The first one of each task is what networks are ranked by."""
