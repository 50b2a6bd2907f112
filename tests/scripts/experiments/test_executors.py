"""All executors train the same trials, name them alike, and collect failures alike."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from plasticrl.scripts.commands import CompareOptions, SweepOptions, options_of
from plasticrl.scripts.errors import UserError
from plasticrl.scripts.experiments.executors import Executor, InProcess, InProcesses, train_missing
from plasticrl.scripts.experiments.experiment import Condition, Experiment, Trial, by_condition, comparison_of
from plasticrl.scripts.experiments.paper import EXPERIMENTS
from plasticrl.scripts.runs.run import Run
from plasticrl.scripts.runs.terminal import Report
from plasticrl.scripts.settings.maze import OutputSettings
from plasticrl.scripts.settings.tasks import TASKS

PATTERNS = TASKS["patterns"]


def small(core: str) -> Run:
    run = options_of(SweepOptions, PATTERNS)().make_run(core, 0)
    return run.with_groups(
        patterns=replace(run.patterns, n_bits=8, n_cycles=1),
        training=replace(run.training, total_episodes=8, eval_episodes=4, checkpoints=2),
    )


def experiment(root: Path) -> Experiment:
    fast = small("plastic").with_groups(descent=replace(small("plastic").descent, learning_rate=0.01))
    conditions = (Condition("slow", small("plastic")), Condition("fast", fast))  # of the same core
    return Experiment("rates", "Rates", conditions, seeds=2, root=root)


def on_ray(output: OutputSettings) -> Executor:
    from plasticrl.scripts.experiments.ray_executor import OnRay

    return OnRay(options_of(SweepOptions, PATTERNS)(output=output))


EXECUTORS = [
    pytest.param(InProcess, id="in this process"),
    pytest.param(lambda output: InProcesses(output, 2), id="in processes"),
    pytest.param(on_ray, id="on Ray", marks=pytest.mark.cluster),
]


def break_folder(trial: Trial) -> None:
    """Let the training fail once it has begun."""
    trial.folder.mkdir(parents=True)
    (trial.folder / "checkpoints").write_text("a file where a folder should be")


@pytest.mark.parametrize("make", EXECUTORS)
def test_reports_and_failures_name_the_trial(
    make: Callable[[OutputSettings], Executor], tmp_path: Path
) -> None:
    broken, *others = trials = experiment(tmp_path).trials()[:3]  # the others are of both conditions
    break_folder(broken)
    reports: list[Report] = []
    output = OutputSettings(root=tmp_path, threads=1, device="cpu", quiet=True)
    failed = make(output).run(trials, reports.append)
    assert failed.keys() == {"slow seed 0"}
    assert str(broken.folder) in failed["slow seed 0"]
    assert [trial.is_finished for trial in trials] == [trial is not broken for trial in trials]
    told, wanted = {report.label for report in reports}, {trial.label for trial in others}
    assert told <= wanted if make is on_ray else told == wanted  # Ray may leave reports of a moment out
    with pytest.raises(UserError, match="1 of 1 trainings failed: slow seed 0: "):
        train_missing(trials, make(output), output)


def test_nothing_missing_needs_no_executor(tmp_path: Path) -> None:
    class Unused:
        def run(self, trials: object, report: object) -> dict[str, str]:
            raise AssertionError

    output = OutputSettings(root=tmp_path, threads=1, device="cpu", quiet=True)
    trials = experiment(tmp_path).trials()
    train_missing(trials, InProcess(output), output)
    train_missing(trials, Unused(), output)


def test_trials_come_seed_by_seed_in_folders_of_their_own(tmp_path: Path) -> None:
    trials = experiment(tmp_path).trials()
    assert [trial.label for trial in trials] == ["slow seed 0", "fast seed 0", "slow seed 1", "fast seed 1"]
    assert len({trial.folder for trial in trials}) == len(trials)
    assert trials[1].folder == tmp_path / "rates" / "fast" / "patterns" / "plastic" / "seed_0"


def test_a_comparison_has_the_runs_of_its_command(tmp_path: Path) -> None:
    command = options_of(CompareOptions, PATTERNS)(seeds=3, output=OutputSettings(root=tmp_path))
    compared = comparison_of(command.runs(), tmp_path)
    assert [trial.run for trial in compared.trials()] == command.runs()
    assert [trial.folder for trial in compared.trials()] == [run.folder(tmp_path) for run in command.runs()]
    assert compared.folder == tmp_path / "patterns"
    assert [len(group) for group in by_condition(compared.trials()).values()] == [3] * len(command.cores)


def test_two_learners_of_one_core_are_compared(tmp_path: Path) -> None:
    of_paper = EXPERIMENTS["maze", "quick"]
    runs = [of_paper.condition(name).run for name in ("lstm", "recurrent_ppo")]
    assert runs[0].core == runs[1].core
    compared = comparison_of(runs, tmp_path)
    assert [one.name for one in compared.conditions] == ["lstm", "recurrent_ppo"]
    assert [trial.run for trial in compared.trials()] == runs


def test_a_training_loads_no_library_of_reports(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from plasticrl.scripts.main import main\n"
        "assert main(sys.argv[1:]) == 0\n"
        "assert not {'scipy.stats', 'matplotlib', 'ray', 'optuna'} & set(sys.modules)"
    )
    words = ["train", "patterns", "--n-bits", "8", "--n-cycles", "1", "--total-episodes", "4"]
    more = ["--eval-episodes", "2", "--threads", "1", "--quiet", "--root", str(tmp_path)]
    subprocess.run([sys.executable, "-c", code, *words, *more], check=True)
