"""SB3's callbacks and loggers for a learner that counts episodes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from stable_baselines3.common.callbacks import (
    BaseCallback,
    CallbackList,
    ConvertCallback,
    ProgressBarCallback,
)
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.type_aliases import MaybeCallback
from torch.optim import Optimizer

from plasticrl.agents.common import tags
from plasticrl.agents.common.distributed import Ranks
from plasticrl.agents.common.tensorboard import plastic_metrics
from plasticrl.agents.supervised.metrics import EpisodeStatistics
from plasticrl.agents.supervised.network import EpisodeNetwork
from plasticrl.agents.supervised.update import EpisodeUpdate


class CallbackSide:
    """The interface of SB3's algorithms that callbacks use, as far as it applies to a learner of episodes."""

    network: EpisodeNetwork
    optimizer: Optimizer
    statistics: EpisodeStatistics
    ranks: Ranks
    num_timesteps: int
    n_updates: int
    _logger: Logger | None = None
    _custom_logger: bool = False
    _update: EpisodeUpdate | None = None  # while learn() runs
    _began: float = 0.0
    _first: int = 0

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
        update, episodes = self._update, self.num_timesteps - self._first
        if update is None or episodes == 0:
            raise RuntimeError("there is no update to log: call dump_logs() in a callback's on_step")
        seconds, record = time.monotonic() - self._began, self.logger.record
        record(tags.EPISODES, self.num_timesteps, exclude="tensorboard")
        record(tags.EPISODES_PER_SECOND, episodes / max(seconds, 1e-9))
        record(tags.TIME_ELAPSED, int(seconds), exclude="tensorboard")
        record(tags.N_UPDATES, self.n_updates, exclude="tensorboard")
        record(tags.LEARNING_RATE, self.optimizer.param_groups[0]["lr"])
        record(tags.GRAD_NORM, update.grad_norm.item())
        for name, value in self.statistics.means().items():
            record(tags.TRAINING + name, value)
        plastic = plastic_metrics(self.network.core, update.state)
        for name, value in self.ranks.means(plastic).items():
            record(tags.PLASTIC + name, value)
        self.logger.dump(self.num_timesteps)

    @contextmanager
    def _logging(self, update: EpisodeUpdate) -> Iterator[None]:
        """Let :meth:`dump_logs` log an update in the block; time and speed are measured from its start."""
        self._update, self._began, self._first = update, time.monotonic(), self.num_timesteps
        try:
            yield
        finally:
            self._update = None

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


def ready_callback(callback: MaybeCallback, learner: CallbackSide, progress_bar: bool) -> BaseCallback:
    """Combine the callbacks given to ``learn`` (None, one, several or a function) and initialise them."""
    if isinstance(callback, list):
        callback = CallbackList(callback)
    if not isinstance(callback, BaseCallback):
        callback = ConvertCallback(callback)
    if progress_bar:
        callback = CallbackList([callback, EpisodeProgressBar()])
    callback.init_callback(learner)  # type: ignore[arg-type]
    return callback
