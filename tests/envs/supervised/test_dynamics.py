"""Saved episodes of another task, and such as no episode can be, are refused by the name of the field."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from plasticrl.envs import (
    Episode,
    EpisodeEnv,
    EpisodeTask,
    EpisodeVectorEnv,
    ImagesTask,
    OneShotTask,
    PatternsTask,
)
from plasticrl.envs.supervised.task import task_fingerprint

SMALL: dict[str, Any] = {"n_bits": 6, "n_patterns": 2, "n_cycles": 1, "steps_on": 1, "steps_off": 1}
STEPS = PatternsTask(**SMALL).steps
DRAWINGS = np.random.default_rng(0).integers(0, 256, (4, 3, 4, 4), dtype=np.uint8)
IMAGES = np.random.default_rng(0).uniform(-1, 1, (5, 16)).astype(np.float32)


def one_shot(**options: Any) -> OneShotTask:
    return OneShotTask(DRAWINGS, **{"n_way": 2, **options})


class Loud(PatternsTask):
    """Another class with the same attributes."""


def of_split(split: str) -> OneShotTask:
    task = one_shot()
    task.split = split  # type: ignore[attr-defined]  # as OmniglotTask's
    return task


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (PatternsTask(**SMALL), Loud(**SMALL)),
        (PatternsTask(**SMALL, input_gain=2.0), PatternsTask(**SMALL, input_gain=3.0)),
        (PatternsTask(**SMALL), PatternsTask(**SMALL, degraded=0.3)),
        (PatternsTask(**SMALL), PatternsTask(**{**SMALL, "steps_on": 2, "test_steps": 8})),
        (one_shot(), one_shot(rotations=False)),
        (one_shot(), one_shot(n_way=3)),
        (one_shot(), OneShotTask(255 - DRAWINGS, n_way=2)),
        (of_split("train"), of_split("test")),
        (ImagesTask(IMAGES), ImagesTask(-IMAGES)),
        (ImagesTask(IMAGES, occlusion="pixels"), ImagesTask(IMAGES, occlusion="square")),
    ],
)
def test_the_state_of_another_task_is_refused(one: EpisodeTask, other: EpisodeTask) -> None:
    here, there = EpisodeEnv(one), EpisodeEnv(other)
    here.reset(seed=0)
    with pytest.raises(ValueError, match=r"^task: "):
        there.load_state_dict(here.state_dict())


def test_a_task_made_again_has_the_same_fingerprint() -> None:
    again = OneShotTask(np.asfortranarray(DRAWINGS), n_way=2)
    assert task_fingerprint(one_shot()) == task_fingerprint(again)
    again._cached = 1  # type: ignore[attr-defined]
    assert task_fingerprint(one_shot()) == task_fingerprint(again)
    assert task_fingerprint(ImagesTask(IMAGES)) == task_fingerprint(ImagesTask(IMAGES.copy()))


def vectors(value: float = 0, width: int = 6, dtype: Any = np.float32) -> NDArray[Any]:
    return np.full((1, width), value, dtype)


def shown(value: float = 0, dtype: Any = np.float32, steps: int = STEPS) -> NDArray[Any]:
    observations = np.zeros((steps + 1, 1, 6), dtype)
    observations[1, 0, 2] = value
    return observations


VERDICT = {name: np.zeros(1) for name in ("error", "hidden_error", "wrong_signs")}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("observations", shown(steps=2)),
        ("observations", shown(dtype=np.float64)),
        ("observations", shown(np.nan)),
        ("observations", shown(np.inf)),
        ("observations", shown(1.5)),
        ("observations", shown(-1.5)),
        ("observations", "none"),
        ("target", vectors(np.nan)),
        ("target", vectors(np.inf)),
        ("target", vectors(width=5)),
        ("target", vectors(dtype=np.int64)),
        ("target_mask", np.ones(3, np.bool_)),
        ("target_mask", np.ones((STEPS, 1))),
        ("target_mask", np.zeros((STEPS, 1), np.bool_)),
        ("hidden", vectors()),
        ("hidden", vectors(width=5, dtype=np.bool_)),
        ("step", -1),
        ("step", STEPS + 1),
        ("step", 0.5),
        ("step", True),
        ("verdict", {"nothing": np.zeros(1)}),
        ("verdict", VERDICT),  # before a step was judged
        ("verdict", []),
    ],
)
def test_vectors(field: str, value: Any) -> None:
    env = EpisodeEnv(PatternsTask(**SMALL))
    env.reset(seed=0)
    refuse(env, field, value)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("target", np.array([2])),
        ("target", np.array([-1])),
        ("target", np.array([0.5])),
        ("target", np.array([0, 0])),
        ("hidden", vectors(width=16, dtype=np.bool_)),
        ("verdict", {}),
        ("verdict", VERDICT),
        ("verdict", {"correct": np.zeros(1)}),
        ("verdict", {"correct": np.zeros(2, np.bool_)}),
    ],
)
def test_classes_after_the_end(field: str, value: Any) -> None:
    env = EpisodeEnv(one_shot())
    env.reset(seed=0)
    for _ in range(env.episode_length):
        env.step(0)
    EpisodeEnv(one_shot()).load_state_dict(env.state_dict())
    refuse(env, field, value)


class Echo(EpisodeTask):
    """Vectors shown and asked for, at both steps; it does not tell what is hidden."""

    steps = 2
    input_shape = (3,)

    def sample(self, batch_size: int, rng: np.random.Generator) -> Episode:
        target = rng.uniform(-1, 1, (batch_size, 3)).astype(np.float32)
        mask = np.ones((2, batch_size), np.bool_)
        return Episode(np.tile(target, (2, 1, 1)), None, None, target, mask, None)


def test_vectors_that_tell_nothing_of_what_is_hidden_go_on() -> None:
    env, twin = EpisodeEnv(Echo()), EpisodeEnv(Echo())
    env.reset(seed=0)
    for answer in (np.zeros(3), np.ones(3)):
        twin.load_state_dict(env.state_dict())
        told = env.step(answer)
        np.testing.assert_equal(twin.step(answer), told)
    assert told[4].keys() == {"error", "wrong_signs"}
    np.testing.assert_array_equal(twin.reset()[0], env.reset()[0])


def test_what_is_told_of_hidden_elements_needs_them() -> None:
    env = EpisodeEnv(PatternsTask(**SMALL))
    env.reset(seed=0)
    for _ in range(env.episode_length):
        env.step(np.zeros(6))
    state = env.state_dict()
    state["episodes"]["hidden"] = None
    with pytest.raises(ValueError, match=r"^verdict must hold error, wrong_signs, got"):
        env.load_state_dict(state)


def test_a_batch_is_never_past_the_end() -> None:
    env = EpisodeVectorEnv(PatternsTask(**SMALL))
    env.reset(seed=0)
    refuse(env, "step", STEPS)


def refuse(env: EpisodeEnv | EpisodeVectorEnv, field: str, value: Any) -> None:
    state = env.state_dict()
    assert field in state["episodes"]
    env.load_state_dict(state)
    state["episodes"][field] = value
    with pytest.raises(ValueError, match=f"^{field} "):
        env.load_state_dict(state)


def test_neither_side_can_write_into_the_other() -> None:
    env, twin = EpisodeEnv(PatternsTask(**SMALL)), EpisodeEnv(PatternsTask(**SMALL))
    env.reset(seed=0)
    state = env.state_dict()
    twin.load_state_dict(state)
    for array in state["episodes"].values():
        if isinstance(array, np.ndarray):
            array[...] = 0
    for one, other in zip(env.state[:4], twin.state[:4], strict=True):
        np.testing.assert_array_equal(one, other)
    assert env.state.observations.any()
