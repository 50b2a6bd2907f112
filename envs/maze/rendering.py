"""Render modes of the maze: pictures, text and a window."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from gymnasium.error import DependencyNotInstalled
from numpy.typing import NDArray

from plasticrl.envs.common.lockstep import FPS
from plasticrl.envs.maze.config import MazeConfig, MazeState, layout_of


class MazeWindow:
    """A square window of fixed size. It uses pygame, which is an optional dependency.

    Args:
        size: side in pixels.
        fps: maximum frame rate; ``show`` waits to keep to it.

    Raises:
        gymnasium.error.DependencyNotInstalled: pygame is missing.
    """

    def __init__(self, size: int, fps: int) -> None:
        try:
            import pygame
        except ImportError as error:
            raise DependencyNotInstalled(
                'render_mode="human" needs pygame: pip install "plasticrl[render]"'
            ) from error
        self._pygame = pygame
        self._fps = fps
        pygame.display.init()
        pygame.display.set_caption("PlasticMaze")
        self._screen = pygame.display.set_mode((size, size))
        self._clock = pygame.time.Clock()

    def show(self, picture: NDArray[np.uint8]) -> None:
        """Show a picture (size, size, 3)."""
        surface = self._pygame.surfarray.make_surface(picture.swapaxes(0, 1))  # pygame expects x first
        self._screen.blit(surface, (0, 0))
        self._pygame.event.pump()
        self._pygame.display.flip()
        self._clock.tick(self._fps)

    def close(self) -> None:
        """Close the window."""
        self._pygame.display.quit()


@dataclass(eq=False)
class MazeView:
    """Renderer of mazes of one configuration; imports Pillow and pygame on first use.

    Args:
        config: the maze.
        size: side of a picture in pixels.
    """

    config: MazeConfig
    size: int
    _window: MazeWindow | None = field(default=None, init=False)

    def render(self, mode: str, history: Sequence[MazeState], row: int = 0) -> Any:
        """Show one maze of a batch.

        Args:
            mode: "rgb_array", "ansi" or "human".
            history: the latest states of the episode, the current one last.
            row: index of the maze in the batch.
        """
        from plasticrl.envs.maze import picture as draw  # loads Pillow

        layout = layout_of(self.config, int(history[-1].layout[row]))
        scene = draw.maze_scene(layout, self.config.episode_length, history, row)
        if mode == "ansi":
            return draw.draw_text(scene)
        picture = draw.draw_picture(scene, self.size)
        if mode == "rgb_array":
            return picture
        if self._window is None:
            self._window = MazeWindow(self.size, FPS)
        self._window.show(picture)
        return None

    def close(self) -> None:
        """Close the window if it is open."""
        if self._window is not None:
            self._window.close()
            self._window = None
