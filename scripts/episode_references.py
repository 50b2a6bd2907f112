"""Reference methods without training, as baselines of the networks on the supervised tasks."""

from __future__ import annotations

import math
from functools import partial
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from plasticrl.agents.episode_evaluation import Predictor, evaluate_predictor
from plasticrl.agents.hopfield import hopfield_completion
from plasticrl.agents.nearest_neighbour import nearest_neighbour
from plasticrl.envs.episode import Episode
from plasticrl.envs.image_references import mean_image_reference, nearest_shown_reference, zero_reference
from plasticrl.envs.images import ImagesTask
from plasticrl.envs.patterns import PatternsTask
from plasticrl.scripts.episode_setup import Tasks

Metrics: TypeAlias = dict[str, float | None]
"""None means infinite: the PSNR of a picture without error."""


def evaluate_references(tasks: Tasks, episodes: int, seed: int) -> dict[str, Metrics]:
    """Return the mean of every metric for each reference, on the episodes of a network's evaluation.

    Args:
        tasks: the run's tasks.
        episodes: number of episodes.
        seed: seed of the episodes.
    """
    found = {name: _evaluate(predict, tasks, episodes, seed) for name, predict in _predictors(tasks).items()}
    return {**found, **_chance(tasks)}


def _evaluate(predict: Predictor, tasks: Tasks, episodes: int, seed: int) -> Metrics:
    metrics = evaluate_predictor(predict, tasks.test, episodes, seed=seed).metrics
    return {name: one.mean if math.isfinite(one.mean) else None for name, one in metrics.items()}


def _predictors(tasks: Tasks) -> dict[str, Predictor]:
    if isinstance(tasks.train, PatternsTask):
        return {"Hopfield network": _hopfield}
    if isinstance(tasks.known, ImagesTask):
        return {
            "nearest shown image": nearest_shown_reference,
            "mean image": partial(mean_image_reference, images=tasks.known.images),
            "zero": zero_reference,
        }
    return {"nearest neighbour": nearest_neighbour}


def _hopfield(episode: Episode) -> NDArray[np.float32]:
    """Complete with a Hopfield network; the signs undo an input gain, so that it sees bits."""
    return hopfield_completion(episode._replace(inputs=np.sign(episode.inputs)))


def _chance(tasks: Tasks) -> dict[str, Metrics]:
    """Return the expected score of guessing; there is none for images."""
    task = tasks.test
    if task.n_classes is not None:
        return {"chance": {"accuracy": 1 / task.n_classes}}
    if isinstance(task, PatternsTask):
        return {"chance": {"bit_error": task.n_hidden / task.n_bits / 2, "hidden_bit_error": 0.5}}
    return {}
