"""Comparisons of cores: what is printed and written of them, on the maze and on supervised tasks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from plasticrl.scripts.errors import UserError
from plasticrl.scripts.reports.statistics import bootstrap_interval, interquartile_mean
from plasticrl.scripts.runs.folder import read_evaluation, write_csv, write_json
from plasticrl.scripts.runs.run import Run
from plasticrl.scripts.runs.terminal import percent, print_table
from plasticrl.scripts.settings.tasks import TASKS

Cells = Sequence[str | int | float | None]


class Summary(NamedTuple):
    """The interquartile mean over runs with its 95 % bootstrap interval, which is None for a single run."""

    middle: float
    low: float | None
    high: float | None

    def text(self, form: Callable[[float], str]) -> str:
        """Format for a table."""
        around = "" if self.low is None or self.high is None else f"  [{form(self.low)}, {form(self.high)}]"
        return form(self.middle) + around


@dataclass(frozen=True)
class CurveAxes:
    """Axes and contents of the picture of the learning curves.

    Attributes:
        title: the task.
        steps, score: columns of ``progress.csv``.
        x_label, x_unit: label of the x axis, and size of one of its units in steps.
        y_label: label of the score.
        references: name, score and line style of each horizontal line.
        share: the scores that are 0 and 100 % on a second axis to the right, and its label; None for no
            such axis.
    """

    title: str
    steps: str
    score: str
    x_label: str
    x_unit: float
    y_label: str
    references: Sequence[tuple[str, float, str]]
    share: tuple[float, float, str] | None = None


class Comparison(ABC):
    """The scores of all cores and of the references; subclasses are frozen dataclasses."""

    @property
    @abstractmethod
    def ranking(self) -> list[str]:
        """The cores, best first."""

    @abstractmethod
    def title(self, runs: Sequence[Run]) -> str:
        """Return the title of the table."""

    @abstractmethod
    def table(self) -> list[Sequence[str]]:
        """Return the printed table: a row of columns, then one row per agent."""

    @abstractmethod
    def csv_rows(self) -> list[Cells]:
        """Return the table as numbers: a row of columns, then one row per agent; None is an empty cell."""

    @abstractmethod
    def axes(self) -> CurveAxes:
        """Return the axes and contents of the picture of the learning curves."""


def summarize(scores: Sequence[float]) -> Summary:
    """Summarise one core's scores over its runs."""
    low, high = bootstrap_interval(scores) or (None, None)
    return Summary(float(interquartile_mean(scores)), low, high)


def read_evaluations(runs: Sequence[Run], root: Path, read: Callable[[Any], Any]) -> dict[str, list[Any]]:
    """Apply ``read`` to the evaluation in each run's ``result.json``; return the values by core.

    Raises:
        UserError: a result cannot be read.
    """
    results: dict[str, list[Any]] = {}
    for run in runs:
        results.setdefault(run.core, []).append(read_evaluation(run.folder(root), read))
    return results


def write_comparison(comparison: Comparison, path: Path) -> list[Path]:
    """Write ``path`` with ``.csv`` and ``.json``; return the two files."""
    table, data = path.with_suffix(".csv"), path.with_suffix(".json")
    write_json(data, asdict(comparison))  # type: ignore[call-overload]
    write_csv(table, [["" if cell is None else cell for cell in row] for row in comparison.csv_rows()])
    return [table, data]


def print_comparison(comparison: Comparison, runs: Sequence[Run]) -> None:
    """Print the table."""
    columns, *rows = comparison.table()
    print_table(comparison.title(runs), columns, rows)


@dataclass(frozen=True)
class CoreScore:
    """Final scores of one core.

    Attributes:
        core: the core.
        scores: points per episode of each run, by seed.
        reward: their interquartile mean.
        low, high: its 95 % bootstrap interval; None for a single run.
        share, share_low, share_high: the same as a share of the oracle.
        rewards_found: rewards per episode, averaged over the runs.
    """

    core: str
    scores: tuple[float, ...]
    reward: float
    low: float | None
    high: float | None
    share: float
    share_low: float | None
    share_high: float | None
    rewards_found: float


