"""Comparison of cores on a supervised task: every metric, for cores and references."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from plasticrl.scripts.comparison import (
    Cells,
    Comparison,
    CurveAxes,
    Summary,
    read_evaluations,
    summarize,
)
from plasticrl.scripts.episode_metrics_shown import SHOWN_METRICS
from plasticrl.scripts.episode_settings import EpisodeTaskName
from plasticrl.scripts.run import Run
from plasticrl.scripts.user_error import UserError

_References: TypeAlias = dict[str, dict[str, float | None]]  # None means infinite
_STYLES = ("--", ":", "-.")


@dataclass(frozen=True)
class MetricScore:
    """Final scores of one core in one metric.

    Attributes:
        scores: one per run, by seed.
        middle: their interquartile mean.
        low, high: its 95 % bootstrap interval; None for a single run.
    """

    scores: tuple[float, ...]
    middle: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class EpisodeComparison(Comparison):
    """All cores and references of a comparison.

    Attributes:
        task: name of the task.
        references: metrics of each reference, averaged over the evaluations of the runs; best first.
        cores: metrics of each core; best first.
    """

    task: EpisodeTaskName
    references: _References
    cores: dict[str, dict[str, MetricScore]]

    @property
    def ranking(self) -> list[str]:
        """The cores, best first."""
        return list(self.cores)

    def title(self, runs: Sequence[Run]) -> str:
        """Return the title of the table."""
        return (
            f"{self.task.capitalize()} after {runs[0].total:,} episodes, held-out episodes: "
            "interquartile mean over runs, 95 % interval"
        )

    def table(self) -> list[Sequence[str]]:
        """Return the printed table: the cores, best first, then the references."""
        shown = SHOWN_METRICS[self.task]
        rows: list[Sequence[str]] = [("network", "runs", *(metric.label for metric in shown))]
        for core, metrics in self.cores.items():
            texts = []
            for name, _, form, _ in shown:
                one = metrics[name]
                texts.append(Summary(one.middle, one.low, one.high).text(form))
            rows.append((core, str(len(metrics[shown[0].name].scores)), *texts))
        rows += [
            (name, "", *(metric.text(values[metric.name]) for metric in shown))
            for name, values in self.references.items()
        ]
        return rows

    def csv_rows(self) -> list[Cells]:
        """Return the table as numbers."""
        names = [metric.name for metric in SHOWN_METRICS[self.task]]
        columns = [column for name in names for column in (name, f"{name}_low", f"{name}_high")]
        rows: list[Cells] = [("network", "runs", *columns)]
        for core, metrics in self.cores.items():
            cells = [
                cell
                for name in names
                for cell in (metrics[name].middle, metrics[name].low, metrics[name].high)
            ]
            rows.append((core, len(metrics[names[0]].scores), *cells))
        for reference, values in self.references.items():
            rows.append((reference, None, *(cell for name in names for cell in (values[name], None, None))))
        return rows

    def axes(self) -> CurveAxes:
        """Return axes with the main metric in training, against episodes."""
        metric = SHOWN_METRICS[self.task][0]
        references = [
            (name, score, style)
            for (name, values), style in zip(self.references.items(), _STYLES, strict=False)
            if (score := values[metric.name]) is not None
        ]
        return CurveAxes(
            title=self.task.capitalize(),
            steps="time/episodes",
            score=f"train/{metric.name}",
            x_label="episodes",
            x_unit=1.0,
            y_label=f"{metric.label} (training)",
            references=references,
        )


def compare_episodes(task: EpisodeTaskName, runs: Sequence[Run], root: Path) -> EpisodeComparison:
    """Summarise the ``result.json`` of finished runs on the same task.

    Raises:
        UserError: a result cannot be read.
    """
    names = [metric.name for metric in SHOWN_METRICS[task]]
    main, sign = names[0], SHOWN_METRICS[task][0].sign

    def numbers(evaluation: dict[str, Any]) -> tuple[dict[str, float], _References]:
        means = {name: evaluation["metrics"][name]["mean"] for name in names}
        if infinite := [name for name, mean in means.items() if mean is None]:
            raise UserError(
                f"{infinite[0]} is infinite in a run, which rules out a comparison: "
                "an episode was completed without any error; hide a larger --share"
            )
        metrics = {name: float(mean) for name, mean in means.items()}
        evaluated = evaluation["references"].items()
        return metrics, {one: {name: values[name] for name in names} for one, values in evaluated}

    results = read_evaluations(runs, root, numbers)
    cores = {
        core: {name: _score([metrics[name] for metrics, _ in found]) for name in names}
        for core, found in results.items()
    }
    evaluated = [references for found in results.values() for _, references in found]
    references = {
        one: {name: _mean([values[one][name] for values in evaluated]) for name in names}
        for one in evaluated[0]
    }
    return EpisodeComparison(
        task,
        dict(sorted(references.items(), key=lambda item: -sign * (item[1][main] or 0.0))),
        dict(sorted(cores.items(), key=lambda item: -sign * item[1][main].middle)),
    )


def _mean(values: Sequence[float | None]) -> float | None:
    finite = [value for value in values if value is not None]
    return float(np.mean(finite)) if len(finite) == len(values) else None


def _score(scores: Sequence[float]) -> MetricScore:
    return MetricScore(tuple(scores), *summarize(scores))
