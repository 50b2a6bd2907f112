"""Statistical summary of the finished runs of an experiment, as numbers and as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import quantiles
from typing import Any

from plasticrl.scripts.experiments.experiment import Experiment
from plasticrl.scripts.reports.comparison import Summary, summarize
from plasticrl.scripts.reports.statistics import Improvement, improvement
from plasticrl.scripts.runs.folder import RESULT, PlacedRun, finished_score, grouped, read_json
from plasticrl.scripts.runs.logs import length_logged
from plasticrl.scripts.runs.run import Run
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
        middle, low, high: their interquartile mean and its 95 % bootstrap interval.
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
    middle: float | None
    low: float | None
    high: float | None
    quartiles: tuple[float, float, float] | None
    first: Improvement | None
    seconds: float
    settings: Mapping[str, Any]


@dataclass(frozen=True)
class ExperimentSummary:
    """Summaries of all conditions, in the experiment's order, and the metric of their scores."""

    name: str
    metric: str
    conditions: tuple[ConditionSummary, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, for JSON."""
        data = asdict(self)
        for one, condition in zip(data["conditions"], self.conditions, strict=True):
            one["scores"] = {str(seed): score for seed, score in condition.scores.items()}
            one["first"] = None if condition.first is None else condition.first._asdict()
        return data


def summarize_experiment(experiment: Experiment, runs: Sequence[PlacedRun]) -> ExperimentSummary:
    """Summarise the finished ones of the runs.

    Raises:
        UserError: a result cannot be read.
    """
    metric = experiment.conditions[0].run.main_metric
    groups = grouped(runs)
    conditions_by_name = {name: experiment.condition(name) for name in groups}
    scores = {name: _scores(group) for name, group in groups.items()}
    firsts = {one.series: one.name for one in reversed(conditions_by_name.values())}
    conditions = []
    for name, group in groups.items():
        condition = conditions_by_name[name]
        first = firsts[condition.series]
        signed, others = list(scores[name].values()), list(scores[first].values())
        enough = len(signed) > 1
        middle, low, high = summarize(signed) if signed else (None, None, None)
        low, high = (low, high) if metric.sign > 0 else (_minus(high), _minus(low))
        compared = enough and len(others) > 1 and name != first
        plain = [metric.sign * score for score in signed]
        conditions.append(
            ConditionSummary(
                name=name,
                about=condition.about,
                series=condition.series,
                asked=len(group),
                trained=sum(_trained(one) for one in group) / len(group),
                scores={seed: metric.sign * score for seed, score in scores[name].items()},
                middle=middle if metric.sign > 0 else _minus(middle),
                low=low,
                high=high,
                quartiles=tuple(quantiles(plain, n=4, method="inclusive")) if enough else None,  # type: ignore[arg-type]
                first=improvement(others, signed) if compared else None,
                seconds=sum(_seconds(one) for one in _finished(group)),
                settings=_settings(group[0].run),
            )
        )
    return ExperimentSummary(experiment.name, metric.name, tuple(conditions))


def print_summary(summary: ExperimentSummary, experiment: Experiment) -> None:
    """Print a table for each series, with one row per condition."""
    for series, title in experiment.titles().items():
        conditions = [one for one in summary.conditions if one.series == series]
        if conditions:
            _print_table(conditions, experiment.conditions[0].run.main_metric, title)


def _print_table(conditions: Sequence[ConditionSummary], metric: ShownMetric, title: str) -> None:
    rows = []
    for one in conditions:
        score = "" if one.middle is None else Summary(one.middle, one.low, one.high).text(metric.form)
        first, p = (
            ("", "") if one.first is None else (percent(one.first.probability), f"{one.first.p_value:.2g}")
        )
        rows.append((one.name, f"{len(one.scores)} of {one.asked}", percent(one.trained), score, first, p))
    columns = ["condition", "runs", "trained", metric.label]
    if len(rows) > 1:
        columns += [f"{conditions[0].name} is better", "p"]
    about = f"{title}: interquartile mean over runs, 95 % interval"
    print_table(about, columns, [row[: len(columns)] for row in rows])


def _scores(group: Sequence[PlacedRun]) -> dict[int, float]:
    return {one.run.seed: finished_score(one.run, one.root) for one in _finished(group)}


def _finished(group: Sequence[PlacedRun]) -> list[PlacedRun]:
    return [one for one in group if one.is_finished]


def _trained(one: PlacedRun) -> float:
    if one.is_finished:
        return 1.0
    if not one.is_begun:
        return 0.0
    return min(1.0, length_logged(one.folder, one.run.counter) / one.run.total)


def _settings(run: Run) -> dict[str, Any]:
    return {name: value for name, value in run.as_dict().items() if name not in ("version", "seed")}


def _seconds(one: PlacedRun) -> float:
    seconds = read_json(one.folder / RESULT).get("seconds")
    return float(seconds) if isinstance(seconds, (int, float)) else 0.0


def _minus(value: float | None) -> float | None:
    return None if value is None else 0.0 - value  # not -value, which is -0.0 for 0.0
