"""Training on a supervised task: the learner and its callbacks."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from pathlib import Path

from stable_baselines3.common.callbacks import BaseCallback

from plasticrl.agents.common.finite_checks import NonFiniteError
from plasticrl.agents.supervised.pictures import EpisodePictures
from plasticrl.scripts.runs.callbacks import LogHyperparameters, ReportProgress, SaveCheckpoints
from plasticrl.scripts.runs.checkpoints import CheckpointFolder
from plasticrl.scripts.runs.run import Run
from plasticrl.scripts.runs.setup import keep_freed_memory
from plasticrl.scripts.runs.terminal import Report
from plasticrl.scripts.tasks.supervised.scores import EpisodeScores, evaluate
from plasticrl.scripts.tasks.supervised.setup import (
    check_run,
    data_sizes,
    load_learner,
    log_interval,
    make_learner,
    make_tasks,
    remark_on_data,
)
from plasticrl.scripts.tasks.task import EVALUATION_SEEDS, Trainer

_RECENT = 100  # episodes averaged for the displayed score


class EpisodeTrainer(Trainer):
    """Training of a network on a supervised task.

    Args:
        run: the run to train.
        device: device of the network.

    Raises:
        UserError: a setting is invalid, or data are missing.
    """

    def __init__(self, run: Run, device: str) -> None:
        check_run(run)
        self.run, self.device = run, device
        self.tasks = make_tasks(run)
        self.learner = make_learner(run, self.tasks, device)

    def go_on(self, checkpoint: Path) -> None:
        """Load the learner; its generator goes on drawing episodes where it was."""
        self.learner = load_learner(checkpoint, self.run, self.device, self.tasks.train, self.tasks.test)

    def learn(self, checkpoints: CheckpointFolder, report: Callable[[Report], None]) -> None:
        """Train with all callbacks."""
        run, total = self.run, self.run.total
        every = max(1, total // run.training.checkpoints)
        name = run.main_metric.name
        self._learn(
            LogHyperparameters(run, ["train/loss", f"train/{name}", f"eval/{name}"]),
            EpisodePictures(every, seed=run.seed),
            _Checkpoints(every, total, checkpoints),
            _Progress(self, report),
        )

    def assist(self) -> None:
        """Train without callbacks."""
        self._learn()

    def _learn(self, *callbacks: BaseCallback) -> None:
        keep_freed_memory()
        self.learner.learn(
            self.run.total - self.learner.num_timesteps,
            callback=list(callbacks),
            reset_num_episodes=False,
            log_interval=log_interval(self.run),
        )

    def evaluate(self) -> EpisodeScores:
        """Evaluate on held-out episodes."""
        run = self.run
        return evaluate(
            self.learner,
            run.task,
            self.tasks,
            episodes=run.eval_episodes,
            seed=run.seed + EVALUATION_SEEDS,
        )

    def data_sizes(self) -> dict[str, int]:
        """Return the number of images or classes; empty for patterns."""
        return data_sizes(self.tasks)

    def remark(self) -> str | None:
        """Return a remark if data are missing."""
        return remark_on_data(self.run, self.tasks)

    def divergence(self, error: Exception) -> str | None:
        """Return a message if the learner stopped because of a non-finite number, else None."""
        if not isinstance(error, NonFiniteError):
            return None
        what = str(error).partition(":")[0]
        return (
            f"the training diverged after {self.learner.num_timesteps:,} episodes ({what}: not finite): "
            "try a lower --learning-rate, --eta or --max-grad-norm, or --bound-eta"
        )


class _Checkpoints(SaveCheckpoints):
    """Callback that saves checkpoints after updates."""

    def _on_step(self) -> bool:
        self.save_when_due()
        return True


class _Progress(ReportProgress):
    """Callback that reports the main metric, a few times per second at most."""

    def __init__(self, trainer: EpisodeTrainer, report: Callable[[Report], None]) -> None:
        run = trainer.run
        super().__init__(run.label, run.total, "episodes", report)
        self.trainer = trainer
        self._every = log_interval(run)  # updates covered by the learner's statistics
        self._recent = deque[float](maxlen=max(1, _RECENT // (self._every * run.descent.batch_size)))

    def score(self) -> str:
        """Format the main metric over the last episodes."""
        metric, value = self.trainer.run.main_metric, self.value()
        return "" if value is None else f"{metric.label} {metric.form(metric.sign * value):>7}"

    def value(self) -> float | None:
        """Return the main metric over the last episodes, signed such that higher is better."""
        return sum(self._recent) / len(self._recent) if self._recent else None

    def _on_step(self) -> bool:
        learner, metric = self.trainer.learner, self.trainer.run.main_metric
        if learner.n_updates % self._every == 0:
            self._recent.append(metric.sign * learner.statistics.means()[metric.name])
        if self.is_time():
            self.tell()
        return True
