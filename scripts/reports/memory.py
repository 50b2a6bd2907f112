"""The report on the benchmark of memory: a table for the terminal, JSON, and a figure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from plasticrl.scripts.errors import as_user_error
from plasticrl.scripts.experiments.experiment import Trial
from plasticrl.scripts.experiments.memory import CORES, PLAIN, TASKS, condition_of
from plasticrl.scripts.reports.figures import make_plain, write_figure
from plasticrl.scripts.reports.statistics import (
    UNCERTAINTY,
    Estimate,
    aggregate,
    estimate,
    improvement_over_tasks,
)
from plasticrl.scripts.runs.folder import write_json
from plasticrl.scripts.runs.terminal import percent, print_table

_KEYS = ("middle", "low", "high")
_PLASTIC, _PLAIN = "#c2410c", "#475569"


@dataclass(frozen=True)
class MemorySummary:
    """Scores of the finished runs.

    Attributes:
        scores: points per episode by task, core and seed.
        total_timesteps: env steps of a training, by task.
    """

    scores: Mapping[str, Mapping[str, Mapping[int, float]]]
    total_timesteps: Mapping[str, int]

    @cached_property
    def cores(self) -> list[str]:
        """The cores with a finished run, in the benchmark's order."""
        return [core for core in CORES if any(core in found for found in self.scores.values())]

    @cached_property
    def common(self) -> dict[str, list[int]]:
        """The seeds that every one of these cores has finished, by task: aggregates are over them."""
        found = {
            task: sorted(set.intersection(*(set(scores.get(core, ())) for core in self.cores)))
            for task, scores in self.scores.items()
        }
        return {task: seeds for task, seeds in found.items() if seeds}

    @property
    def shared(self) -> list[str]:
        """The tasks that aggregates are over."""
        return [*self.common]

    def normalized(self, core: str) -> list[list[float]]:
        """Return the scores of a core on a scale from random actions (0) to the limit (1), for each task."""
        return [
            [TASKS[task].normalized(self.scores[task][core][seed]) for seed in seeds]
            for task, seeds in self.common.items()
        ]

    @cached_property
    def aggregates(self) -> dict[str, Estimate]:
        """Each core's interquartile mean over the runs of all shared tasks."""
        return {core: aggregate(self.normalized(core)) for core in self.cores if self.shared}

    @cached_property
    def improvements(self) -> dict[str, Estimate]:
        """Each plastic core's probability of improvement over the plain core of its cell."""
        pairs = [(core, PLAIN[core]) for core in self.cores if PLAIN.get(core) in self.cores and self.shared]
        return {
            core: improvement_over_tasks(self.normalized(core), self.normalized(plain))
            for core, plain in pairs
        }

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, for JSON."""
        tasks = {
            task: {
                "env": TASKS[task].env_id,
                "total_timesteps": self.total_timesteps[task],
                "bounds": [TASKS[task].low, TASKS[task].high],
                "cores": {
                    core: {
                        "scores": {str(seed): score for seed, score in found[core].items()},
                        **_plain(estimate([*found[core].values()])),
                    }
                    for core in self.cores
                    if core in found
                },
            }
            for task, found in self.scores.items()
        }
        return {
            "tasks": tasks,
            "aggregate": {
                "seeds": self.common,
                "cores": {core: _plain(found) for core, found in self.aggregates.items()},
            },
            "improvement": {
                core: {"over": PLAIN[core], **_plain(found)} for core, found in self.improvements.items()
            },
        }


def _plain(found: Estimate) -> dict[str, float | None]:
    return dict(zip(_KEYS, found, strict=True))


def summarize_memory(trials: Sequence[Trial]) -> MemorySummary:
    """Summarise the finished ones of the trials.

    Raises:
        UserError: a result cannot be read.
    """
    finished: dict[str, dict[int, Trial]] = {}
    for one in sorted((one for one in trials if one.is_finished), key=lambda one: one.run.seed):
        finished.setdefault(one.condition, {})[one.run.seed] = one
    scores: dict[str, dict[str, dict[int, float]]] = {}
    steps: dict[str, int] = {}
    for task, core in product(TASKS, CORES):
        for seed, one in finished.get(condition_of(task, core), {}).items():
            scores.setdefault(task, {}).setdefault(core, {})[seed] = one.score()
            steps[task] = one.run.total
    return MemorySummary(scores, steps)


def report_memory(trials: Sequence[Trial], folder: Path) -> MemorySummary:
    """Print and write the results of the trials finished so far.

    Args:
        trials: the trials, finished or not.
        folder: output folder for ``summary.json``, ``memory.png`` and ``memory.svg``.

    Raises:
        UserError: a run cannot be read, or the folder is not writable.
    """
    summary = summarize_memory(trials)
    if not summary.scores:
        print("no run is finished yet")
        return summary
    print_memory(summary)
    with as_user_error(OSError, about=f"cannot write to {folder}"):
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / "summary.json", summary.as_dict())
        draw_memory(summary, [folder / "memory.png", folder / "memory.svg"])
    print(f"report: {folder}")
    return summary


def form_of(task: str) -> Callable[[float], str]:
    """Return the function that formats a task's points: with two decimals where the limit is near 1."""
    return ("{:.2f}" if TASKS[task].high <= 1 and TASKS[task].low > -1 else "{:.1f}").format


