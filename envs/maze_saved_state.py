"""Saving mazes as plain values and arrays, and restoring them from untrusted data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from plasticrl.envs.maze_config import MazeConfig
from plasticrl.envs.maze_dynamics import MazeDynamics, MazeState
from plasticrl.envs.saved_state import entry, generator_states, restored_generators, whole_numbers


def maze_state_dict(
    config: MazeConfig, state: MazeState, rngs: Sequence[np.random.Generator]
) -> dict[str, Any]:
    """Return the full state of B mazes."""
    return {
        "config": asdict(config),
        "generators": generator_states(rngs),
        "mazes": {name: array.copy() for name, array in state._asdict().items()},
    }


def restored_mazes(
    dynamics: MazeDynamics, saved: Any, count: int, *, over: bool
) -> tuple[MazeState, list[np.random.Generator]]:
    """Restore and check the result of :func:`maze_state_dict`; compiled code indexes by it without checks.

    Args:
        dynamics: the maze.
        saved: the saved state.
        count: B.
        over: accept episodes that have ended.

    Raises:
        ValueError: ``saved`` is not the state of B mazes with these settings.
    """
    config = asdict(dynamics.config)
    if entry(saved, "config") != config:
        raise ValueError(f"the saved mazes have the settings {saved['config']}, these have {config}")
    length = config["episode_length"]
    mazes, shape = entry(saved, "mazes"), (count,)

    def field(name: str, least: int, most: Any) -> Any:
        return whole_numbers(name, entry(mazes, name), shape, least, most)

    squares = dynamics.layout.n_squares - 1
    step = field("step", 0, length if over else length - 1)
    state = MazeState(
        square=field("square", 0, squares),
        goal=field("goal", 0, squares),
        step=step,
        wall_hits=field("wall_hits", 0, step),
        finds=field("finds", 0, step),
        first_find=field("first_find", -1, step),
        last_find=field("last_find", -1, step),
    )
    if not np.isin(state.goal, dynamics.goals).all():
        raise ValueError(f"goal must be squares where the reward may lie, got {state.goal.tolist()}")
    if (step != step[0]).any():
        raise ValueError(f"step must be the same for all mazes, got {step.tolist()}")
    return state, restored_generators(entry(saved, "generators"), count)
