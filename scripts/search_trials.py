"""From what Optuna draws to the run that a trial of a search trains."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from optuna.trial import BaseTrial

from plasticrl.scripts.command_options import SweepOptions
from plasticrl.scripts.ray_trial import trial_config
from plasticrl.scripts.run import Run
from plasticrl.scripts.search_space import Between

FIRST_SEED = 100_000  # of a search's runs: no run that is compared has such a seed
NUMBER = "number"  # of the trial that this one goes on with, where the search was stopped


@dataclass(frozen=True)
class Trials:
    """The trials of one core.

    Args:
        command: the settings that are not drawn, and where to write.
        core: which network.
    """

    command: SweepOptions
    core: str

    def __call__(self, trial: Any) -> dict[str, Any]:
        """What Optuna calls for each trial: a configuration for ``ray_trial.train_trial``."""
        values = {}
        for name, allowed in self.command.searched(self.core).items():
            if isinstance(allowed, Between):
                values[name] = trial.suggest_float(name, allowed.low, allowed.high, log=allowed.log)
            else:
                values[name] = trial.suggest_categorical(name, list(allowed.choices))
        run = self.run(values, trial.user_attrs.get(NUMBER, trial.number))
        return {"trial": trial_config(run, self.command.output)}

    def given(self) -> dict[str, Any]:
        """The command's own values of what is drawn."""
        return {name: self.command.value(name) for name in self.command.searched(self.core)}

    def values(self, drawn: dict[str, Any]) -> dict[str, Any]:
        """Drawn settings as they are trained: to four digits, so that they can be typed again."""
        return {name: self._rounded(name, value) for name, value in drawn.items()}

    def run(self, drawn: dict[str, Any], number: int) -> Run:
        """The run of a trial: its own settings, its own seed, and so its own folder."""
        return self.command.with_values(self.values(drawn)).make_run(self.core, FIRST_SEED + number)

    def _rounded(self, name: str, value: Any) -> Any:
        is_drawn = isinstance(value, float) and value != self.command.value(name)
        return float(f"{value:.4g}") if is_drawn else value


def number_of(trial: BaseTrial) -> int:
    """The number of the first trial with these settings."""
    return int(trial.user_attrs.get(NUMBER, trial.number))
