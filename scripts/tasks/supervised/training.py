"""A training on a supervised task: its scores, those of the references beside it, and its callbacks."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import asdict, astuple, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any, TypeAlias

from stable_baselines3.common.callbacks import BaseCallback

from plasticrl.agents.common import tags
from plasticrl.agents.supervised.learner import EpisodeLearner
from plasticrl.agents.supervised.metrics import evaluate_predictor
from plasticrl.agents.supervised.pictures import EpisodePictures
from plasticrl.envs.supervised.patterns import PatternsTask
from plasticrl.envs.supervised.task import Predictor
from plasticrl.scripts.reports.statistics import Estimate
from plasticrl.scripts.runs.run import Run
from plasticrl.scripts.settings.supervised import ImagesEvaluation, OmniglotEvaluation, PlainEvaluation
from plasticrl.scripts.settings.tasks import TASKS
from plasticrl.scripts.tasks.supervised.setup import (
    Tasks,
    check_run,
    data_sizes,
    load_learner,
    make_learner,
    make_tasks,
    missing_data,
    take_network,
)
from plasticrl.scripts.tasks.task import (
    EVALUATION_SEEDS,
    Evaluated,
    Scores,
    Trainer,
    changed_settings,
    in_words,
    log_interval,
)

Metrics: TypeAlias = dict[str, float | None]
"""None means infinite: the PSNR of a picture without error."""


def evaluate_references(tasks: Tasks, episodes: int, seed: int) -> dict[str, Metrics]:
    """Return the mean of every metric for each reference, on the episodes of a network's evaluation.

    Args:
        tasks: the run's tasks.
        episodes: number of episodes.
        seed: seed of the episodes.
    """
    predictors = tasks.known.references()
    found = {name: _evaluate(predict, tasks, episodes, seed) for name, predict in predictors.items()}
    return {**found, **_chance(tasks)}


def _evaluate(predict: Predictor, tasks: Tasks, episodes: int, seed: int) -> Metrics:
    metrics = evaluate_predictor(predict, tasks.test, episodes, seed=seed).metrics
    return {name: one.mean if math.isfinite(one.mean) else None for name, one in metrics.items()}


def _chance(tasks: Tasks) -> dict[str, Metrics]:
    """Return the expected score of guessing; some tasks have none."""
    task = tasks.test
    if task.n_classes is not None:
        return {"chance": {"accuracy": 1 / task.n_classes}}
    if isinstance(task, PatternsTask):
        return {"chance": {"bit_error": task.n_hidden / task.n_bits / 2, "hidden_bit_error": 0.5}}
    return {}


@dataclass(frozen=True)
class Estimated:
    """A mean over episodes and its 95 % confidence interval.

    The limits are None if they are undefined, as for a single episode. The mean is None if it is infinite,
    like the PSNR of a picture without error.
    """

    mean: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class EpisodeScores(Scores):
    """The metrics of a network and of the references of its task.

    Attributes:
        task: name of the task.
        episodes: number of episodes.
        metrics: mean and interval of each metric.
        references: metrics of each reference, on the same episodes.
    """

    task: str
    episodes: int
    metrics: dict[str, Estimated]
    references: dict[str, Metrics]

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, for JSON."""
        return asdict(self)

    def summary(self) -> str:
        """Describe the main metric of the network and of the references in one line."""
        main = TASKS[self.task].metrics[0]
        others = ", ".join(
            f"{other}: {main.text(values[main.name])}" for other, values in self.references.items()
        )
        score = f"{main.label} {main.text(self.metrics[main.name].mean)}"
        return f"{score} ({others})" if others else score

    def scalars(self) -> dict[str, float]:
        """Return the means that are finite."""
        return {name: one.mean for name, one in self.metrics.items() if one.mean is not None}

    def rows(self) -> list[tuple[str, str]]:
        """Return all metrics as rows of a table."""
        rows = []
        for metric in TASKS[self.task].metrics:
            mean, low, high = astuple(self.metrics[metric.name])
            text = metric.text(mean) if mean is None else Estimate(mean, low, high).text(metric.form)
            rows.append((metric.label, text))
            rows += [
                (f"  {one}", metric.text(values[metric.name])) for one, values in self.references.items()
            ]
        return rows


def evaluate(learner: EpisodeLearner, task: str, tasks: Tasks, *, episodes: int, seed: int) -> EpisodeScores:
    """Evaluate a learner on held-out episodes; the same seed gives the same numbers.

    Args:
        learner: makes the predictions; its training state is not changed.
        task: name of the task.
        tasks: the tasks for training and evaluation.
        episodes: number of episodes.
        seed: seed of the episodes.
    """
    found = learner.evaluate(episodes, tasks.test, seed=seed).metrics
    metrics = {
        name: Estimated(*(x if math.isfinite(x) else None for x in estimate))
        for name, estimate in found.items()
    }
    return EpisodeScores(task, episodes, metrics, evaluate_references(tasks, episodes, seed))


def evaluate_checkpoint(
    run: Run,
    checkpoint: Path,
    episodes: int,
    seed: int,
    device: str,
    options: PlainEvaluation | ImagesEvaluation | OmniglotEvaluation,
) -> Evaluated:
    """Evaluate a checkpoint on held-out episodes; see ``TaskCode`` of ``experiments/training.py``."""
    changed = changed_settings(options)
    tasks = make_tasks(run, changed)
    learner = load_learner(checkpoint, run, device, tasks.train)
    scores = evaluate(learner, run.task, tasks, episodes=episodes, seed=seed)
    length = f"{learner.num_timesteps:,} episodes" + in_words(changed)
    return Evaluated(scores, length, {**changed, "data": data_sizes(tasks)})


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
