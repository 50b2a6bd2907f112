"""A callback that shows episodes, and the network's weights and trace, in TensorBoard."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from stable_baselines3.common.callbacks import BaseCallback

from plasticrl.agents.episode_drawings import RGB, one_shot_episodes, reconstructions
from plasticrl.agents.episode_tensors import to_tensors
from plasticrl.agents.episode_update import predicted
from plasticrl.agents.matrix_pictures import log_matrices, tensorboard_writer
from plasticrl.envs.argument_checks import check_count
from plasticrl.envs.episode import Episode
from plasticrl.nn.core import positive

if TYPE_CHECKING:
    from plasticrl.agents.episode_learner import EpisodeLearner

_STREAM = 0x706963  # separates these episodes from those of a training with the same seed


class EpisodePictures(BaseCallback):
    """Callback that shows a few fixed episodes and the core's w, alpha and trace in TensorBoard.

    The tags are ``episodes/reconstructions`` (target, degraded query, output) or ``episodes/one_shot``
    (every image with its label, and the prediction), ``plastic/w``, ``plastic/alpha`` and ``plastic/trace``,
    which is the trace of the first episode before its scored step. Does nothing if the learner does not log
    to TensorBoard.

    Args:
        every: training episodes between two pictures.
        n_episodes: number of episodes to show. Default 4.
        seed: seed of these episodes, which are drawn from the learner's ``eval_task`` or, without one, its
            ``task``. They differ from those of a training with the same seed.

    Raises:
        ValueError: a number is not an integer above 0 (``seed``: at least 0).
    """

    def __init__(self, every: int, n_episodes: int = 4, seed: int = 0) -> None:
        super().__init__()
        self.every = positive("every", every)
        self.n_episodes = positive("n_episodes", n_episodes)
        self.seed = check_count("seed", seed, least=0)
        self._next = every

    @property
    def _learner(self) -> EpisodeLearner:
        return self.model  # type: ignore[return-value]

    def _on_training_start(self) -> None:
        self._set_next()

    def _on_step(self) -> bool:
        if self.num_timesteps >= self._next:
            self._set_next()
            self.show()
        return True

    def _set_next(self) -> None:
        self._next = (self.num_timesteps // self.every + 1) * self.every

    def show(self) -> None:
        """Log the pictures now."""
        writer = tensorboard_writer(self.logger)
        if writer is None:
            return
        seen = look(self._learner, self.n_episodes, self.seed)
        name, picture = draw(seen.episode, seen.prediction)
        writer.add_image(f"episodes/{name}", picture, self.num_timesteps, dataformats="HWC")
        log_matrices(writer, self._learner.network.core, seen.state, self.num_timesteps)


class Seen(NamedTuple):
    """A few episodes, and the results of a network on them.

    Attributes:
        episode: the episodes.
        prediction: ``(B, D)``, or classes ``(B,)``.
        state: the core's state before the scored step.
    """

    episode: Episode
    prediction: NDArray[Any]
    state: Any


def look(learner: EpisodeLearner, n_episodes: int, seed: int) -> Seen:
    """Draw episodes of the learner's ``eval_task``, else its ``task``, and run its network on them."""
    task = learner.eval_task or learner.task
    episode = task.sample(n_episodes, np.random.default_rng([_STREAM, seed]))
    tensors = to_tensors(episode, learner.device)
    learner.network.eval()
    with torch.no_grad():
        outputs, state = learner.network(tensors)
        prediction = predicted(outputs, tensors, learner.task.n_classes)
        judged = int(episode.target_mask.argmax(0)[0])  # the first episode's first scored step
        if judged > 0:
            _, state = learner.network(tensors.until(judged))
    return Seen(episode, prediction.cpu().numpy(), state)


def draw(episode: Episode, prediction: NDArray[Any]) -> tuple[str, RGB]:
    """Draw B episodes, and return the picture after its kind, "reconstructions" or "one_shot".

    Args:
        episode: the episodes.
        prediction: ``(B, D)``, or classes ``(B,)``.
    """
    if episode.labels is not None:
        return "one_shot", one_shot_episodes(episode, prediction)
    return "reconstructions", reconstructions(episode.target, episode.inputs[-1], prediction)
