"""The state of supervised episodes as plain values and arrays, and back; nothing is trusted that is read."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from typing import Any

import numpy as np

from plasticrl.envs.episode_dynamics import EpisodeDynamics, EpisodeState
from plasticrl.envs.saved_state import (
    array_of,
    entry,
    generator_states,
    restored_generators,
    whole_numbers,
)

_VERDICT = {"correct": "b", "error": "f", "hidden_error": "f", "wrong_signs": "f"}  # kinds of dtype


def episode_state_dict(state: EpisodeState, rngs: Sequence[np.random.Generator]) -> dict[str, Any]:
    """All that B episodes need to go on."""
    return {"generators": generator_states(rngs), "episodes": deepcopy(state._asdict())}


def restored_episodes(
    dynamics: EpisodeDynamics, saved: Any, count: int, *, over: bool
) -> tuple[EpisodeState, list[np.random.Generator]]:
    """What :func:`episode_state_dict` told, checked.

    Args:
        dynamics: the task as an environment.
        saved: what was told.
        count: B.
        over: whether the episodes may have ended.

    Raises:
        ValueError: it is not the state of B episodes of such a task.
    """
    task, episodes = dynamics.task, entry(saved, "episodes")
    steps, width = task.steps, dynamics.observation_space.shape[0]
    vectors = (count, dynamics.input_size)

    def array(name: str, shape: tuple[int, ...], kind: str) -> Any:
        return array_of(name, entry(episodes, name), shape, kind)

    target: Any
    if task.n_classes is None:
        target = array("target", vectors, "f")
    else:
        target = whole_numbers("target", entry(episodes, "target"), (count,), 0, task.n_classes - 1)
    step, most = entry(episodes, "step"), steps if over else steps - 1
    if type(step) is not int or not 0 <= step <= most:
        raise ValueError(f"step must be an integer between 0 and {most}, got {step!r}")
    verdict = entry(episodes, "verdict")
    if not isinstance(verdict, dict) or not verdict.keys() <= _VERDICT.keys():
        raise ValueError(f"verdict may hold {', '.join(_VERDICT)}, got {verdict!r}")
    observations = array("observations", (steps + 1, count, width), "f")
    space = dynamics.observation_space
    if not all(space.contains(row) for row in observations.reshape(-1, width)):
        raise ValueError(f"observations must be in {space}: the state is that of another task")
    if task.n_classes is None and not np.isfinite(target).all():
        raise ValueError("target must be finite")
    if (entry(episodes, "hidden") is None) != (task.n_classes is not None):
        raise ValueError("hidden belongs to tasks that complete vectors, and only to them")
    state = EpisodeState(
        observations=observations,
        target=target,
        target_mask=array("target_mask", (steps, count), "b"),
        hidden=None if entry(episodes, "hidden") is None else array("hidden", vectors, "b"),
        step=step,
        verdict={name: array_of(name, value, (count,), _VERDICT[name]) for name, value in verdict.items()},
    )
    return state, restored_generators(entry(saved, "generators"), count)
