"""The rules of supervised episodes, for a batch of them."""

from __future__ import annotations

from copy import deepcopy
from functools import cached_property
from math import prod
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from plasticrl.envs.common.lockstep import Dynamics, Generators, Transition
from plasticrl.envs.common.state_dict import (
    array_of,
    entry,
    finite_array,
    generator_states,
    restored_generators,
    step_number,
    whole_numbers,
)
from plasticrl.envs.supervised.task import EpisodeTask, check_task, task_fingerprint

Verdict = dict[str, NDArray[Any]]


class EpisodeState(NamedTuple):
    """B episodes side by side, all at the same step."""

    observations: NDArray[np.float32]  # (T + 1, B, W); zeros after the last step
    target: NDArray[Any]  # (B, D) float32, or (B,) int64
    target_mask: NDArray[np.bool_]  # (T, B)
    hidden: NDArray[np.bool_] | None  # (B, D)
    step: int  # actions taken
    verdict: Verdict  # results at the last scored step, (B,) each; empty before it


class EpisodeDynamics(Dynamics[EpisodeState]):
    """The dynamics of a task as an environment: pure functions of a batch of states.

    Args:
        task: the task that the episodes are drawn from.

    Raises:
        TypeError: ``task`` is not an ``EpisodeTask``.
    """

    def __init__(self, task: EpisodeTask) -> None:
        check_task("task", task)
        self.task = task
        self.episode_length = task.steps
        self.input_size = prod(task.input_shape)
        bound, n_classes = np.float32(task.input_bound), task.n_classes
        high = np.full(self.input_size + (n_classes or 0), bound, dtype=np.float32)
        low = -high
        low[self.input_size :], high[self.input_size :] = 0, 1  # the label
        self.observation_space = gym.spaces.Box(low, high, dtype=np.float32)
        if n_classes is None:
            self.action_space = gym.spaces.Box(-1.0, 1.0, (self.input_size,), dtype=np.float32)
        else:
            self.action_space = gym.spaces.Discrete(n_classes)

    @cached_property
    def fingerprint(self) -> str:
        """Fingerprint that identifies the task; computed once, because it reads the whole dataset."""
        return task_fingerprint(self.task)

    def start(self, rngs: Generators) -> tuple[EpisodeState, NDArray[np.float32]]:
        """Draw one episode from each generator; return their state and first observations (B, W).

        Raises:
            ValueError: ``target_mask`` is false at all steps of an episode, or the target has a class for
                each step.
        """
        episodes = [self.task.sample(1, rng).expanded() for rng in rngs]
        target_mask = np.concatenate([episode.target_mask for episode in episodes], axis=1)
        if not target_mask.any(axis=0).all():
            raise ValueError(f"{type(self.task).__name__}: target_mask is false at all steps of an episode")
        if self.task.n_classes is not None and any(episode.target.ndim > 1 for episode in episodes):
            raise ValueError(
                "an environment asks for one class in an episode, and the task for one at each query: "
                "make the task with queries='one'"
            )
        width, n_classes = self.observation_space.shape[0], self.task.n_classes
        observations = np.zeros((self.task.steps + 1, len(rngs), width), dtype=np.float32)
        for row, episode in enumerate(episodes):
            observations[:-1, row, : self.input_size] = episode.inputs.reshape(self.task.steps, -1)
            if n_classes is not None:
                observations[:-1, row, self.input_size :] = episode.labels == np.arange(n_classes)
        hidden = [episode.hidden for episode in episodes if episode.hidden is not None]
        state = EpisodeState(
            observations,
            np.concatenate([episode.target for episode in episodes]),
            target_mask,
            np.concatenate(hidden) if hidden else None,
            0,
            {},
        )
        return state, observations[0].copy()

    def step(self, state: EpisodeState, actions: NDArray[Any], rngs: Generators = ()) -> Transition:
        """Step every episode; each action is the answer to the latest observation.

        Args:
            state: B unfinished episodes; not modified.
            actions: (B, D) numbers in [-1, 1], or (B,) integers below ``n_classes``.
            rngs: not used; only a new episode draws random numbers.

        Raises:
            ValueError: an action is invalid.
        """
        actions = self._checked(actions, len(state.target))
        scored, verdict = state.target_mask[state.step], state.verdict
        reward = np.zeros(len(scored))
        if scored.any():
            scores, latest = self._score(state, actions)
            reward[scored] = scores[scored]
            verdict = {name: np.where(scored, new, verdict.get(name, new)) for name, new in latest.items()}
        after = state._replace(step=state.step + 1, verdict=verdict)
        observation = state.observations[after.step].copy()
        return Transition(after, observation, reward, np.full(len(scored), after.step >= self.task.steps))

    def _score(self, state: EpisodeState, actions: NDArray[Any]) -> tuple[NDArray[np.float64], Verdict]:
        """Return the scores (B,), and the entries of ``info`` that describe them."""
        if self.task.n_classes is not None:
            correct = actions == state.target
            return correct.astype(np.float64), {"correct": correct}
        squared = np.square(actions.astype(np.float64) - state.target)
        verdict = {"error": squared.mean(axis=1)}
        if state.hidden is not None:
            verdict["hidden_error"] = squared.mean(axis=1, where=state.hidden)
        verdict["wrong_signs"] = (np.sign(actions) != np.sign(state.target)).mean(axis=1)
        return -verdict["error"], verdict

    def _checked(self, actions: NDArray[Any], batch: int) -> NDArray[Any]:
        actions = np.asarray(actions)
        shape = (batch, *(self.action_space.shape or ()))
        n_classes = self.task.n_classes
        kinds, words = ("fiu", "numbers") if n_classes is None else ("iu", "integers")
        if actions.shape != shape or actions.dtype.kind not in kinds:
            got = f"{actions.dtype} of shape {actions.shape}"
            raise ValueError(
                f"actions must be {words} of shape {shape}, one prediction per episode, got {got}"
            )
        lowest, highest = actions.min(), actions.max()
        if n_classes is None:
            if not (lowest >= -1 and highest <= 1):  # false for NaN, too
                raise ValueError(f"predictions must be in [-1, 1], got {lowest} to {highest}")
        elif lowest < 0 or highest >= n_classes:
            raise ValueError(
                f"an action must be a class 0 .. {n_classes - 1}, got {np.unique(actions).tolist()}"
            )
        return actions

    def steps_taken(self, state: EpisodeState) -> int:
        """Return the number of steps since the episodes began."""
        return state.step

    def summary(self, state: EpisodeState) -> Verdict:
        """Return the entries of ``info`` at the end of episodes: the results at the last scored step."""
        return state.verdict

    def state_dict(self, state: EpisodeState, rngs: Generators) -> dict[str, Any]:
        """Return the full state of B episodes and the fingerprint of their task; the arrays are copies."""
        return {
            "task": self.fingerprint,
            "generators": generator_states(rngs),
            "episodes": deepcopy(state._asdict()),
        }

    def restored(
        self, saved: Any, count: int, *, over: bool
    ) -> tuple[EpisodeState, list[np.random.Generator]]:
        """Return the checked content of a :meth:`state_dict` of this task."""
        if entry(saved, "task") != self.fingerprint:
            raise ValueError(f"task: the saved episodes are of {saved['task']}, not of {self.fingerprint}")
        episodes = entry(saved, "episodes")
        fields = {name: entry(episodes, name) for name in EpisodeState._fields}
        steps, classes, space = self.task.steps, self.task.n_classes, self.observation_space
        vectors = (count, self.input_size)

        shape = (steps + 1, count, *space.shape)
        observations = finite_array("observations", fields["observations"], shape, space.low, space.high)
        if observations.dtype != np.float32:
            raise ValueError(f"observations must be float32, got {observations.dtype}")
        target_mask = array_of("target_mask", fields["target_mask"], (steps, count), "b")
        if not target_mask.any(axis=0).all():
            raise ValueError("target_mask must be true at a step of every episode")
        step = step_number(fields["step"], steps - (not over))
        target: Any
        hidden = fields["hidden"]
        if classes is not None:
            target = whole_numbers("target", fields["target"], (count,), 0, classes - 1)
            if hidden is not None:
                raise ValueError("hidden must be None for a classification task")
            kinds = {"correct": "b"}
        else:
            target = finite_array("target", fields["target"], vectors)
            kinds = {"error": "f", "wrong_signs": "f"}
            if hidden is not None:
                hidden = array_of("hidden", hidden, vectors, "b")
                kinds["hidden_error"] = "f"
        verdict = _checked_verdict(fields["verdict"], kinds if target_mask[:step].any() else {}, count)
        state = EpisodeState(observations, target, target_mask, hidden, step, verdict)
        return state, restored_generators(entry(saved, "generators"), count)


def _checked_verdict(saved: Any, kinds: dict[str, str], count: int) -> Verdict:
    """Check and return the results of ``count`` episodes, with these names and kinds of dtype."""
    if not isinstance(saved, dict) or saved.keys() != kinds.keys():
        raise ValueError(f"verdict must hold {', '.join(kinds) or 'nothing'}, got {saved!r}")
    return {name: array_of(f"verdict {name}", saved[name], (count,), kind) for name, kind in kinds.items()}
