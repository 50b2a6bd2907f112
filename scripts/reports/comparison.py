"""Comparison of the cores of one task: table, files and picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from math import inf, isfinite, isnan, nan
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from plasticrl.agents.common import tags
from plasticrl.envs import belief_points
from plasticrl.scripts.errors import UserError, as_user_error
from plasticrl.scripts.experiments.experiment import Experiment, Trial, by_condition
from plasticrl.scripts.reports.curves import CurveAxes, common_curves, draw_curves, write_aggregates
from plasticrl.scripts.reports.figures import COLORS
from plasticrl.scripts.reports.statistics import UNCERTAINTY, Estimate, estimate
from plasticrl.scripts.runs.folder import read_evaluation, write_csv, write_json
from plasticrl.scripts.runs.run import Run
from plasticrl.scripts.runs.terminal import percent, print_table
from plasticrl.scripts.settings.tasks import TASKS, ShownMetric
from plasticrl.scripts.tasks.environments.setup import maze_config

References: TypeAlias = Mapping[str, Mapping[str, float | None]]
"""The metrics of each reference; None is infinite."""

CORE_COLORS = dict(zip(TASKS["maze"].learners["a2c"].cores, COLORS, strict=False))
_NOTHING = (None, None, None)
_STYLES = ("--", ":", "-.")
_BELIEF, _ORACLE, _RANDOM = "belief agent", "oracle", "random"
_BELIEF_SHARE = "belief_share"  # a metric
_ABOVE = (_BELIEF, _ORACLE)  # the references that stand above the cores in tables
_MAZE = (
    ShownMetric("reward", "points per episode", "{:.1f}".format, 1),
    ShownMetric(_BELIEF_SHARE, "share of the belief agent", percent, 1),
    ShownMetric("share", "share of the oracle", percent, 1),
    ShownMetric("rewards_found", "rewards found", "{:.1f}".format, 1),
)


class Scores(NamedTuple):
    """Final scores of one core in one metric.

    Attributes:
        scores: one per run, by seed.
        estimate: their interquartile mean, with an interval.
    """

    scores: tuple[float, ...]
    estimate: Estimate


@dataclass(frozen=True)
class Comparison:
    """Final scores of all cores and of the references.

    Attributes:
        run: one of the runs.
        metrics: the metrics; the first one ranks.
        cores: scores of each core in each metric; best first.
        references: metrics of each reference, averaged over the evaluations of the runs; best first.
    """

    run: Run
    metrics: tuple[ShownMetric, ...]
    cores: Mapping[str, Mapping[str, Scores]]
    references: References

    @property
    def is_maze(self) -> bool:
        """True for runs on the maze, which alone has shares of an oracle's points."""
        return self.run.task == "maze"

    def title(self) -> str:
        """Return the title of the table."""
        unit = "episodes, held-out episodes" if self.run.entry.kind == "supervised" else "steps"
        return f"{self.run.title} after {self.run.total:,} {unit}: {UNCERTAINTY}"

    def rows(self) -> list[tuple[str, int | None, Sequence[Estimate | None]]]:
        """Return name, number of runs, and metrics of each agent: cores between those above and below."""
        references = {
            name: [_known(values.get(one.name, nan)) for one in self.metrics]
            for name, values in self.references.items()
        }
        cores = {core: [scores[one.name] for one in self.metrics] for core, scores in self.cores.items()}
        return [
            *((name, None, values) for name, values in references.items() if name in _ABOVE),
            *((core, len(found[0].scores), [one.estimate for one in found]) for core, found in cores.items()),
            *((name, None, values) for name, values in references.items() if name not in _ABOVE),
        ]

    def table(self) -> list[Sequence[str]]:
        """Return the printed table: a row of columns, then one row per agent."""
        columns = (self._kind, "runs", *(metric.label for metric in self.metrics))
        rows = [
            (
                name,
                "" if runs is None else str(runs),
                *(
                    "" if found is None else found.text(metric.form)
                    for metric, found in zip(self.metrics, metrics, strict=True)
                ),
            )
            for name, runs, metrics in self.rows()
        ]
        return [columns, *rows]

    def csv_rows(self) -> list[Sequence[str | float]]:
        """Return the table as numbers: a row of columns, then one row per agent."""
        columns = [self._columns(one.name) for one in self.metrics]
        rows: list[Sequence[str | float]] = [(self._kind, "runs", *chain(*columns))]
        for name, runs, metrics in self.rows():
            numbers = chain(
                *((found or _NOTHING)[: len(names)] for names, found in zip(columns, metrics, strict=True))
            )
            cells = ("" if cell is None or not isfinite(cell) else cell for cell in (runs, *numbers))
            rows.append((name, *cells))
        return rows

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, for JSON."""
        if not self.is_maze:
            cores = {
                core: {
                    name: dict(zip(("scores", "middle", "low", "high"), (one[0], *one[1]), strict=True))
                    for name, one in scores.items()
                }
                for core, scores in self.cores.items()
            }
            return {"task": self.run.task, "references": self.references, "cores": cores}
        rows = []
        for core, scores in self.cores.items():
            numbers = {
                column: value
                for name, one in scores.items()
                for column, value in zip(self._columns(name), one.estimate, strict=False)
            }
            rows.append({"core": core, "scores": scores["reward"].scores, **numbers})
        points = {name: values["reward"] for name, values in self.references.items()}
        return {
            "random": points[_RANDOM],
            "belief": points.get(_BELIEF),
            "oracle": points[_ORACLE],
            "cores": rows,
        }

    @property
    def _kind(self) -> str:
        return "network" if self.run.entry.kind == "supervised" else "agent"

    def _columns(self, metric: str) -> tuple[str, ...]:
        """Return the names of a metric's numbers in files: mean, low and high, or the mean only."""
        if metric == "rewards_found":
            return (metric,)
        low, high = ("low", "high") if metric == "reward" else (f"{metric}_low", f"{metric}_high")
        return metric, low, high

    def axes(self) -> CurveAxes:
        """Return the axes and contents of the picture of the learning curves."""
        main = self.metrics[0]
        known = {name: values[main.name] for name, values in self.references.items()}
        scale = {name: score for name, score in known.items() if score is not None}
        lines = [name for name in scale if not (self.is_maze and name == _ORACLE)]  # it would squash the rest
        references = [(name, scale[name], style) for name, style in zip(lines, _STYLES, strict=False)]
        title, steps = self.run.title, self.run.counter
        if self.run.entry.kind == "supervised":
            label = f"{main.label} (training)"
            return CurveAxes(title, steps, tags.TRAINING + main.name, "episodes", 1.0, label, references)
        unit, name = (1e6, "millions") if self.run.total >= 1e6 else (1e3, "thousands")
        x_label = f"environment steps ({name})"
        if not self.is_maze:
            return CurveAxes(title, steps, tags.REWARD, x_label, unit, main.label)
        whole = _BELIEF if _BELIEF in scale else _ORACLE
        share = (scale[_RANDOM], scale[whole], f"share of the {whole} (%)")
        above = [(_ORACLE, scale[_ORACLE])]
        return CurveAxes(title, steps, tags.REWARD, x_label, unit, main.label, references, above, share)


