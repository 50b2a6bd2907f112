"""Pictures of episodes and of a network's answers, and a callback that logs them to TensorBoard."""

from __future__ import annotations

from math import ceil, isqrt
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from stable_baselines3.common.callbacks import BaseCallback

from plasticrl.agents.common import tags
from plasticrl.agents.common.tensorboard import log_matrices, tensorboard_writer
from plasticrl.agents.supervised.network import to_tensors
from plasticrl.agents.supervised.update import Learner, predicted
from plasticrl.arguments import check_whole
from plasticrl.envs.supervised.task import Episode

RGB = NDArray[np.uint8]

_SIDE = 96  # minimum length of a cell's longer side, in pixels
_GAP = 4
_TEXT = 14  # height of a line of text
_PAPER, _INK, _RIGHT, _WRONG = 255, (0, 0, 0), (0, 120, 0), (190, 0, 0)


def reconstructions(
    target: NDArray[np.float32], shown: NDArray[np.float32], output: NDArray[np.float32]
) -> RGB:
    """Draw one row per episode: the target, the degraded query and the output; -1 is black, 1 is white.

    A vector becomes a rectangle, as close to a square as the factors of its length allow.

    Args:
        target: ``(B, D)``.
        shown: ``(B, D)``, the query; its hidden elements are 0, drawn grey.
        output: ``(B, D)``.
    """
    rows = [
        np.hstack([_framed(_cell(vector)) for vector in vectors])
        for vectors in zip(target, shown, output, strict=True)
    ]
    return np.vstack(rows)


def one_shot_episodes(episode: Episode, answers: NDArray[np.int64]) -> RGB:
    """Draw one row per episode: each image above its label, and the query above the predicted class.

    A correct prediction is green. A wrong one is red, followed by the correct class in brackets.

    Args:
        episode: inputs ``(T, B, height, width)`` of any range; the last step is the query, and others
            without a label are left out.
        answers: predicted classes ``(B,)``.
    """
    assert episode.labels is not None
    rows = []
    for b, (answer, right) in enumerate(zip(answers, episode.answers(), strict=True)):
        cells = [
            _captioned(image, str(label), _INK)
            for image, label in zip(episode.inputs[:-1, b], episode.labels[:-1, b], strict=True)
            if label >= 0
        ]
        text, color = (f"{answer}", _RIGHT) if answer == right else (f"{answer} ({right})", _WRONG)
        rows.append(np.hstack([*cells, _captioned(episode.inputs[-1, b], f"? {text}", color)]))
    return np.vstack(rows)


def _cell(vector: NDArray[np.float32]) -> RGB:
    height = next(h for h in range(isqrt(len(vector)), 0, -1) if len(vector) % h == 0)
    gray = ((np.clip(np.nan_to_num(vector), -1, 1) + 1) * 127.5).round().astype(np.uint8)
    return _enlarged(gray.reshape(height, -1))


def _captioned(image: NDArray[np.float32], text: str, color: tuple[int, int, int]) -> RGB:
    low, high = float(image.min()), float(image.max())
    gray = ((image - low) / max(high - low, 1e-9) * 255).round().astype(np.uint8)
    picture = _enlarged(gray)
    caption = Image.new("RGB", (picture.shape[1], _TEXT), (_PAPER,) * 3)
    ImageDraw.Draw(caption).text((2, 0), text, fill=color)
    return _framed(np.vstack([picture, np.asarray(caption)]))


def _enlarged(gray: RGB) -> RGB:
    side = ceil(_SIDE / max(gray.shape))
    return np.repeat(gray.repeat(side, axis=0).repeat(side, axis=1)[..., None], 3, axis=2)


def _framed(picture: RGB) -> RGB:
    return np.pad(picture, ((_GAP, _GAP), (_GAP, _GAP), (0, 0)), constant_values=_PAPER)


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
        self.every = check_whole("every", every, least=1)
        self.n_episodes = check_whole("n_episodes", n_episodes, least=1)
        self.seed = check_whole("seed", seed, least=0)
        self._next = self.every

    @property
    def _learner(self) -> Learner:
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
        writer.add_image(tags.PICTURES + name, picture, self.num_timesteps, dataformats="HWC")
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


def look(learner: Learner, n_episodes: int, seed: int) -> Seen:
    """Draw episodes of the learner's ``eval_task``, else its ``task``, and run its network on them."""
    task = learner.eval_task or learner.task
    episode = task.sample(n_episodes, np.random.default_rng([_STREAM, seed])).expanded()
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
