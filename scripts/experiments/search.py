"""A search for better settings: Optuna draws them, Ray Tune trains them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import BaseTrial, FrozenTrial, TrialState
from ray.tune.schedulers import ASHAScheduler
from ray.tune.search.optuna import OptunaSearch

from plasticrl.scripts.commands.options import SweepOptions
from plasticrl.scripts.errors import UserError
from plasticrl.scripts.experiments.ray_trials import DONE, SCORE, WORST, run_trials, trial_config
from plasticrl.scripts.reports.search_report import Tried
from plasticrl.scripts.runs.folder import finished_score, first_difference, has_file, is_kept, locked
from plasticrl.scripts.runs.logs import length_logged
from plasticrl.scripts.runs.run import Run, in_this_version
from plasticrl.scripts.runs.terminal import Report
from plasticrl.scripts.settings.presets import Between
from plasticrl.whole_files import read_regular, write_whole

FIRST_SEED = 100_000  # first seed of a search's runs, far from those of other runs
NUMBER = "number"  # attribute with the number of the interrupted trial that this one resumes


@dataclass(frozen=True)
class Trials:
    """The trials of one core.

    Args:
        command: the settings that are not searched, and the output folder.
        core: the kind of network.
    """

    command: SweepOptions
    core: str

    def __call__(self, trial: Any) -> dict[str, Any]:
        """Return the configuration of a trial for ``ray_trials.train_trial``; called by Optuna."""
        values = {}
        for name, allowed in self.command.searched(self.core).items():
            if isinstance(allowed, Between):
                values[name] = trial.suggest_float(name, allowed.low, allowed.high, log=allowed.log)
            else:
                values[name] = trial.suggest_categorical(name, list(allowed.choices))
        run = self.run(values, trial.user_attrs.get(NUMBER, trial.number))
        return {"trial": trial_config(run, self.command.output)}

    def given(self) -> dict[str, Any]:
        """Return the command's own values of the searched settings."""
        return {name: self.command.value(name) for name in self.command.searched(self.core)}

    def values(self, drawn: dict[str, Any]) -> dict[str, Any]:
        """Return suggested settings as trained with: rounded to four digits, so that they can be typed."""
        return {name: self._rounded(name, value) for name, value in drawn.items()}

    def run(self, drawn: dict[str, Any], number: int) -> Run:
        """Return the run of a trial, with its own settings and seed, and thus its own folder."""
        return self.command.with_values(self.values(drawn)).make_run(self.core, FIRST_SEED + number)

    def _rounded(self, name: str, value: Any) -> Any:
        is_drawn = isinstance(value, float) and value != self.command.value(name)
        return float(f"{value:.4g}") if is_drawn else value


def number_of(trial: BaseTrial) -> int:
    """Return the number of the first trial with these settings."""
    return int(trial.user_attrs.get(NUMBER, trial.number))


optuna.logging.set_verbosity(optuna.logging.ERROR)

_SETTINGS = "settings"
_MOST_BYTES = 2**28  # limit for a study's file; a trial takes a few thousand bytes
_ENDED = (TrialState.COMPLETE, TrialState.FAIL)
_OPEN = (TrialState.RUNNING, TrialState.WAITING)


