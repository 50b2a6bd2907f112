"""Saving supervised episodes as plain values and arrays, and restoring them from untrusted data."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from typing import Any

import numpy as np

from plasticrl.envs.episode_dynamics import EpisodeDynamics, EpisodeState, Verdict
from plasticrl.envs.saved_state import (
    array_of,
    entry,
    finite_array,
    generator_states,
    restored_generators,
    whole_numbers,
)

# Results of a scored step, with the kind of their dtype.
_OF_CLASSES = {"correct": "b"}
_OF_VECTORS = {"error": "f", "wrong_signs": "f"}
_OF_HIDDEN = {"hidden_error": "f"}  # in addition, if the task sets ``hidden``


def episode_state_dict(
    dynamics: EpisodeDynamics, state: EpisodeState, rngs: Sequence[np.random.Generator]
) -> dict[str, Any]:
    """Return the full state of B episodes and the fingerprint of their task; the arrays are copies."""
    return {
        "task": dynamics.fingerprint,
        "generators": generator_states(rngs),
        "episodes": deepcopy(state._asdict()),
    }


def restored_episodes(
    dynamics: EpisodeDynamics, saved: Any, count: int, *, over: bool
) -> tuple[EpisodeState, list[np.random.Generator]]:
    """Restore and check the result of :func:`episode_state_dict`.

    Args:
        dynamics: the task as an environment.
        saved: the saved state.
        count: B.
        over: accept episodes that have ended.

    Raises:
        ValueError: ``saved`` is not the state of B episodes of this task.
    """
    if entry(saved, "task") != dynamics.fingerprint:
        raise ValueError(f"task: the saved episodes are of {saved['task']}, not of {dynamics.fingerprint}")
    episodes = entry(saved, "episodes")
    fields = {name: entry(episodes, name) for name in EpisodeState._fields}
    steps, classes, space = dynamics.task.steps, dynamics.task.n_classes, dynamics.observation_space
    vectors = (count, dynamics.input_size)

    shape = (steps + 1, count, *space.shape)
    observations = finite_array("observations", fields["observations"], shape, space.low, space.high)
    if observations.dtype != np.float32:
        raise ValueError(f"observations must be float32, got {observations.dtype}")
    target_mask = array_of("target_mask", fields["target_mask"], (steps, count), "b")
    if not target_mask.any(axis=0).all():
        raise ValueError("target_mask must be true at a step of every episode")
    step, most = fields["step"], steps if over else steps - 1
    if type(step) is not int or not 0 <= step <= most:
        raise ValueError(f"step must be an integer between 0 and {most}, got {step!r}")
    target: Any
    hidden = None
    if classes is None:
        target = finite_array("target", fields["target"], vectors)
        if fields["hidden"] is not None:
            hidden = array_of("hidden", fields["hidden"], vectors, "b")
    else:
        target = whole_numbers("target", fields["target"], (count,), 0, classes - 1)
        if fields["hidden"] is not None:
            raise ValueError("hidden must be None for a classification task")
    kinds = (
        _OF_CLASSES if classes is not None else _OF_VECTORS if hidden is None else _OF_VECTORS | _OF_HIDDEN
    )
    verdict = _verdict(fields["verdict"], kinds if target_mask[:step].any() else {}, count)
    state = EpisodeState(observations, target, target_mask, hidden, step, verdict)
    return state, restored_generators(entry(saved, "generators"), count)


def _verdict(saved: Any, kinds: dict[str, str], count: int) -> Verdict:
    """Check and return the results of ``count`` episodes, with these names and kinds of dtype."""
    if not isinstance(saved, dict) or saved.keys() != kinds.keys():
        raise ValueError(f"verdict must hold {', '.join(kinds) or 'nothing'}, got {saved!r}")
    return {name: array_of(f"verdict {name}", saved[name], (count,), kind) for name, kind in kinds.items()}
