"""The common interface of comparisons of cores on any task, and their output."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

from plasticrl.scripts.finished_runs import read_evaluation
from plasticrl.scripts.robust_scores import bootstrap_interval, interquartile_mean
from plasticrl.scripts.run import Run
from plasticrl.scripts.run_folder import write_csv, write_json
from plasticrl.scripts.tables import print_table

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
