"""A search for better settings: Optuna draws them, Ray Tune trains them, ASHA stops the weak ones."""

from __future__ import annotations

from collections.abc import Callable

import optuna
from ray.tune.schedulers import ASHAScheduler
from ray.tune.search.optuna import OptunaSearch

from plasticrl.scripts.command_options import SweepOptions
from plasticrl.scripts.progress_display import Report
from plasticrl.scripts.ray_trial import DONE, SCORE
from plasticrl.scripts.ray_trials import run_trials
from plasticrl.scripts.search_study import SearchStudy

# Li et al. 2020, "A system for massively parallel hyperparameter tuning". After an eighth and after three
# eighths of its length, a trial goes on if it is among the best third of those that came so far.
_FIRST_LOOK, _ONE_OF = 1 / 8, 3


def try_settings(
    study: SearchStudy, command: SweepOptions, report: Callable[[Report], None]
) -> dict[str, str]:
    """Train what is missing of a core's trials; Ray must be connected.

    Args:
        study: the core's.
        command: what each trial gets, and where it writes.
        report: is told the progress of every run.

    Returns:
        why runs failed, by label.
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
            max_t=2 * run.total,  # it would stop a run that is there before its evaluation
            grace_period=max(1, int(_FIRST_LOOK * run.total)),
            reduction_factor=_ONE_OF,
        ),
    )
