"""What a maze can be asked to be: the checked settings of ``PlasticMaze-v0``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict

import numpy as np


class MazeOptions(TypedDict, total=False):
    """The keyword arguments of the maze environments: the fields of ``MazeConfig``."""

    size: int
    episode_length: int
    reward: float
    wall_penalty: float
    observe_action: bool
    observe_time: bool
    reward_on_border: bool
    recenter: bool
    relocate_every: int | None
    layout_seed: int | None


@dataclass(frozen=True)
class MazeConfig:
    """Settings of the maze; the defaults are those of Miconi et al. (2018), section 4.4.

    Attributes:
        size: side of the maze inside its outer wall, in squares; odd, at least 3.
        episode_length: steps of one episode, at least 1.
        reward: what finding the reward pays; finite.
        wall_penalty: what walking into a wall costs; finite, not negative.
        observe_action: whether the observation holds the previous action as a one-hot vector of 4.
        observe_time: whether the observation ends with step / episode_length.
        reward_on_border: whether the reward lies only on the outermost ring of squares instead of on
            any free square. It never lies on the start square.
        recenter: whether a find sends the agent back to the start instead of to a random free square.
        relocate_every: steps after which the reward moves to another square where it may lie, again and
            again; None, the paper's: it stays where it is for the whole episode. It may come to lie under
            the agent, which then finds it like any other, with a step that ends there, be it against a wall.
        layout_seed: which of the mazes with irregular pillars, see ``maze_layout``; None, the paper's: the
            pillars stand in rows.

    Raises:
        ValueError: a setting is outside what is allowed; the text names it.
        TypeError: a setting is of the wrong type; the text names it.
    """

    size: int = 9
    episode_length: int = 250
    reward: float = 10.0
    wall_penalty: float = 0.1
    observe_action: bool = True
    observe_time: bool = False
    reward_on_border: bool = False
    recenter: bool = False
    relocate_every: int | None = None
    layout_seed: int | None = None

    def __post_init__(self) -> None:
        for name in ("size", "episode_length"):
            _check_type(name, getattr(self, name), (int, np.integer), "an integer")
        for name in ("relocate_every", "layout_seed"):
            if getattr(self, name) is not None:
                _check_type(name, getattr(self, name), (int, np.integer), "an integer or None")
        for name in ("reward", "wall_penalty"):
            _check_type(name, getattr(self, name), (int, float, np.integer, np.floating), "a number")
        for name in ("observe_action", "observe_time", "reward_on_border", "recenter"):
            if not isinstance(getattr(self, name), (bool, np.bool_)):
                raise TypeError(f"{name} must be True or False, got {getattr(self, name)!r}")
        if self.size < 3 or self.size % 2 == 0:
            raise ValueError(
                f"size must be an odd number of squares, at least 3 (such as 9), got {self.size}"
            )
        if self.episode_length < 1:
            raise ValueError(f"episode_length must be at least 1 step, got {self.episode_length}")
        if self.relocate_every is not None and self.relocate_every < 1:
            raise ValueError(f"relocate_every must be at least 1 step, or None, got {self.relocate_every}")
        if self.layout_seed is not None and self.layout_seed < 0:
            raise ValueError(f"layout_seed must be 0 or more, or None, got {self.layout_seed}")
        # Rewards are part of the float32 observation, where larger numbers would become infinite.
        largest = float(np.finfo(np.float32).max)
        if not abs(self.reward) <= largest:
            raise ValueError(f"reward must be a finite float32 number, got {self.reward}")
        if not 0 <= self.wall_penalty <= largest:
            raise ValueError(
                f"wall_penalty must be a finite float32 number, 0 or more, got {self.wall_penalty}"
            )


def _check_type(name: str, value: object, allowed: tuple[type, ...], words: str) -> None:
    if isinstance(value, bool) or not isinstance(value, allowed):
        raise TypeError(f"{name} must be {words}, got {value!r} of type {type(value).__name__}")
