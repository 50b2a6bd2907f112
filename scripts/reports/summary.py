"""Statistical summary of the finished runs of an experiment, as numbers and as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import quantiles
from typing import Any

from plasticrl.scripts.experiments.experiment import Experiment, Trial, by_condition
from plasticrl.scripts.reports.statistics import UNCERTAINTY, Estimate, Improvement, estimate, improvement
from plasticrl.scripts.runs.folder import RESULT, read_json
from plasticrl.scripts.runs.logs import length_logged
from plasticrl.scripts.runs.terminal import percent, print_table
from plasticrl.scripts.settings.tasks import ShownMetric


@dataclass(frozen=True)
class ConditionSummary:
    """Summary of one condition.

    Attributes:
        name, about, series: those of the condition.
        asked: number of requested runs and of further ones that exist.
        trained: fraction of their training that is done, including unfinished runs.
        scores: scores of the finished runs by seed, in the unit of the metric.
        estimate: their interquartile mean with its interval; None without finished runs.
        quartiles: lower quartile, median, upper quartile; None for fewer than two runs.
        first: probability that a run of the first condition of the series is better than one of this
            condition; None for the first condition itself, and for fewer than two runs.
        seconds: training time of all finished runs, as far as their ``result.json`` has it.
        settings: settings of the runs, except the seed.
    """

    name: str
    about: str
    series: str
    asked: int
    trained: float
    scores: Mapping[int, float]
    estimate: Estimate | None
    quartiles: tuple[float, ...] | None
    first: Improvement | None
    seconds: float
    settings: Mapping[str, Any]

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, for JSON."""
        data: dict[str, Any] = {}
        for name, value in asdict(self).items():
            if name == "estimate":
                data |= dict(zip(("middle", "low", "high"), self.estimate or (None,) * 3, strict=True))
            else:
                data[name] = value
        first = None if self.first is None else self.first.as_dict()
        return data | {"scores": {str(seed): score for seed, score in self.scores.items()}, "first": first}


@dataclass(frozen=True)
class ExperimentSummary:
    """Summaries of all conditions, in the experiment's order, and the metric of their scores."""

    name: str
    metric: ShownMetric
    conditions: tuple[ConditionSummary, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, for JSON."""
        conditions = [one.as_dict() for one in self.conditions]
        return {"name": self.name, "metric": self.metric.name, "conditions": conditions}


def summarize_experiment(experiment: Experiment, trials: Sequence[Trial]) -> ExperimentSummary:
    """Summarise the finished ones of the trials.

    Raises:
        UserError: a result cannot be read.
    """
    metric = experiment.conditions[0].run.main_metric
    groups = by_condition(trials)
    finished = {name: [trial for trial in group if trial.is_finished] for name, group in groups.items()}
    signed = {name: {trial.run.seed: trial.score() for trial in group} for name, group in finished.items()}
    firsts = {experiment.condition(name).series: name for name in reversed(groups)}
    conditions = []
    for name, group in groups.items():
        condition = experiment.condition(name)
        first = firsts[condition.series]
        scores = {seed: metric.sign * score for seed, score in signed[name].items()}
        found = list(scores.values())
        is_compared = min(len(found), len(signed[first])) > 1 and name != first
        run = group[0].run
        conditions.append(
            ConditionSummary(
                name=name,
                about=condition.about,
                series=condition.series,
                asked=len(group),
                trained=sum(_trained(trial) for trial in group) / len(group),
                scores=scores,
                estimate=estimate(found) if found else None,
                quartiles=tuple(quantiles(found, n=4, method="inclusive")) if len(found) > 1 else None,
                first=improvement([*signed[first].values()], [*signed[name].values()])
                if is_compared
                else None,
                seconds=sum(_seconds(trial) for trial in finished[name]),
                settings={
                    key: value for key, value in run.as_dict().items() if key not in ("version", "seed")
                },
            )
        )
    return ExperimentSummary(experiment.name, metric, tuple(conditions))


def print_summary(summary: ExperimentSummary, experiment: Experiment) -> None:
    """Print a table for each series, with one row per condition."""
    for series, title in experiment.titles().items():
        conditions = [one for one in summary.conditions if one.series == series]
        if conditions:
            _print_table(conditions, summary.metric, title)


def _print_table(conditions: Sequence[ConditionSummary], metric: ShownMetric, title: str) -> None:
    rows = []
    for one in conditions:
        score = "" if one.estimate is None else one.estimate.text(metric.form)
        first = () if one.first is None else (percent(one.first.probability.mean), f"{one.first.p_value:.2g}")
        rows.append((one.name, f"{len(one.scores)} of {one.asked}", percent(one.trained), score, *first))
    columns = ["condition", "runs", "trained", metric.label]
    if len(rows) > 1:
        columns += [f"{conditions[0].name} is better", "p"]
    print_table(f"{title}: {UNCERTAINTY}", columns, rows)


def _trained(trial: Trial) -> float:
    if trial.is_finished:
        return 1.0
    if not trial.is_unfinished:
        return 0.0
    return min(1.0, length_logged(trial.folder, trial.run.counter) / trial.run.total)


def _seconds(trial: Trial) -> float:
    seconds = read_json(trial.folder / RESULT).get("seconds")
    return float(seconds) if isinstance(seconds, (int, float)) else 0.0
