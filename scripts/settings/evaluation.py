"""Typed options of an evaluation, one class for each task; None keeps the setting of the training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

from plasticrl.scripts.settings.maze import LesionChoice, MazeId
from plasticrl.scripts.settings.supervised import DatasetChoice, OcclusionChoice


@dataclass(frozen=True)
class MazeEvaluation:
    """Options of an evaluation on the maze."""

    deterministic: bool = False
    """Take the most probable action instead of drawing one, as in training."""
    env: MazeId | None = None
    """Another environment to play in."""
    size: int | None = None
    """Another side of the maze, in squares; odd."""
    episode_length: int | None = None
    """Another number of steps per episode."""
    relocate_every: int | Literal["off"] | None = None
    """Steps after which the reward moves to another square; off: it stays for the whole episode."""
    layout_seed: int | Literal["off"] | None = None
    """Seed of another maze, with irregular pillars; off: pillars in rows."""
    lesion: LesionChoice | None = None
    """Change the trace from --lesion-step of each episode on: frozen (it no longer changes), cleared (it is \
set to zero once), silenced (it stays zero) (plastic and homogeneous)."""
    lesion_step: int | None = None
    """Step of the episode at which the lesion is made; None: 0."""


@dataclass(frozen=True)
class PatternsEvaluation:
    """Options of an evaluation on patterns: none."""


@dataclass(frozen=True)
class ImagesEvaluation:
    """Options of an evaluation on images."""

    dataset: DatasetChoice | None = None
    """Held-out images of another data set."""
    occlusion: OcclusionChoice | None = None
    """Part hidden in the query."""
    share: float | None = None
    """Fraction of the image that random pixels or the square hide."""


@dataclass(frozen=True)
class OmniglotEvaluation:
    """Options of an evaluation on Omniglot."""

    n_way: int | None = None
    """Another number of classes, at most that of the training."""
    k_shot: int | None = None
    """Another number of labelled drawings per class."""


EVALUATION_OPTIONS: Mapping[str, type[Any]] = MappingProxyType(
    {
        "maze": MazeEvaluation,
        "patterns": PatternsEvaluation,
        "images": ImagesEvaluation,
        "omniglot": OmniglotEvaluation,
    }
)
