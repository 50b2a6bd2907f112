"""The options of the command ``evaluate``."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import tyro

from plasticrl.scripts.episode_settings import DatasetChoice, OcclusionChoice
from plasticrl.scripts.settings import Device, LesionChoice, MazeId

_OF_ALL_TASKS = ("run", "episodes", "seed", "device", "json")


@dataclass(frozen=True)
class Evaluate:
    """Try a trained network on episodes that it was not trained on, and print its scores. Nothing is written.

    With the seed left open, a run's newest checkpoint gives the very numbers of its result.json. Many options
    are for one task only, which is named in brackets.
    """

    run: tyro.conf.Positional[Path]
    """A run's folder (its newest checkpoint is taken), or a checkpoint file in one."""
    episodes: int | None = None
    """Episodes to try; None for as many as at the end of the training."""
    seed: int | None = None
    """Seed of the episodes, and of the actions in the maze; None for the one used at the end of the \
training."""
    deterministic: bool = False
    """Take the most probable action instead of drawing one, as in training (maze)."""
    env: MazeId | None = None
    """Another environment to play in; None for the run's own (maze)."""
    size: int | None = None
    """Another side of the maze, in squares; odd. None for the run's own (maze)."""
    episode_length: int | None = None
    """Another number of steps; None for the run's own (maze)."""
    relocate_every: int | None = None
    """Steps after which the reward moves to another square; None for the run's own (maze)."""
    layout_seed: int | None = None
    """Another maze, with irregular pillars; None for the run's own (maze)."""
    lesion: LesionChoice | None = None
    """Tamper with the trace from --lesion-step of each episode on: frozen (it changes no more), cleared (it \
is zero once), silenced (it stays zero) (maze, plastic and homogeneous)."""
    lesion_step: int | None = None
    """Step of the episode at which the lesion is made; None: 0 (maze)."""
    dataset: DatasetChoice | None = None
    """Held-out images from elsewhere; None for the run's own (images)."""
    occlusion: OcclusionChoice | None = None
    """What the query hides; None for the run's own (images)."""
    share: float | None = None
    """Share that random pixels or the square hide; None for the run's own (images)."""
    n_way: int | None = None
    """Another number of classes, no more than it was trained with; None for that (omniglot)."""
    k_shot: int | None = None
    """Another number of labelled drawings of each class; None for the run's own (omniglot)."""
    data_dir: Path | None = None
    """Where the data are; see train (images, omniglot)."""
    device: Device = "auto"
    """What computes the network."""
    json: bool = False
    """Print JSON instead of a table."""

    def given(self) -> dict[str, Any]:
        """The options that only some tasks have and that were given, by name."""
        names = (field.name for field in fields(self) if field.name not in _OF_ALL_TASKS)
        options = {name: getattr(self, name) for name in names}
        return {name: value for name, value in options.items() if value is not None and value is not False}