class SearchStudy:
    """The trials of one core, including those of earlier calls.

    Args:
        command: the search, whose root is the folder of the runs.
        core: the kind of network.

    Raises:
        UserError: the file holds a search with other settings, or is not that of a search.
    """

    def __init__(self, command: SweepOptions, core: str) -> None:
        self.command, self.core = command, core
        self.trials = Trials(command, core)
        base = command.make_run(core, FIRST_SEED)
        self.path = study_file(command.output.root, base.task, core)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        _cut_unfinished_line(self.path)
        try:
            self.storage = JournalStorage(JournalFileBackend(str(self.path)))
            self.study = optuna.create_study(
                storage=self.storage, study_name=core, direction="maximize", load_if_exists=True
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(
                f"{self.path} is not the file of a search ({error}): give --overwrite to start over"
            ) from error
        space = {name: asdict(allowed) for name, allowed in command.searched(core).items()}
        self._claim({**base.as_dict(), "space": space})
        if not self.study.get_trials(deepcopy=False):
            self.study.enqueue_trial(self.trials.given())

    def _claim(self, settings: dict[str, Any]) -> None:
        settings = json.loads(json.dumps(settings))
        before = self.study.user_attrs.get(_SETTINGS)
        if before is not None and "space" in before:
            run = {name: value for name, value in before.items() if name != "space"}
            before = {**in_this_version(run), "space": before["space"]}
        if before is None:
            self.study.set_user_attr(_SETTINGS, settings)
        elif before != settings:
            raise UserError(
                f"{self.path} is of a search with other settings ({first_difference(before, settings)}): "
                "give --overwrite to start over, or another --root to keep it"
            )

    def take_up(self) -> int:
        """Requeue trials that were interrupted with the search; return the number of trials to come."""
        for trial in self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            self.study.enqueue_trial(trial.params, user_attrs={NUMBER: number_of(trial)})
            self.study.tell(trial.number, state=TrialState.FAIL)
        return self.command.trials - len(self._ended())

    def tried(self) -> list[Tried]:
        """Return the ended trials, best first."""
        found = [self._tried(number, trial) for number, trial in self._ended().items()]
        order = {"finished": 0, "stopped early": 1, "failed": 2}
        return sorted(found, key=lambda one: (order[one.state], -(one.score or 0.0)))

    def _ended(self) -> dict[int, FrozenTrial]:
        trials = self.study.get_trials(deepcopy=False)
        under_way = {number_of(trial) for trial in trials if trial.state in _OPEN}
        ended = {number_of(trial): trial for trial in trials if trial.state in _ENDED}
        return {number: trial for number, trial in ended.items() if number not in under_way}

    def _tried(self, number: int, trial: FrozenTrial) -> Tried:
        run, root = self.trials.run(trial.params, number), self.command.output.root
        values = self.trials.values(trial.params)
        done = length_logged(run.folder(root), run.counter)
        if is_kept(run, root):
            return Tried(values, run, finished_score(run, root), "finished", done)
        if trial.state is TrialState.FAIL or trial.value == WORST:
            return Tried(values, run, None, "failed", done)
        return Tried(values, run, trial.value, "stopped early", done)


def study_file(root: Path, task: str, core: str) -> Path:
    """Return the path of a core's study; absolute, since Optuna's lock of it is a link."""
    return (root / task / f"{core}.optuna").absolute()


@contextmanager
def only_search(folder: Path) -> Iterator[None]:
    """Lock a folder for one search: a second one would treat the trials of the first as interrupted.

    Raises:
        BusyError: another search holds the lock.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder):
        yield


def _cut_unfinished_line(path: Path) -> None:
    """Remove an incomplete last line, left by a killed process or a full disk, before lines are appended."""
    if has_file(path):
        content = read_regular(path, _MOST_BYTES)
        # Rewritten even if unchanged, so that it is not a hard link to another file.
        write_whole(path, content[: content.rfind(b"\n") + 1])


# Li et al. 2020, "A system for massively parallel hyperparameter tuning". After an eighth and after three
# eighths of its length, a trial continues if it is among the best third of those that got there before.
_FIRST_LOOK, _ONE_OF = 1 / 8, 3


def try_settings(
    study: SearchStudy, command: SweepOptions, report: Callable[[Report], None]
) -> dict[str, str]:
    """Train the missing trials of a core; Ray must be connected.

    Args:
        study: the core's study.
        command: the resources and the output of each trial.
        report: receives the progress of every run.

    Returns:
        The reasons why runs failed, by label.
    """
    to_come = study.take_up()
    if to_come < 1:
        return {}
    run = command.make_run(study.core, 0)
    return run_trials(
        command,
        command.output.root / run.task,
        report,
        {},
        num_samples=to_come,
        metric=SCORE,
        mode="max",
        search_alg=OptunaSearch(
            study.trials,
            metric=SCORE,
            mode="max",
            study_name=study.core,
            storage=study.storage,
            sampler=optuna.samplers.TPESampler(seed=len(study.study.get_trials(deepcopy=False))),
        ),
        scheduler=ASHAScheduler(
            time_attr=DONE,
            max_t=2 * run.total,  # with run.total it would stop runs before their evaluation
            grace_period=max(1, int(_FIRST_LOOK * run.total)),
            reduction_factor=_ONE_OF,
        ),
    )
