"""The validated settings of the maze, ``PlasticMaze-v0``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict

import numpy as np


class MazeOptions(TypedDict, total=False):
    """Keyword arguments of the maze environments: the fields of ``MazeConfig``."""

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
        episode_length: steps per episode, at least 1.
        reward: reward for reaching the reward square; finite.
        wall_penalty: penalty for walking into a wall; finite, not negative.
        observe_action: include the previous action in the observation, as a one-hot vector of 4.
        observe_time: append step / episode_length to the observation.
        reward_on_border: place the reward only on the outermost ring of squares instead of on any free
            square. It is never placed on the start square.
        recenter: move the agent back to the start after a find instead of to a random free square.
        relocate_every: number of steps after which the reward moves to another allowed square, repeatedly.
            None, as in the paper, keeps it in place for the whole episode. It may move to the agent's own
            square; the agent then finds it with any step that ends there, even one into a wall.
        layout_seed: seed of a maze with irregular pillars, see ``maze_layout``. None, as in the paper,
            places the pillars in rows.

    Raises:
        ValueError: a setting is outside its range; the message names it.
        TypeError: a setting has the wrong type; the message names it.
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
        # Rewards are part of the float32 observation: larger numbers would become infinite.
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
