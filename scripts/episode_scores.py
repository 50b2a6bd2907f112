"""Evaluation of a network on held-out episodes of a supervised task."""

from __future__ import annotations

import math
from dataclasses import asdict, astuple, dataclass
from typing import TYPE_CHECKING, Any

from plasticrl.scripts.comparison import Summary
from plasticrl.scripts.episode_metrics_shown import SHOWN_METRICS
from plasticrl.scripts.episode_references import Metrics, evaluate_references
from plasticrl.scripts.episode_settings import EpisodeTaskName
from plasticrl.scripts.episode_setup import Tasks
from plasticrl.scripts.evaluated import Scores

if TYPE_CHECKING:
    from plasticrl.agents.episode_learner import EpisodeLearner


@dataclass(frozen=True)
class Estimated:
    """A mean over episodes and its 95 % confidence interval.

    The limits are None if they are undefined, as for a single episode. The mean is None if it is infinite,
    like the PSNR of a picture without error.
    """

    mean: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class EpisodeScores(Scores):
    """The metrics of a network and of the references of its task.

    Attributes:
        task: name of the task.
        episodes: number of episodes.
        metrics: mean and interval of each metric.
        references: metrics of each reference, on the same episodes.
    """

    task: EpisodeTaskName
    episodes: int
    metrics: dict[str, Estimated]
    references: dict[str, Metrics]

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, for JSON."""
        return asdict(self)

    def summary(self) -> str:
        """Describe the main metric of the network and of the references in one line."""
        main = SHOWN_METRICS[self.task][0]
        others = ", ".join(
            f"{other}: {main.text(values[main.name])}" for other, values in self.references.items()
        )
        return f"{main.label} {main.text(self.metrics[main.name].mean)} ({others})"

    def scalars(self) -> dict[str, float]:
        """Return the means that are finite."""
        return {name: one.mean for name, one in self.metrics.items() if one.mean is not None}

    def rows(self) -> list[tuple[str, str]]:
        """Return all metrics as rows of a table."""
        rows = []
        for metric in SHOWN_METRICS[self.task]:
            mean, low, high = astuple(self.metrics[metric.name])
            text = metric.text(mean) if mean is None else Summary(mean, low, high).text(metric.form)
            rows.append((metric.label, text))
            rows += [
                (f"  {one}", metric.text(values[metric.name])) for one, values in self.references.items()
            ]
        return rows


def evaluate(
    learner: EpisodeLearner, task: EpisodeTaskName, tasks: Tasks, *, episodes: int, seed: int
) -> EpisodeScores:
    """Evaluate a learner on held-out episodes; the same seed gives the same numbers.

    Args:
        learner: makes the predictions; its training state is not changed.
        task: name of the task.
        tasks: the tasks for training and evaluation.
        episodes: number of episodes.
        seed: seed of the episodes.
    """
    found = learner.evaluate(episodes, tasks.test, seed=seed).metrics
    metrics = {
        name: Estimated(*(x if math.isfinite(x) else None for x in estimate))
        for name, estimate in found.items()
    }
    return EpisodeScores(task, episodes, metrics, evaluate_references(tasks, episodes, seed))
