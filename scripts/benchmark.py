"""The command ``benchmark``: of memory, and of speed."""

import sys

from plasticrl.agents.presets import missing_packages
from plasticrl.scripts.bench.speed import measure
from plasticrl.scripts.commands import Benchmark, MemoryBenchmark, SpeedBenchmark
from plasticrl.scripts.errors import UserError
from plasticrl.scripts.experiments.executors import (
    InProcesses,
    check_cores,
    check_counts,
    check_folders,
    check_named_once,
    check_settings,
    train_and_report,
)
from plasticrl.scripts.experiments.experiment import Experiment
from plasticrl.scripts.experiments.memory import CORES, TASKS, memory_experiment
from plasticrl.scripts.main import main
from plasticrl.scripts.reports.memory import report_memory

REPORT = "report"


def run(command: Benchmark) -> None:
    """Measure speed, or train the missing runs of the benchmark of memory and report on all of them.

    Raises:
        UserError: an option is wrong, a package is missing, a folder is in use, or a training failed.
        KeyboardInterrupt: Ctrl-C was pressed; raised after the report on the finished runs.
    """
    if isinstance(command, SpeedBenchmark):
        measure(command)
    elif isinstance(command, MemoryBenchmark):
        _memory(command)


def _memory(command: MemoryBenchmark) -> None:
    check_cores(command.cores)
    check_counts(seeds=command.seeds, jobs=command.jobs)
    check_named_once(tasks=command.tasks)
    for kind, given, known in (("task", command.tasks, TASKS), ("core", command.cores, CORES)):
        if unknown := [name for name in given if name not in known]:
            raise UserError(f"there is no {kind} {unknown[0]}: choose from {', '.join(known)}")
    requested = _experiment(command, command.tasks, command.cores)
    imports = dict.fromkeys(name for one in requested.conditions for name in one.run.modules)
    if missing := missing_packages(imports):
        raise UserError(f"these tasks need packages that are missing: pip install {missing}")
    trials = requested.trials()
    check_folders(trials, overwrite=command.output.overwrite)
    check_settings([one.run for one in trials[: len(requested.conditions)]], command.output)
    everything = _experiment(command, (*TASKS,), CORES)
    folder = command.output.root / REPORT
    train_and_report(
        trials,
        InProcesses(command.output, command.jobs),
        command.output,
        lambda: report_memory(everything.with_started(trials), folder),
    )


def _experiment(command: MemoryBenchmark, tasks: tuple[str, ...], cores: tuple[str, ...]) -> Experiment:
    return memory_experiment(
        tasks,
        cores,
        seeds=command.seeds,
        first_seed=command.first_seed,
        total_timesteps=command.total_timesteps,
        root=command.output.root,
    )


if __name__ == "__main__":
    sys.exit(main(["benchmark", *sys.argv[1:]]))
