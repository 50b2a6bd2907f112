"""A search for better settings: a sweep whose runs Optuna draws, and Ray trains."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import BaseTrial, FrozenTrial, TrialState
from ray.tune.schedulers import ASHAScheduler
from ray.tune.search.optuna import OptunaSearch

from plasticrl.scripts.commands import SweepOptions
from plasticrl.scripts.errors import UserError
from plasticrl.scripts.experiments.experiment import SearchTrial, Trial, seeds_in
from plasticrl.scripts.experiments.ray_executor import DONE, SCORE, WORST, OnRay, trial_config
from plasticrl.scripts.runs.folder import first_difference, has_file, locked, remove_run
from plasticrl.scripts.runs.logs import length_logged
from plasticrl.scripts.runs.run import in_this_version
from plasticrl.scripts.runs.terminal import Report
from plasticrl.scripts.settings.groups import Between, data_place
from plasticrl.whole_files import read_regular, write_whole

optuna.logging.set_verbosity(optuna.logging.ERROR)

FIRST_SEED = 100_000  # first seed of a search's runs, far from those of other runs
_NUMBER = "number"  # attribute with the number of the interrupted trial that a trial resumes
_SETTINGS = "settings"
_MOST_BYTES = 2**28  # limit for a study's file; a trial takes a few thousand bytes
_ENDED = (TrialState.COMPLETE, TrialState.FAIL)
_OPEN = (TrialState.RUNNING, TrialState.WAITING)
# Li et al. 2020, "A system for massively parallel hyperparameter tuning". After an eighth and after three
# eighths of its length, a trial continues if it is among the best third of those that got there before.
_FIRST_LOOK, _ONE_OF = 1 / 8, 3


def search_options(command: SweepOptions, folder: str) -> SweepOptions:
    """Return the options of a search, whose root is ``folder`` below the command's.

    Paths become absolute, since with ray://, Optuna runs on another machine.
    """
    command = replace(command, output=replace(command.output, root=(command.output.root / folder).absolute()))
    if command.entry.reads_data:
        data_dir: dict[str, Any] = {"data_dir": data_place(command.data_dir)}
        command = replace(command, **data_dir)
    return command


@dataclass(frozen=True)
class Drawing:
    """Settings and runs of the trials of one core.

    Args:
        command: the settings that are not searched, and the output folder.
        core: the kind of network.
    """

    command: SweepOptions
    core: str

    @property
    def settings(self) -> SweepOptions:
        """The command with the settings of this core."""
        return self.command.for_core(self.core)

    def __call__(self, trial: Any) -> dict[str, Any]:
        """Return the configuration of a trial for ``ray_executor.train_trial``; called by Optuna."""
        values = {}
        for name, allowed in self.command.searched(self.core).items():
            if isinstance(allowed, Between):
                values[name] = trial.suggest_float(name, allowed.low, allowed.high, log=allowed.log)
            else:
                values[name] = trial.suggest_categorical(name, list(allowed.choices))
        return {"trial": trial_config(self.trial(values, _number(trial)), self.command.output)}

    def given(self) -> dict[str, Any]:
        """Return the command's own values of the searched settings."""
        return {name: self.settings.value(name) for name in self.command.searched(self.core)}

    def values(self, suggested: Mapping[str, Any]) -> dict[str, Any]:
        """Return suggested settings as trained with: rounded to four digits, so that they can be typed."""
        return {
            name: float(f"{value:.4g}")
            if isinstance(value, float) and value != self.settings.value(name)
            else value
            for name, value in suggested.items()
        }

    def trial(self, suggested: Mapping[str, Any], number: int) -> Trial:
        """Return a trial with its own settings and seed, and thus its own folder."""
        run = self.settings.with_values(self.values(suggested)).make_run(self.core, FIRST_SEED + number)
        return Trial(run, self.command.output.root, self.core)


def _number(trial: BaseTrial) -> int:
    """Return the number of the first trial with these settings."""
    return int(trial.user_attrs.get(_NUMBER, trial.number))


