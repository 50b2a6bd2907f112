"""Log entries of an episode learner during training."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from plasticrl.agents.episode_update import EpisodeUpdate
from plasticrl.agents.plastic_metrics import plastic_metrics

if TYPE_CHECKING:
    from plasticrl.agents.episode_learner import EpisodeLearner


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
        record("time/episodes", learner.num_timesteps, exclude="tensorboard")
        record("time/episodes_per_second", self.episodes / max(seconds, 1e-9))
        record("time/time_elapsed", int(seconds), exclude="tensorboard")
        record("train/n_updates", learner.n_updates, exclude="tensorboard")
        record("train/learning_rate", learner.optimizer.param_groups[0]["lr"])
        record("train/grad_norm", self._update.grad_norm.item())
        for name, value in learner.statistics.means().items():
            record(f"train/{name}", value)
        plastic = plastic_metrics(learner.network.core, self._update.state)
        for name, value in learner.ranks.means(plastic).items():
            record(f"plastic/{name}", value)
        learner.logger.dump(learner.num_timesteps)
