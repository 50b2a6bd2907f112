"""SB3's callbacks and loggers for a learner that counts episodes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn

from stable_baselines3.common.callbacks import (
    BaseCallback,
    CallbackList,
    ConvertCallback,
    ProgressBarCallback,
)
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.type_aliases import MaybeCallback

from plasticrl.agents.common import tags
from plasticrl.agents.common.tensorboard import plastic_metrics
from plasticrl.agents.supervised.update import EpisodeUpdate

if TYPE_CHECKING:
    from plasticrl.agents.supervised.learner import EpisodeLearner


class CallbackSide:
    """The interface of SB3's algorithms that callbacks use, as far as it applies to a learner of episodes."""

    _logger: Logger | None = None
    _custom_logger: bool = False
    _log: EpisodeLog | None = None  # while learn() runs

    @property
    def logger(self) -> Logger:
        """The logger; available once ``learn`` or :meth:`set_logger` was called."""
        if self._logger is None:
            raise RuntimeError("there is no logger yet: call learn() or set_logger() first")
        return self._logger

    def set_logger(self, logger: Logger) -> None:
        """Replace the logger that ``verbose`` and ``tensorboard_log`` configure."""
        self._logger = logger
        self._custom_logger = True

    def dump_logs(self) -> None:
        """Write a log entry about the last update, in addition to those of ``log_interval``.

        Meant for callbacks. If several processes train, all of them must call it after the same update.

        Raises:
            RuntimeError: ``learn`` is not running, or has not made an update yet.
        """
        if self._log is None or self._log.episodes == 0:
            raise RuntimeError("there is no update to log: call dump_logs() in a callback's on_step")
        self._log.write()

    @contextmanager
    def _logged_by(self, log: EpisodeLog) -> Iterator[None]:
        self._log = log
        try:
            yield
        finally:
            self._log = None

    def get_env(self) -> NoReturn:
        """Raise TypeError: there is no environment for SB3's callbacks that play in one.

        Raises:
            TypeError: always; the message names the alternatives.
        """
        raise TypeError(
            "EpisodeLearner draws episodes from a task and has no environment, which this callback needs. "
            "Instead of EvalCallback, call EpisodeLearner.evaluate() in a callback of your own (it draws "
            "from eval_task); instead of StopTrainingOnMaxEpisodes, give learn() total_episodes; instead "
            "of ProgressBarCallback, give progress_bar=True"
        )

    def get_vec_normalize_env(self) -> None:
        """Return None, as SB3 does if nothing is normalized."""


class EpisodeProgressBar(ProgressBarCallback):
    """SB3's progress bar, advanced by the batch size instead of the number of environments."""

    def _on_step(self) -> bool:
        self.pbar.update(self.model.batch_size)  # type: ignore[attr-defined]
        return True


def ready_callback(callback: MaybeCallback, learner: EpisodeLearner, progress_bar: bool) -> BaseCallback:
    """Combine the callbacks given to ``learn`` (None, one, several or a function) and initialise them."""
    if isinstance(callback, list):
        callback = CallbackList(callback)
    if not isinstance(callback, BaseCallback):
        callback = ConvertCallback(callback)
    if progress_bar:
        callback = CallbackList([callback, EpisodeProgressBar()])
    callback.init_callback(learner)  # type: ignore[arg-type]
    return callback


class EpisodeLog:
    """Writer of a learner's log entries; time and speed are measured from its creation.

    Args:
        learner: a learner with a logger.
        update: the update whose results are logged.
    """

    def __init__(self, learner: EpisodeLearner, update: EpisodeUpdate) -> None:
        self._learner, self._update = learner, update
        self._began, self._first = time.monotonic(), learner.num_timesteps

    @property
    def episodes(self) -> int:
        """Number of episodes trained on since the log was created."""
        return self._learner.num_timesteps - self._first

    def write(self) -> None:
        """Write an entry about the last update; with several processes, all of them must call it."""
        learner, seconds = self._learner, time.monotonic() - self._began
        record = learner.logger.record
        record(tags.EPISODES, learner.num_timesteps, exclude="tensorboard")
        record(tags.EPISODES_PER_SECOND, self.episodes / max(seconds, 1e-9))
        record(tags.TIME_ELAPSED, int(seconds), exclude="tensorboard")
        record(tags.N_UPDATES, learner.n_updates, exclude="tensorboard")
        record(tags.LEARNING_RATE, learner.optimizer.param_groups[0]["lr"])
        record(tags.GRAD_NORM, self._update.grad_norm.item())
        for name, value in learner.statistics.means().items():
            record(tags.trained(name), value)
        plastic = plastic_metrics(learner.network.core, self._update.state)
        for name, value in learner.ranks.means(plastic).items():
            record(tags.plastic(name), value)
        learner.logger.dump(learner.num_timesteps)
