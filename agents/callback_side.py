"""What SB3's callbacks and loggers ask of an episode learner."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn

from stable_baselines3.common.logger import Logger

if TYPE_CHECKING:
    from plasticrl.agents.episode_log import EpisodeLog


class CallbackSide:
    """The part of SB3's algorithms that its callbacks see, as far as a learner of episodes can have it."""

    _logger: Logger | None = None
    _custom_logger: bool = False
    _log: EpisodeLog | None = None  # while learn() runs

    @property
    def logger(self) -> Logger:
        """Where is logged; there is one once ``learn`` or :meth:`set_logger` was called."""
        if self._logger is None:
            raise RuntimeError("there is no logger yet: call learn() or set_logger() first")
        return self._logger

    def set_logger(self, logger: Logger) -> None:
        """Log there from now on, instead of where ``verbose`` and ``tensorboard_log`` say."""
        self._logger = logger
        self._custom_logger = True

    def dump_logs(self) -> None:
        """Write a log entry about the last update, beside those of ``log_interval``.

        For callbacks. Where several processes train, all of them must call it after the same update.

        Raises:
            RuntimeError: no update was made since ``learn`` began, or it has ended.
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
        """There is none; SB3's callbacks that play in an environment ask for it.

        Raises:
            TypeError: always; the text names what there is instead.
        """
        raise TypeError(
            "EpisodeLearner draws episodes from a task and has no environment, which this callback asks for. "
            "Instead of EvalCallback, call EpisodeLearner.evaluate() in a callback of your own (eval_task is "
            "what it draws from); instead of StopTrainingOnMaxEpisodes, give learn() total_episodes; instead "
            "of ProgressBarCallback, progress_bar=True"
        )

    def get_vec_normalize_env(self) -> None:
        """None, as in SB3 where nothing is normalized."""