def _known(value: float | None) -> Estimate | None:
    """Return a reference's metric, of which None is infinite; None if it has no such metric."""
    if value is None:
        return Estimate(inf, None, None)
    return None if isnan(value) else Estimate(value, None, None)


def compare_trials(trials: Sequence[Trial]) -> Comparison:
    """Summarise the ``result.json`` of finished trials on the same task.

    Raises:
        UserError: a result cannot be read.
    """
    run = trials[0].run
    is_maze = run.task == "maze"
    belief = belief_points(maze_config(run.maze)) if is_maze else None
    metrics = _MAZE if is_maze else run.entry.metrics
    if is_maze and belief is None:
        metrics = tuple(one for one in metrics if one.name != _BELIEF_SHARE)
    names = [one.name for one in metrics]

    def read(evaluation: Mapping[str, Any]) -> tuple[dict[str, float], References]:
        if run.entry.kind == "environment":
            return {name: run.entry.mean(evaluation, name) for name in names}, {}
        return _read_maze(evaluation, belief) if is_maze else _read_episodes(evaluation, names)

    found = {
        condition: [read_evaluation(trial.folder, read) for trial in group]
        for condition, group in by_condition(trials).items()
    }
    cores = {
        condition: {name: _scores(name, [values[name] for values, _ in group]) for name in names}
        for condition, group in found.items()
    }
    evaluated = [references for group in found.values() for _, references in group]
    references = {
        one: {name: _mean([values[one][name] for values in evaluated]) for name in values}
        for one, values in evaluated[0].items()
    }
    main, sign = names[0], metrics[0].sign
    return Comparison(
        run,
        tuple(metrics),
        dict(sorted(cores.items(), key=lambda item: -sign * item[1][main].estimate.mean)),
        dict(sorted(references.items(), key=lambda item: -sign * (item[1][main] or 0.0))),
    )


