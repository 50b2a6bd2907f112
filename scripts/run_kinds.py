"""Which kind of run a ``config.json`` describes."""

from typing import Any

from plasticrl.scripts.episode_run import EpisodeRun
from plasticrl.scripts.maze_run import MazeRun
from plasticrl.scripts.run import Run


def run_from_dict(data: dict[str, Any]) -> Run:
    """The inverse of every run's ``as_dict``.

    Raises:
        KeyError, TypeError: ``data`` is not from there.
    """
    return (MazeRun if data["task"] == "maze" else EpisodeRun).from_dict(data)
