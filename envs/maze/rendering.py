"""Pictures, text and a window of the maze."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from plasticrl.envs.maze.config import MazeConfig
from plasticrl.envs.maze.dynamics import MazeState
from plasticrl.envs.maze.layout import MazeLayout, layout_of

if TYPE_CHECKING:
    from plasticrl.envs.maze.window import MazeWindow


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


TRAIL = 16  # number of recent states that form the trail
FPS = 12  # steps shown per second


def check_render_mode(render_mode: str | None, allowed: Sequence[str]) -> str | None:
    """Return the render mode if it is valid.

    Raises:
        ValueError: it is neither None nor in ``allowed``.
    """
    if render_mode is not None and render_mode not in allowed:
        raise ValueError(f"render_mode must be None or one of {', '.join(allowed)}, got {render_mode!r}")
    return render_mode


class MazeView:
    """Renderer of mazes of one configuration; imports Pillow and pygame on first use.

    Args:
        config: the maze.
        render_size: side of a picture in pixels.

    Raises:
        ValueError: ``render_size`` is odd (video formats need even sides) or below 64.
    """

    def __init__(self, config: MazeConfig, render_size: int) -> None:
        if render_size < 64 or render_size % 2:
            raise ValueError(f"render_size must be an even number of pixels, at least 64, got {render_size}")
        self._config = config
        self._layout = layout_of(config)
        self._size = render_size
        self._window: MazeWindow | None = None

    def render(self, mode: str, history: Sequence[MazeState], row: int = 0) -> Any:
        """Show one maze of a batch.

        Args:
            mode: "rgb_array", "ansi" or "human".
            history: the latest states of the episode, the current one last.
            row: index of the maze in the batch.
        """
        scene = maze_scene(self._layout, self._config.episode_length, history, row)
        if mode == "ansi":
            return draw_text(scene)
        from plasticrl.envs.maze.picture import draw_picture

        picture = draw_picture(scene, self._size)
        if mode == "rgb_array":
            return picture
        if self._window is None:
            from plasticrl.envs.maze.window import MazeWindow

            self._window = MazeWindow(self._size, FPS)
        self._window.show(picture)
        return None

    def close(self) -> None:
        """Close the window if it is open."""
        if self._window is not None:
            self._window.close()
            self._window = None
