"""Conversion of Optuna's suggestions into the runs of a search."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from optuna.trial import BaseTrial

from plasticrl.scripts.command_options import SweepOptions
from plasticrl.scripts.ray_trial import trial_config
from plasticrl.scripts.run import Run
from plasticrl.scripts.search_space import Between

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
        """Return the configuration of a trial for ``ray_trial.train_trial``; called by Optuna."""
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
