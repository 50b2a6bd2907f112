"""The command ``reproduce``."""

import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from plasticrl.scripts.episode_run import EpisodeRun
from plasticrl.scripts.main import main
from plasticrl.scripts.many_runs import (
    check_claims,
    check_named_once,
    check_number_of_runs,
    check_settings,
    missing_runs,
)
from plasticrl.scripts.maze_setup import maze_config
from plasticrl.scripts.parallel_runs import train_all
from plasticrl.scripts.placed_run import PlacedRun
from plasticrl.scripts.progress_display import ProgressDisplay
from plasticrl.scripts.reproduce_command import Reproduce
from plasticrl.scripts.reproduction import Experiment
from plasticrl.scripts.reproduction_curves import COLORS, common_curves, draw_curves, write_curves
from plasticrl.scripts.reproduction_pictures import draw_networks
from plasticrl.scripts.reproduction_presets import EXPERIMENTS
from plasticrl.scripts.reproduction_summary import print_summary, summarize_experiment
from plasticrl.scripts.run_folder import write_json
from plasticrl.scripts.run_on_maze import RunOnMaze
from plasticrl.scripts.set_up import processors
from plasticrl.scripts.steadiness import print_steadiness, steadiness
from plasticrl.scripts.user_error import UserError, blame_user

REPORT = "report"


def run(command: Reproduce) -> None:
    """Train what is missing of an experiment, then print and write what its runs say.

    Raises:
        UserError: an option is wrong, a folder is taken, data are missing, or a training failed.
        KeyboardInterrupt: after Ctrl-C, when what is finished has been summed up.
    """
    experiment, root = EXPERIMENTS[command.experiment, command.budget], command.output.root
    folder = root / experiment.name / REPORT
    asked = _asked(command, experiment)
    check_claims(asked, overwrite=command.output.overwrite)
    if not command.train:
        _check_there(command, experiment, asked)
    else:
        check_settings(command.output, [one.run for one in asked if one.run.seed == 0])
        jobs = processors() if command.jobs is None else command.jobs
        try:
            with ProgressDisplay(command.output.quiet) as display:
                train_all(missing_runs(asked, command.output, display), command.output, jobs, display.show)
        except (KeyboardInterrupt, UserError):
            _report(experiment, experiment.with_others(asked, root), folder)
            raise
    runs = experiment.with_others(asked, root)
    _report(experiment, runs, folder)
    with blame_user(OSError, about=f"cannot write to {folder}"):
        draw_networks(_with_data([one for one in runs if one.is_finished], command.data_dir), folder)


def _asked(command: Reproduce, experiment: Experiment) -> list[PlacedRun]:
    seeds = experiment.seeds if command.seeds is None else command.seeds
    check_number_of_runs(seeds=seeds, jobs=command.jobs)
    names = [one.name for one in experiment.conditions]
    if unknown := [name for name in command.conditions if name not in names]:
        raise UserError(f"{experiment.name} has no condition {unknown[0]}: choose from {', '.join(names)}")
    check_named_once(conditions=command.conditions)
    if command.data_dir is not None and command.experiment not in ("images", "omniglot"):
        raise UserError(f"--data-dir: {command.experiment} has no data, leave it out")
    return _with_data(experiment.runs(command.output.root, seeds, command.conditions), command.data_dir)


def _check_there(command: Reproduce, experiment: Experiment, asked: Sequence[PlacedRun]) -> None:
    root = command.output.root
    begun = {one.group for one in experiment.with_others(asked, root) if one.folder.exists()}
    if missing := [name for name in command.conditions if name not in begun]:
        what = f"condition {missing[0]}"
    elif not begun:
        what = experiment.name
    else:
        return
    raise UserError(
        f"{root} has no runs of {what}: leave out --no-train to train them, or "
        "give the --root that they are in"
    )


def _with_data(runs: Sequence[PlacedRun], data_dir: Path | None) -> list[PlacedRun]:
    """The same; those of supervised tasks find their data there."""
    return [
        one._replace(run=replace(one.run, data_dir=data_dir)) if isinstance(one.run, EpisodeRun) else one
        for one in runs
    ]


def _report(experiment: Experiment, runs: Sequence[PlacedRun], folder: Path) -> None:
    """Print and write what is finished by now."""
    summary = summarize_experiment(experiment, runs)
    print_summary(summary, experiment)
    finished = [one for one in runs if one.is_finished]
    with blame_user(OSError, about=f"cannot write to {folder}"):
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / "summary.json", summary.as_dict())
        if finished:
            _report_curves(experiment, finished, folder)
            _report_steadiness(finished, folder)
    print(f"report: {folder}")


def _report_curves(experiment: Experiment, finished: Sequence[PlacedRun], folder: Path) -> None:
    """Write and draw the learning curves, each series by itself."""
    for series, title in experiment.titles().items():
        names = experiment.names(series)
        runs = [one for one in finished if one.group in names]
        if not runs:
            continue
        group = [one.run for one in runs if one.group == runs[0].group]
        axes = replace(group[0].compare(group, runs[0].root).axes(), title=title)
        curves = common_curves(runs, axes)
        file = folder / "_".join(["curves", *series.split()])
        write_curves(curves, names[0], file.with_suffix(".csv"))
        pictures = [file.with_suffix(".png"), file.with_suffix(".svg")]
        draw_curves(curves, names[0], dict(zip(names, COLORS, strict=False)), axes, pictures)


def _report_steadiness(finished: Sequence[PlacedRun], folder: Path) -> None:
    """Print and write how steadily agents learned; of supervised tasks nothing."""
    run = finished[0].run
    if isinstance(run, RunOnMaze):
        found = steadiness(finished, least=maze_config(run.maze).reward)
        print_steadiness(found)
        write_json(folder / "steadiness.json", {name: asdict(one) for name, one in found.items()})


if __name__ == "__main__":
    sys.exit(main(["reproduce", *sys.argv[1:]]))
