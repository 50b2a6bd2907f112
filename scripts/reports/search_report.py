"""The result of a search: printed, written, and drawn."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from plasticrl.scripts.commands import SweepOptions
from plasticrl.scripts.experiments.experiment import SearchTrial
from plasticrl.scripts.reports.comparison import CORE_COLORS
from plasticrl.scripts.reports.figures import make_plain, write_figure
from plasticrl.scripts.runs.folder import write_csv, write_json
from plasticrl.scripts.runs.terminal import print_table
from plasticrl.scripts.settings.environments import words_of
from plasticrl.scripts.settings.groups import Between, SearchSpace, flag_of
from plasticrl.scripts.settings.tasks import ShownMetric, options_of_others

if TYPE_CHECKING:
    from matplotlib.axes import Axes


SearchResults: TypeAlias = Mapping[str, Sequence[SearchTrial]]
"""The ended trials of each core, best first."""

_COLUMNS = 4  # panels beside each other
_SHOWN = 5  # rows of a printed table


def draw_search(
    rows: Sequence[Mapping[str, Any]], space: SearchSpace, metric: ShownMetric, path: Path
) -> None:
    """Draw a panel for each setting, as a PNG. Trials that were stopped early are hollow.

    Args:
        rows: the trials, as in ``search.json``.
        space: search space of all cores.
        metric: the score.
        path: file to write.

    Raises:
        KeyboardInterrupt: Ctrl-C was pressed; raised after the file is written.
    """
    from matplotlib.figure import Figure

    columns = min(_COLUMNS, len(space))
    lines = -(-len(space) // columns)
    figure = Figure(figsize=(3 * columns, 2.6 * lines + 0.6), dpi=140, layout="constrained")
    panels = figure.subplots(lines, columns, squeeze=False, sharey=True).flat
    for (name, allowed), panel in zip(space.items(), panels, strict=False):
        for core in dict.fromkeys(row["core"] for row in rows):
            found = [row for row in rows if row["core"] == core and name in row["settings"]]
            for state, face in (("finished", CORE_COLORS[core]), ("stopped early", "none")):
                shown = [row for row in found if row["state"] == state and row["score"] is not None]
                panel.scatter(
                    [row["settings"][name] for row in shown],
                    [row["score"] for row in shown],
                    s=22,
                    facecolors=face,
                    edgecolors=CORE_COLORS[core],
                    linewidths=1.0,
                )
        if isinstance(allowed, Between):
            _set_scale(panel, allowed)
        panel.set_xlabel(name)
        make_plain(panel)
    for panel in panels:
        panel.set_visible(False)
    figure.supylabel(metric.label)
    marks = [
        panel.scatter([], [], s=22, color=CORE_COLORS[core], label=core)
        for core in dict.fromkeys(row["core"] for row in rows)
    ]
    hollow = panel.scatter([], [], s=22, facecolors="none", edgecolors="0.4", label="stopped early")
    figure.legend(handles=[*marks, hollow], frameon=False, loc="outside lower center", ncols=len(marks) + 1)
    write_figure(figure, path)


def _set_scale(panel: Axes, allowed: Between) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    if allowed.log:
        panel.set_xscale("log")
        panel.xaxis.set_major_locator(LogLocator(subs=(1, 3)))
        panel.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
        panel.xaxis.set_minor_formatter(NullFormatter())
    panel.set_xlim(allowed.low, allowed.high)


def print_search(results: SearchResults, command: SweepOptions) -> None:
    """Print the best settings of each core, and the command that trains with them."""
    for core, trials in results.items():
        states = Counter(trial.state for trial in trials)
        counted = ", ".join(f"{count} {state}" for state, count in states.items())
        names = list(command.searched(core))
        print_table(
            f"{core}: {len(trials)} settings tried ({counted})",
            [trials[0].run.main_metric.label if trials else "score", *names],
            [[_text(one), *(_short(one.settings.get(name)) for name in names)] for one in trials[:_SHOWN]],
        )
        if (best := _best(trials)) is not None:
            print(f"  {train_command(command, core, best)}\n")


def write_search(results: SearchResults, command: SweepOptions, folder: Path) -> None:
    """Write ``search.json``, ``search.csv`` and ``search.png`` into the folder."""
    rows = [_row(core, trial) for core, trials in results.items() for trial in trials]
    best = {core: _best(trials) for core, trials in results.items()}
    commands = {core: train_command(command, core, one) for core, one in best.items() if one is not None}
    write_json(folder / "search.json", {"best": commands, "trials": rows})
    space = {name: allowed for core in results for name, allowed in command.searched(core).items()}
    columns = ["core", "seed", "state", "score", "done", *space]
    cells = [[row.get(name, row["settings"].get(name)) for name in columns] for row in rows]
    write_csv(folder / "search.csv", [columns, *cells])
    found = [trial for trials in results.values() for trial in trials]
    if found and space:
        draw_search(rows, space, found[0].run.main_metric, folder / "search.png")


def train_command(command: SweepOptions, core: str, trial: SearchTrial) -> str:
    """Return the command line that trains with these settings."""
    options: Any = command.for_core(core).with_values(trial.settings)
    of_others = options_of_others(options.learner.cores, core)
    words = ["plasticrl", "train", trial.run.task, "--core", core, "--preset", options.preset]
    if options.algo != options.entry.learner:
        words += ["--algo", options.algo]
    if options.data_dir is not None:
        words += ["--data-dir", str(options.data_dir)]
    for name, group in options.learner.presets[options.preset].for_core(core).items():
        for field in fields(group):
            value = getattr(getattr(options, name), field.name)
            if value != getattr(group, field.name) and field.name not in of_others:
                words += _words(flag_of(type(group), field.name), value)
    return shlex.join(words)


def _words(flag: str, value: Any) -> list[str]:
    if isinstance(value, bool):
        return [flag if value else flag.replace("--", "--no-", 1)]
    if isinstance(value, Mapping):
        return [flag, *words_of(value)]
    if isinstance(value, tuple):
        return [word for one in value for word in (flag, one)]
    return [flag, str(value)]


def _best(trials: Sequence[SearchTrial]) -> SearchTrial | None:
    """Return the best finished trial; None if none has finished."""
    return next((trial for trial in trials if trial.state == "finished"), None)


def _row(core: str, trial: SearchTrial) -> dict[str, Any]:
    return {
        "core": core,
        "seed": trial.run.seed,
        "state": trial.state,
        "score": None if trial.score is None else trial.run.main_metric.sign * trial.score,
        "done": trial.done,
        "settings": trial.settings,
    }


def _text(trial: SearchTrial) -> str:
    if trial.score is None:
        return "failed"
    metric = trial.run.main_metric
    text = metric.form(metric.sign * trial.score)
    return text if trial.state == "finished" else f"{text} when stopped after {trial.done:,}"


def _short(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