def _read_maze(evaluation: Mapping[str, Any], belief: float | None) -> tuple[dict[str, float], References]:
    reward, found, random, oracle = (
        float(evaluation[name]) for name in ("mean_reward", "rewards_found", "random_reward", "oracle_reward")
    )

    def shares(points: float) -> dict[str, float]:
        whole = {"share": oracle} if belief is None else {_BELIEF_SHARE: belief, "share": oracle}
        return {name: (points - random) / (score - random) for name, score in whole.items()}

    known = {_ORACLE: oracle, **({} if belief is None else {_BELIEF: belief}), _RANDOM: random}
    references = {name: {"reward": points, **shares(points)} for name, points in known.items()}
    return {"reward": reward, **shares(reward), "rewards_found": found}, references


def _read_episodes(
    evaluation: Mapping[str, Any], names: Sequence[str]
) -> tuple[dict[str, float], References]:
    means = {name: evaluation["metrics"][name]["mean"] for name in names}
    if infinite := [name for name, mean in means.items() if mean is None]:
        raise UserError(
            f"{infinite[0]} is infinite in a run, which rules out a comparison: "
            "an episode was completed without any error; hide a larger --share"
        )
    references = {
        reference: {name: values[name] for name in names}
        for reference, values in evaluation["references"].items()
    }
    return {name: float(mean) for name, mean in means.items()}, references


def _scores(metric: str, scores: Sequence[float]) -> Scores:
    if metric == "rewards_found":  # a detail, for which a mean is enough
        return Scores(tuple(scores), Estimate(float(np.mean(scores)), None, None))
    return Scores(tuple(scores), estimate(scores))


def _mean(values: Sequence[float | None]) -> float | None:
    finite = [value for value in values if value is not None]
    return float(np.mean(finite)) if len(finite) == len(values) else None


def report_comparison(experiment: Experiment) -> Comparison:
    """Compare the cores of a finished experiment; print and write the table and the learning curves.

    Raises:
        UserError: a result cannot be read, or the folder cannot be written.
        KeyboardInterrupt: Ctrl-C was pressed; raised after a file is written.
    """
    trials, folder = experiment.trials(), experiment.folder
    comparison = compare_trials(trials)
    axes = comparison.axes()
    table, data = folder / "comparison.csv", folder / "comparison.json"
    picture = folder / "learning_curves.png"
    with as_user_error(OSError, about=f"cannot write to {folder}"):
        write_json(data, comparison.as_dict())
        write_csv(table, comparison.csv_rows())
        read = common_curves(trials, axes)
        curves = {core: read[core] for core in comparison.cores}  # best first, in the order of the lines
        draw_curves(curves, axes, CORE_COLORS, [picture])
    write_aggregates(curves, axes, folder)
    columns, *rows = comparison.table()
    print_table(comparison.title(), columns, rows)
    print(f"table: {table}, {data}\npicture: {picture}")
    return comparison