class Study:
    """The trials of one core, including those of earlier calls.

    Args:
        command: the search, whose root is the folder of the runs. With ``overwrite``, the study of an earlier
            search is removed with its runs; other files are kept.
        core: the kind of network.

    Raises:
        UserError: the file holds a search with other settings, or is not that of a search.
        BusyError: a run to be removed is in use.
    """

    def __init__(self, command: SweepOptions, core: str) -> None:
        self.command, self.core = command, core
        self.drawing = Drawing(command, core)
        base = command.make_run(core, FIRST_SEED)
        # Absolute, since Optuna's lock of the file is a link.
        self.path = (command.output.root / base.place / f"{core}.optuna").absolute()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if command.output.overwrite:
            self._remove()
        self._cut_unfinished_line()
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
            self.study.enqueue_trial(self.drawing.given())

    def _remove(self) -> None:
        if not has_file(self.path):
            return
        root = self.command.output.root
        for seed in seeds_in(self.command.make_run(self.core, 0).folder(root).parent):
            run = self.command.make_run(self.core, seed)
            remove_run(run.folder(root), run)
        self.path.unlink()
        self.path.with_name(self.path.name + ".lock").unlink(missing_ok=True)

    def _cut_unfinished_line(self) -> None:
        """Remove an incomplete last line, left by a killed process or a full disk."""
        if has_file(self.path):
            content = read_regular(self.path, _MOST_BYTES)
            # Rewritten even if unchanged, so that it is not a hard link to another file.
            write_whole(self.path, content[: content.rfind(b"\n") + 1])

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

    def train(self, executor: OnRay, report: Callable[[Report], None]) -> dict[str, str]:
        """Train the missing trials; Ray must be connected.

        Args:
            executor: trains them.
            report: receives the progress of every trial.

        Returns:
            The reasons why trials failed, by label.
        """
        missing = self._requeue_interrupted()
        if missing < 1:
            return {}
        total = self.command.make_run(self.core, 0).total
        return executor.tune(
            report,
            {},
            num_samples=missing,
            metric=SCORE,
            mode="max",
            search_alg=OptunaSearch(
                self.drawing,
                metric=SCORE,
                mode="max",
                study_name=self.core,
                storage=self.storage,
                sampler=optuna.samplers.TPESampler(seed=len(self.study.get_trials(deepcopy=False))),
            ),
            scheduler=ASHAScheduler(
                time_attr=DONE,
                max_t=2 * total,  # with the total it would stop runs before their evaluation
                grace_period=max(1, int(_FIRST_LOOK * total)),
                reduction_factor=_ONE_OF,
            ),
        )

    def _requeue_interrupted(self) -> int:
        """Requeue trials that were interrupted with the search; return the number of trials to train."""
        for trial in self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            self.study.enqueue_trial(trial.params, user_attrs={_NUMBER: _number(trial)})
            self.study.tell(trial.number, state=TrialState.FAIL)
        return self.command.trials - len(self._ended())

    def results(self) -> list[SearchTrial]:
        """Return the ended trials, best first."""
        found = [self._result(number, trial) for number, trial in self._ended().items()]
        order = {"finished": 0, "stopped early": 1, "failed": 2}
        return sorted(found, key=lambda one: (order[one.state], -(one.score or 0.0)))

    def _ended(self) -> dict[int, FrozenTrial]:
        trials = self.study.get_trials(deepcopy=False)
        under_way = {_number(trial) for trial in trials if trial.state in _OPEN}
        ended = {_number(trial): trial for trial in trials if trial.state in _ENDED}
        return {number: trial for number, trial in ended.items() if number not in under_way}

    def _result(self, number: int, drawn: FrozenTrial) -> SearchTrial:
        trial = self.drawing.trial(drawn.params, number)
        values = self.drawing.values(drawn.params)
        done = length_logged(trial.folder, trial.run.counter)
        if trial.is_finished:
            return SearchTrial(values, trial.run, trial.score(), "finished", done)
        if drawn.state is TrialState.FAIL or drawn.value == WORST:
            return SearchTrial(values, trial.run, None, "failed", done)
        return SearchTrial(values, trial.run, drawn.value, "stopped early", done)


@contextmanager
def only_search(folder: Path) -> Iterator[None]:
    """Lock a folder for one search: a second one would treat the trials of the first as interrupted.

    Raises:
        BusyError: another search holds the lock.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder):
        yield
