"""A training on a supervised task: the learner, its callbacks, and its scores."""

from __future__ import annotations

from collections import deque
from statistics import fmean

from stable_baselines3.common.callbacks import BaseCallback

from plasticrl.agents.common import tags
from plasticrl.agents.supervised.learner import EpisodeLearner
from plasticrl.agents.supervised.pictures import EpisodePictures
from plasticrl.scripts.runs.run import Run
from plasticrl.scripts.tasks.supervised.scores import EpisodeScores, evaluate
from plasticrl.scripts.tasks.supervised.setup import (
    check_run,
    data_sizes,
    load_learner,
    make_learner,
    make_tasks,
    missing_data,
    take_network,
)
from plasticrl.scripts.tasks.task import EVALUATION_SEEDS, Trainer, log_interval

_RECENT = 100  # episodes averaged for the displayed score


def make_trainer(run: Run, device: str) -> Trainer:
    """Build the tasks and the learner; see :class:`plasticrl.scripts.experiments.training.TaskCode`."""
    check_run(run)
    tasks, metric = make_tasks(run), run.main_metric
    per_update = run.descent.batch_size
    every = log_interval(run.total, per_update)  # updates covered by the learner's statistics
    recent = deque[float](maxlen=max(1, _RECENT // (every * per_update)))

    def score(learner: EpisodeLearner) -> float | None:
        if learner.n_updates % every == 0:
            recent.append(metric.sign * learner.statistics.means()[metric.name])
        return fmean(recent) if recent else None

    def evaluation(learner: EpisodeLearner) -> EpisodeScores:
        seed = run.seed + EVALUATION_SEEDS
        return evaluate(learner, run.task, tasks, episodes=run.eval_episodes, seed=seed)

    def callbacks(every: int) -> list[BaseCallback]:
        return [EpisodePictures(every, seed=run.seed)]

    return Trainer(
        run,
        make_learner(run, tasks, device),
        unit="episodes",
        load=lambda checkpoint: load_learner(checkpoint, run, device, tasks.train, tasks.test),
        score=score,
        score_text=lambda value: f"{metric.label} {metric.form(metric.sign * value):>7}",
        evaluation=evaluation,
        metrics=(tags.LOSS, tags.TRAINING + metric.name, tags.EVALUATION + metric.name),
        callbacks=callbacks,
        log_interval=every,
        counter_option="reset_num_episodes",
        remedy="a lower --learning-rate, --eta or --max-grad-norm, or --bound-eta",
        take_network=take_network,
        data_sizes=data_sizes(tasks),
        notice=missing_data(run, tasks),
    )
