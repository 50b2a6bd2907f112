"""What is seen of runs while they train: live bars on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, field

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn, TimeRemainingColumn
from rich.text import Text

SECONDS_BETWEEN_LINES = 10.0


@dataclass(frozen=True)
class Report:
    """How far one run is.

    Attributes:
        label: which run.
        done: steps taken, or episodes seen.
        total: how many it will be.
        score: how good it is by now, in a few words; empty before anything is known.
        speed: steps or episodes per second.
        unit: which of the two.
        value: the score as a number, more is better; None before anything is known.
    """

    label: str
    done: int
    total: int
    score: str
    speed: float
    unit: str
    value: float | None

    def numbers(self) -> str:
        """Score and speed in words."""
        return f"{self.score}{'  ' if self.score else ''}{self.speed:7,.0f} {self.unit}/s"


@dataclass
class ProgressDisplay:
    """Shows the latest report of every run; a context manager.

    Args:
        quiet: show nothing.
    """

    quiet: bool = False
    _tasks: dict[str, TaskID] = field(default_factory=dict)
    _printed: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        console = Console(stderr=True)
        self._live = console.is_terminal and not self.quiet
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.percentage:3.0f}%"),
            _Numbers(),
            TimeRemainingColumn(),
            console=console,
        )

    def __enter__(self) -> ProgressDisplay:
        if self._live:
            self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._bars.stop()

    def show(self, report: Report) -> None:
        """Show a run's progress."""
        if self.quiet:
            return
        done = min(report.done, report.total)
        if self._live:
            if report.label not in self._tasks:
                self._tasks[report.label] = self._bars.add_task(report.label, total=report.total)
            self._bars.update(self._tasks[report.label], completed=done, numbers=report.numbers())
            return
        now = time.monotonic()
        last = self._printed.setdefault(report.label, now)
        if now - last >= SECONDS_BETWEEN_LINES or done == report.total:
            self._printed[report.label] = now
            left = (report.total - done) / report.speed if report.speed else 0.0
            print(
                f"{report.label}  {done / report.total:4.0%}  {report.numbers()}  {left:,.0f} s left",
                file=sys.stderr,
                flush=True,
            )

    def note(self, text: str) -> None:
        """Print a line above the bars."""
        if self._live:
            self._bars.console.print(text, highlight=False, markup=False)
        elif not self.quiet:
            print(text, file=sys.stderr, flush=True)


class _Numbers(ProgressColumn):
    """The report's numbers, in one style."""

    def render(self, task: Task) -> Text:
        return Text(task.fields.get("numbers", ""))
