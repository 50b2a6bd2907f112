"""One maze at one step: as text, and as a picture drawn with Pillow at three times the size, then reduced."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from plasticrl.envs.maze.config import MazeLayout, MazeState

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


Color = tuple[int, int, int]
_OVERSAMPLING = 3
_FLOOR: Color = (247, 244, 237)
_WALL: Color = (52, 61, 76)
_PILLAR_TOP: Color = (72, 83, 101)
_SEEN: Color = (226, 234, 246)
_TRAIL: Color = (63, 124, 214)
_AGENT: Color = (34, 92, 189)
_REWARD: Color = (240, 168, 32)
_WHITE: Color = (255, 255, 255)


def draw_picture(scene: MazeScene, size: int) -> NDArray[np.uint8]:
    """Draw the maze with its outer wall, the agent, its field of view, its trail and the reward.

    Args:
        scene: the scene to draw.
        size: side of the picture in pixels.

    Returns:
        (size, size, 3) uint8, RGB.
    """
    image = Image.new("RGB", (size * _OVERSAMPLING,) * 2, _WALL)
    _Painter(scene, image).paint()
    small = image.reduce(_OVERSAMPLING)
    # Text is drawn last, at the final size, so that the font's own antialiasing keeps it sharp.
    _write(scene, small)
    return np.array(small)


class _Painter:
    """Painter of one scene; lengths are in squares and scaled by ``unit``."""

    def __init__(self, scene: MazeScene, image: Image.Image) -> None:
        self.scene = scene
        self.draw = ImageDraw.Draw(image)
        self.unit = image.width / len(scene.walls)

    def paint(self) -> None:
        scene, inside = self.scene, len(self.scene.walls) - 1
        self.draw.rectangle((self.unit, self.unit, inside * self.unit, inside * self.unit), fill=_FLOOR)
        row, column = scene.agent
        for near in np.ndindex(3, 3):
            self.tile((row + near[0] - 1, column + near[1] - 1), _SEEN, margin=0.0)
        for wall in np.argwhere(scene.walls[1:-1, 1:-1]) + 1:
            self.tile((int(wall[0]), int(wall[1])), _PILLAR_TOP, margin=0.04)
        self.outer_wall()
        self.star(scene.goal)
        self.trail()
        self.disc(scene.agent, 0.34, _WHITE)
        self.disc(scene.agent, 0.28, _AGENT)

    def tile(self, square: Square, color: Color, margin: float) -> None:
        top, left = square[0] + margin, square[1] + margin
        side = 1 - 2 * margin
        box = (left * self.unit, top * self.unit, (left + side) * self.unit, (top + side) * self.unit)
        self.draw.rounded_rectangle(box, radius=2 * margin * self.unit, fill=color)

    def outer_wall(self) -> None:
        side = len(self.scene.walls) * self.unit
        self.draw.rectangle((0, 0, side, side), outline=_WALL, width=round(self.unit))

    def disc(self, square: Square, radius: float, color: Color) -> None:
        x, y = self.centre(square)
        reach = radius * self.unit
        self.draw.ellipse((x - reach, y - reach, x + reach, y + reach), fill=color)

    def star(self, square: Square) -> None:
        x, y = self.centre(square)
        self.disc(square, 0.44, _blend(_REWARD, _FLOOR, 0.25))
        turn = np.arange(10) * np.pi / 5 - np.pi / 2
        reach = np.where(np.arange(10) % 2 == 0, 0.38, 0.17) * self.unit
        corners = np.stack([x + reach * np.cos(turn), y + reach * np.sin(turn)], axis=1)
        self.draw.polygon([(float(a), float(b)) for a, b in corners], fill=_REWARD)

    def trail(self) -> None:
        """Draw lines between neighbouring squares, older ones fainter; a teleport leaves a gap."""
        trail = self.scene.trail
        for age, (one, other) in enumerate(pairwise(trail), start=1):
            if abs(one[0] - other[0]) + abs(one[1] - other[1]) == 1:
                color = _blend(_TRAIL, _FLOOR, 0.15 + 0.7 * age / len(trail))
                self.draw.line(
                    (self.centre(one), self.centre(other)), fill=color, width=round(0.16 * self.unit)
                )
                self.disc(one, 0.08, color)
                self.disc(other, 0.08, color)

    def centre(self, square: Square) -> tuple[float, float]:
        return (square[1] + 0.5) * self.unit, (square[0] + 0.5) * self.unit


def _write(scene: MazeScene, image: Image.Image) -> None:
    """Write the step and the number of rewards inside the upper outer wall."""
    unit = image.width / len(scene.walls)
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default(size=max(8.0, 0.55 * unit))
    middle = unit / 2
    draw.text((middle, middle), f"step {scene.step}/{scene.episode_length}", _WHITE, font, anchor="lm")
    draw.text((image.width - middle, middle), f"rewards {scene.finds}", _REWARD, font, anchor="rm")


def _blend(front: Color, back: Color, share: float) -> Color:
    red, green, blue = (round(share * a + (1 - share) * b) for a, b in zip(front, back, strict=True))
    return red, green, blue
