"""What a search tries for one core: Optuna's study, kept in a file, and the runs that it made."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from plasticrl.scripts.command_options import SweepOptions
from plasticrl.scripts.finished_runs import finished_score, is_kept
from plasticrl.scripts.many_runs import first_difference
from plasticrl.scripts.ray_trial import WORST, trial_config
from plasticrl.scripts.run import Run
from plasticrl.scripts.run_logs import length_logged
from plasticrl.scripts.search_space import Between
from plasticrl.scripts.user_error import UserError

optuna.logging.set_verbosity(optuna.logging.ERROR)

FIRST_SEED = 100_000  # of a search's runs: no run that is compared has such a seed

_SETTINGS, _NUMBER = "settings", "number"
_ENDED = (TrialState.COMPLETE, TrialState.FAIL)
_OPEN = (TrialState.RUNNING, TrialState.WAITING)
State: TypeAlias = Literal["finished", "stopped early", "failed"]


class Tried(NamedTuple):
    """Settings that were tried.

    Attributes:
        values: the settings.
        run: what was trained with them.
        score: of its evaluation where it finished, of its last episodes where not; None where it failed.
        state: how it ended.
        done: how long it was trained, in the unit of the run.
    """

    values: dict[str, Any]
    run: Run
    score: float | None
    state: State
    done: int


@dataclass(frozen=True)
class Suggest:
    """What Optuna calls for each trial: draws its settings, and returns the run that they make.

    Args:
        command: the settings that are not drawn, and where to write.
        core: which network.
    """

    command: SweepOptions
    core: str

    def __call__(self, trial: Any) -> dict[str, Any]:
        """A trial's configuration, for :func:`~plasticrl.scripts.ray_trial.train_trial`."""
        values = {}
        for name, allowed in self.command.space(self.core).items():
            if isinstance(allowed, Between):
                values[name] = trial.suggest_float(name, allowed.low, allowed.high, log=allowed.log)
            else:
                values[name] = trial.suggest_categorical(name, list(allowed.choices))
        number = trial.user_attrs.get(_NUMBER, trial.number)
        return {"trial": trial_config(self.run(values, number), self.command.output)}

    def run(self, values: dict[str, Any], number: int) -> Run:
        """The run of a trial: its own settings, its own seed, and so its own folder."""
        return self.command.with_values(rounded(values)).make_run(self.core, FIRST_SEED + number)


def rounded(values: dict[str, Any]) -> dict[str, Any]:
    """Drawn settings as they are trained: to four digits, so that they can be typed again."""
    return {k: float(f"{v:.4g}") if isinstance(v, float) else v for k, v in values.items()}


class SearchStudy:
    """One core's trials, those of earlier calls included.

    Args:
        command: the search; its root is where the runs go.
        core: which network.

    Raises:
        UserError: the file holds a search with other settings, or none.
    """

    def __init__(self, command: SweepOptions, core: str) -> None:
        self.command, self.core = command, core
        self.suggest = Suggest(command, core)
        base = command.make_run(core, FIRST_SEED)
        self.path = study_file(command.output.root, base.task, core)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self.storage = JournalStorage(JournalFileBackend(str(self.path)))
            self.study = optuna.create_study(
                storage=self.storage, study_name=core, direction="maximize", load_if_exists=True
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(
                f"{self.path} is not a search's ({error}): give --overwrite to begin anew"
            ) from error
        self._claim({**base.as_dict(), "space": {k: asdict(v) for k, v in command.space(core).items()}})

    def _claim(self, settings: dict[str, Any]) -> None:
        settings = json.loads(json.dumps(settings))
        if _SETTINGS not in self.study.user_attrs:
            self.study.set_user_attr(_SETTINGS, settings)
            given = {name: self.command.value(name) for name in self.command.space(self.core)}
            allowed = self.command.space(self.core)
            self.study.enqueue_trial({name: value for name, value in given.items() if value in allowed[name]})
        elif (before := self.study.user_attrs[_SETTINGS]) != settings:
            raise UserError(
                f"{self.path} is of a search with other settings ({first_difference(before, settings)}): "
                "give --overwrite to begin anew, or another --root to keep it"
            )

    def take_up(self) -> int:
        """Let trials that were under way when the search was stopped go on; returns how many are to come."""
        for trial in self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            self.study.enqueue_trial(trial.params, user_attrs={_NUMBER: _number(trial)})
            self.study.tell(trial.number, state=TrialState.FAIL)
        return self.command.trials - len(self._ended())

    def tried(self) -> list[Tried]:
        """All that ended, best first."""
        found = [self._tried(number, trial) for number, trial in self._ended().items()]
        order = {"finished": 0, "stopped early": 1, "failed": 2}
        return sorted(found, key=lambda one: (order[one.state], -(one.score or 0.0)))

    def _ended(self) -> dict[int, FrozenTrial]:
        trials = self.study.get_trials(deepcopy=False)
        under_way = {_number(trial) for trial in trials if trial.state in _OPEN}
        ended = {_number(trial): trial for trial in trials if trial.state in _ENDED}
        return {number: trial for number, trial in ended.items() if number not in under_way}

    def _tried(self, number: int, trial: FrozenTrial) -> Tried:
        run, root = self.suggest.run(trial.params, number), self.command.output.root
        values = rounded(trial.params)
        done = length_logged(run.folder(root), run.counter)
        if is_kept(run, root):
            return Tried(values, run, finished_score(run, root), "finished", done)
        if trial.state is TrialState.FAIL or trial.value == WORST:
            return Tried(values, run, None, "failed", done)
        return Tried(values, run, trial.value, "stopped early", done)


def _number(trial: FrozenTrial) -> int:
    """Of the first trial with these settings: one that was stopped with the search goes on as another."""
    return int(trial.user_attrs.get(_NUMBER, trial.number))


def study_file(root: Path, task: str, core: str) -> Path:
    """Where a core's study is."""
    return root / task / f"{core}.optuna"