@dataclass(frozen=True)
class MazeComparison(Comparison):
    """All cores, between the random agent and the oracle.

    Attributes:
        random: expected score of random actions.
        oracle: expected score of an agent that knows the reward's location.
        cores: the cores by descending score.
    """

    random: float
    oracle: float
    cores: tuple[CoreScore, ...]

    @property
    def ranking(self) -> list[str]:
        """The cores, best first."""
        return [one.core for one in self.cores]

    def title(self, runs: Sequence[Run]) -> str:
        """Return the title of the table."""
        return f"Maze after {runs[0].total:,} steps: interquartile mean over runs, 95 % interval"

    def table(self) -> list[Sequence[str]]:
        """Return the printed table: best first, between oracle and random."""
        rows: list[Sequence[str]] = [
            ("agent", "runs", "points per episode", "share of the oracle", "rewards found"),
            ("oracle", "", f"{self.oracle:.1f}", "100%", ""),
        ]
        for one in self.cores:
            points = Summary(one.reward, one.low, one.high).text("{:.1f}".format)
            share = Summary(one.share, one.share_low, one.share_high).text(percent)
            rows.append((one.core, str(len(one.scores)), points, share, f"{one.rewards_found:.1f}"))
        rows.append(("random", "", f"{self.random:.1f}", "0%", ""))
        return rows

    def csv_rows(self) -> list[Cells]:
        """Return the table as numbers."""
        rows: list[Cells] = [
            ("agent", "runs", "reward", "low", "high", "share", "share_low", "share_high"),
            ("oracle", None, self.oracle, None, None, 1.0, None, None),
        ]
        for one in self.cores:
            share = (one.share, one.share_low, one.share_high)
            rows.append((one.core, len(one.scores), one.reward, one.low, one.high, *share))
        rows.append(("random", None, self.random, None, None, 0.0, None, None))
        return rows

    def axes(self) -> CurveAxes:
        """Return axes with points against environment steps."""
        return CurveAxes(
            title="Maze",
            steps="time/total_timesteps",
            score="rollout/ep_rew_mean",
            x_label="environment steps (millions)",
            x_unit=1e6,
            y_label="points per episode",
            references=(("oracle", self.oracle, "--"), ("random", self.random, ":")),
            share=(self.random, self.oracle, "share of the oracle (%)"),
        )


def compare_mazes(runs: Sequence[Run], root: Path) -> MazeComparison:
    """Summarise the ``result.json`` of finished runs on the same maze.

    Raises:
        UserError: a result cannot be read.
    """
    names = ("mean_reward", "rewards_found", "random_reward", "oracle_reward")

    def numbers(evaluation: dict[str, Any]) -> dict[str, float]:
        return {name: float(evaluation[name]) for name in names}

    results = read_evaluations(runs, root, numbers)
    last: dict[str, float] = results[runs[-1].core][-1]
    random, oracle = last["random_reward"], last["oracle_reward"]

    def share(reward: float) -> float:
        return (reward - random) / (oracle - random)

    def score(core: str, found: list[dict[str, float]]) -> CoreScore:
        scores = tuple(result["mean_reward"] for result in found)
        reward, low, high = summarize(scores)
        return CoreScore(
            core=core,
            scores=scores,
            reward=reward,
            low=low,
            high=high,
            share=share(reward),
            share_low=None if low is None else share(low),
            share_high=None if high is None else share(high),
            rewards_found=sum(result["rewards_found"] for result in found) / len(found),
        )

    cores = sorted((score(*item) for item in results.items()), key=lambda one: -one.reward)
    return MazeComparison(random, oracle, tuple(cores))


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

    task: str
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
        shown = TASKS[self.task].metrics
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
        names = [metric.name for metric in TASKS[self.task].metrics]
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
        metric = TASKS[self.task].metrics[0]
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


def compare_episodes(runs: Sequence[Run], root: Path) -> EpisodeComparison:
    """Summarise the ``result.json`` of finished runs on the same task.

    Raises:
        UserError: a result cannot be read.
    """
    task = runs[0].task
    names = [metric.name for metric in TASKS[task].metrics]
    main, sign = names[0], TASKS[task].metrics[0].sign

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
