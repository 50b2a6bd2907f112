"""Selection of the run class for a ``config.json``."""

from typing import Any

from plasticrl.scripts.runs.run import Run
from plasticrl.scripts.tasks.maze.run import RECURRENT_PPO, MazeRun, PPORun
from plasticrl.scripts.tasks.supervised.run import EpisodeRun


def run_from_dict(data: dict[str, Any]) -> Run:
    """Restore a run of any kind from its ``as_dict``.

    Raises:
        KeyError, TypeError: ``data`` is not the dict of a run.
    """
    if data["task"] != "maze":
        return EpisodeRun.from_dict(data)
    return (PPORun if data["core"] == RECURRENT_PPO else MazeRun).from_dict(data)
