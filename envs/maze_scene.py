"""The visible state of a maze as plain numbers, for the picture and the text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from plasticrl.envs.maze_dynamics import MazeState
from plasticrl.envs.maze_layout import MazeLayout

Square = tuple[int, int]  # row and column, the outer wall included


@dataclass(frozen=True)
class MazeScene:
    """One maze at one step.

    Attributes:
        walls: (side, side) bool, the outer wall included.
        agent: the agent's square.
        goal: the reward's square.
        trail: the agent's latest squares, oldest first, the current one last.
        step: steps taken, of ``episode_length``.
        finds: rewards found.
    """

    walls: NDArray[np.bool_]
    agent: Square
    goal: Square
    trail: tuple[Square, ...]
    step: int
    episode_length: int
    finds: int


def maze_scene(
    layout: MazeLayout, episode_length: int, history: Sequence[MazeState], row: int = 0
) -> MazeScene:
    """Return the scene of one maze of a batch.

    Args:
        layout: the walls of the maze.
        episode_length: steps per episode.
        history: the latest states of the episode, the current one last.
        row: index of the maze in the batch.
    """

    def at(number: int) -> Square:
        return int(layout.squares[number, 0]), int(layout.squares[number, 1])

    trail: list[Square] = []
    before = history[0]
    for state in history:
        if state.finds[row] > before.finds[row]:  # the agent reached the goal and was teleported
            trail.append(at(before.goal[row]))
        trail.append(at(state.square[row]))
        before = state
    now = history[-1]
    return MazeScene(
        walls=layout.walls,
        agent=at(now.square[row]),
        goal=at(now.goal[row]),
        trail=tuple(trail),
        step=int(now.step[row]),
        episode_length=episode_length,
        finds=int(now.finds[row]),
    )


def draw_text(scene: MazeScene) -> str:
    """Draw the maze as text: ``#`` wall, ``.`` free, ``R`` reward, ``A`` agent; numbers on the first line."""
    letters = np.where(scene.walls, "#", ".")
    letters[scene.goal] = "R"
    letters[scene.agent] = "A"
    head = f"step {scene.step}/{scene.episode_length}  rewards {scene.finds}"
    return "\n".join([head, *(" ".join(line) for line in letters)])
