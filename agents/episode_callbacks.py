"""SB3 callbacks for a learner that counts episodes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stable_baselines3.common.callbacks import (
    BaseCallback,
    CallbackList,
    ConvertCallback,
    ProgressBarCallback,
)
from stable_baselines3.common.type_aliases import MaybeCallback

if TYPE_CHECKING:
    from plasticrl.agents.episode_learner import EpisodeLearner


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