def print_memory(summary: MemorySummary) -> None:
    """Print points per episode of each core on each task, and the aggregates."""
    rows = []
    for task, found in summary.scores.items():
        own = {core: estimate([*scores.values()]) for core, scores in found.items()}
        cells = ["" if core not in own else form_of(task)(own[core].mean) for core in summary.cores]
        counts = sorted({len(runs) for runs in found.values()})
        rows.append((task, "-".join(map(str, dict.fromkeys((counts[0], counts[-1])))), *cells))
    title = "Points per episode: interquartile mean over runs (intervals are in summary.json)"
    print_table(title, ("task", "runs", *summary.cores), rows)
    aggregates, better = summary.aggregates, summary.improvements
    if not aggregates:
        return
    over = [
        (core, found.text(percent), better[core].text(percent) if core in better else "", PLAIN.get(core, ""))
        for core, found in sorted(aggregates.items(), key=lambda item: -item[1].mean)
    ]
    title = f"All {len(summary.shared)} tasks, random actions 0 %, the limit 100 %: {UNCERTAINTY}"
    print_table(title, ("core", "score", "is better", "than"), over)


def draw_memory(summary: MemorySummary, paths: Sequence[Path]) -> None:
    """Draw the aggregates, the probabilities of improvement, and the normalized score of each core and task.

    Args:
        summary: the scores.
        paths: files to write, PNG or SVG by their suffix.
    """
    from matplotlib.figure import Figure  # takes a second to load

    aggregates, better = summary.aggregates, summary.improvements
    order = sorted(aggregates, key=lambda core: aggregates[core].mean) or [*reversed(summary.cores)]
    height = 1.6 + 0.34 * max(len(summary.scores), 6)
    figure = Figure(figsize=(13, height), dpi=130, layout="constrained")
    left, middle, right = figure.subplots(1, 3, width_ratios=(3, 2.2, 5))
    _draw_estimates(left, {core: aggregates[core] for core in order if core in aggregates})
    left.set_title(f"Score over {len(summary.shared)} tasks (orange: plastic)", loc="left", fontsize=11)
    left.set_xlabel("0 % random actions, 100 % the limit")
    named = {f"{core}\nover {PLAIN[core]}": better[core] for core in order if core in better}
    _draw_estimates(middle, named)
    middle.axvline(50, color="0.5", linestyle="--", linewidth=1)
    middle.set_xlim(0, 100)
    middle.set_title("Plastic is better", loc="left", fontsize=11)
    middle.set_xlabel("probability of improvement, %")
    _draw_tasks(right, summary, order[::-1])
    for path in paths:
        write_figure(figure, path)


def _draw_estimates(panel: Any, found: Mapping[str, Estimate]) -> None:
    """Draw estimates with their intervals in rows, the first one at the bottom; values in per cent."""
    for row, (name, one) in enumerate(found.items()):
        color = _PLASTIC if name.partition("\n")[0] in PLAIN else _PLAIN
        if one.low is not None and one.high is not None:
            panel.plot([100 * one.low, 100 * one.high], [row, row], color=color, linewidth=6, alpha=0.35)
        panel.plot(100 * one.mean, row, "o", color=color, markersize=6)
    panel.set_yticks(range(len(found)), [*found])
    panel.set_ylim(-0.6, max(len(found), 1) - 0.4)
    make_plain(panel)


def _draw_tasks(panel: Any, summary: MemorySummary, cores: Sequence[str]) -> None:
    """Draw a table of tasks and cores, colored by normalized score, with the points in its cells."""
    tasks = [*summary.scores]
    shown = np.full((len(tasks), len(cores)), np.nan)
    for row, task in enumerate(tasks):
        for column, core in enumerate(cores):
            if core in summary.scores[task]:
                points = estimate([*summary.scores[task][core].values()]).mean
                shown[row, column] = TASKS[task].normalized(points)
                dark = shown[row, column] > 0.5
                text = form_of(task)(points)
                panel.text(
                    column, row, text, ha="center", va="center", fontsize=8, color="w" if dark else "k"
                )
    panel.imshow(shown, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    panel.set_xticks(range(len(cores)), cores, rotation=35, ha="right")
    panel.set_yticks(range(len(tasks)), tasks)
    panel.tick_params(length=0)
    panel.spines[:].set_visible(False)
    panel.set_title("Points per episode (dark: close to the limit)", loc="left", fontsize=11)
