"""A window that shows pictures. It uses pygame, which is an optional dependency."""

from __future__ import annotations

import numpy as np
from gymnasium.error import DependencyNotInstalled
from numpy.typing import NDArray


class MazeWindow:
    """A square window of fixed size.

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
