"""The command ``sweep`` and its options on each task; what it does is in the module named after it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from plasticrl.scripts.command_options import SweepOptions
from plasticrl.scripts.episode_settings import CompletionCore, OneShotCore
from plasticrl.scripts.settings import CoreChoice
from plasticrl.scripts.task_options import ImagesOptions, MazeOptions, OmniglotOptions, PatternsOptions


@dataclass(frozen=True)
class SweepMaze(MazeOptions, SweepOptions):
    """Train many runs on the maze, on one machine or a Ray cluster, and compare the cores.

    Does what compare does, with the same folders, table and picture. Runs whose process or machine dies are
    started again and go on from their last checkpoint; a run that fails is told at the end and stops no
    other. When the sweep itself was stopped, the same command goes on with it. On several machines ROOT
    must be a folder that all of them share. Without the extra (pip install 'plasticrl[sweep]') it trains one
    run after another, as with --local.
    """

    cores: tuple[CoreChoice, ...] = ("plastic", "homogeneous", "rnn")
    """Networks to compare; see train."""


@dataclass(frozen=True)
class SweepPatterns(PatternsOptions, SweepOptions):
    """Train many runs on patterns, on one machine or a Ray cluster; see sweep maze."""

    cores: tuple[CompletionCore, ...] = ("plastic", "homogeneous", "rnn")
    """Networks to compare; see train."""


@dataclass(frozen=True)
class SweepImages(ImagesOptions, SweepOptions):
    """Train many runs on images, on one machine or a Ray cluster; see sweep maze."""

    cores: tuple[CompletionCore, ...] = ("plastic", "homogeneous", "rnn")
    """Networks to compare; see train."""


@dataclass(frozen=True)
class SweepOmniglot(OmniglotOptions, SweepOptions):
    """Train many runs on Omniglot, on one machine or a Ray cluster; see sweep maze."""

    cores: tuple[OneShotCore, ...] = ("plastic", "homogeneous", "rnn")
    """Networks to compare; see train."""


Sweep: TypeAlias = SweepMaze | SweepPatterns | SweepImages | SweepOmniglot
