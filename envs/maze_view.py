"""Rendering of mazes: turns a render mode into a picture, text or a window."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from plasticrl.envs.maze_config import MazeConfig
from plasticrl.envs.maze_dynamics import MazeState
from plasticrl.envs.maze_layout import layout_of
from plasticrl.envs.maze_scene import draw_text, maze_scene

if TYPE_CHECKING:
    from plasticrl.envs.maze_window import MazeWindow

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
        from plasticrl.envs.maze_picture import draw_picture

        picture = draw_picture(scene, self._size)
        if mode == "rgb_array":
            return picture
        if self._window is None:
            from plasticrl.envs.maze_window import MazeWindow

            self._window = MazeWindow(self._size, FPS)
        self._window.show(picture)
        return None

    def close(self) -> None:
        """Close the window if it is open."""
        if self._window is not None:
            self._window.close()
            self._window = None
