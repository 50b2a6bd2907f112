"""Environments tell their state and go on from it; a state that does not fit is refused by name."""

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from plasticrl.envs import (
    CueRewardEnv,
    EpisodeEnv,
    EpisodeVectorEnv,
    OneShotTask,
    PatternsTask,
    PlasticMazeEnv,
    RecallEnv,
    VectorEnvAdapter,
    make_vec_env,
)

N = 3


def one_shot() -> OneShotTask:
    drawings = np.random.default_rng(0).integers(0, 256, (4, 3, 5, 5), dtype=np.uint8)
    return OneShotTask(drawings, n_way=2)


SINGLE: dict[str, Callable[[], gym.Env[Any, Any]]] = {
    "maze": lambda: PlasticMazeEnv(size=5, episode_length=9),
    "random maze": lambda: PlasticMazeEnv(size=5, episode_length=9, random_layout=True),
    "patterns": lambda: EpisodeEnv(PatternsTask(n_bits=6, n_patterns=2, n_cycles=1)),
    "one shot": lambda: EpisodeEnv(one_shot()),
    "recall": lambda: RecallEnv(n_cues=4, delay=2, n_recalls=3),
    "cue reward": lambda: CueRewardEnv(n_bits=3, episode_length=25),
}
BATCHED: dict[str, Callable[[], Any]] = {
    "maze": lambda: make_vec_env("PlasticMaze-v0", N, seed=1, size=5, episode_length=9),
    "random maze": lambda: make_vec_env("PlasticMazeRandom-v0", N, seed=1, size=5, episode_length=9),
    "patterns": lambda: make_vec_env("PlasticPatterns-v0", N, seed=1, n_bits=6, n_patterns=2, n_cycles=1),
    "one shot": lambda: VectorEnvAdapter(EpisodeVectorEnv(one_shot(), N)),
    "recall": lambda: make_vec_env("PlasticRecall-v0", N, seed=1, n_cues=4, delay=2, n_recalls=3),
    "cue reward": lambda: make_vec_env("CueReward-v0", N, seed=1, n_bits=3, episode_length=25),
}


@pytest.mark.parametrize("name", SINGLE)
def test_a_single_env_goes_on_elsewhere(name: str) -> None:
    here, there = SINGLE[name](), SINGLE[name]()
    here.reset(seed=3)
    here.action_space.seed(0)
    here.step(here.action_space.sample())
    state = here.state_dict()  # type: ignore[attr-defined]
    there.load_state_dict(state)  # type: ignore[attr-defined]
    for _ in range(60):
        action = here.action_space.sample()
        (a, *rest), (b, *others) = here.step(action), there.step(action)
        np.testing.assert_array_equal(a, b)
        assert rest == others
        if rest[1]:
            np.testing.assert_array_equal(here.reset()[0], there.reset()[0])


@pytest.mark.parametrize("name", BATCHED)
def test_a_batch_goes_on_elsewhere(name: str) -> None:
    here, there = BATCHED[name](), BATCHED[name]()
    here.reset()
    here.action_space.seed(0)
    actions = [np.stack([here.action_space.sample() for _ in range(N)]) for _ in range(61)]
    here.step(actions[0])
    inside = BATCHED[name]().env  # the batch as Gymnasium has it, without the adapter
    there.load_state_dict(here.state_dict())
    inside.load_state_dict(here.env.state_dict())
    for action in actions[1:]:
        (a, b, *_, infos), (c, d, *_, others), (e, f, *_) = (
            env.step(action) for env in (here, there, inside)
        )
        np.testing.assert_array_equal(a, c)
        np.testing.assert_array_equal(a, e)
        assert b.tolist() == d.tolist() == f.astype(np.float32).tolist()
        for info, other in zip(infos, others, strict=True):
            counted = [(told["episode"]["r"], told["episode"]["l"]) for told in (info, other) if told]
            assert counted[:1] == counted[1:]


@pytest.mark.parametrize("name", SINGLE)
def test_a_state_is_not_changed_by_what_comes_after(name: str) -> None:
    env, again = SINGLE[name](), SINGLE[name]()
    env.reset(seed=3)
    state = env.state_dict()  # type: ignore[attr-defined]
    before = repr(state)
    again.load_state_dict(state)  # type: ignore[attr-defined]
    again.action_space.seed(0)
    for _ in range(3):
        again.step(again.action_space.sample())
    assert repr(state) == before


def changed(state: dict[str, Any], group: str, field: str, value: Any) -> dict[str, Any]:
    return {**state, group: {**state[group], field: value}}


def maze_fields() -> list[tuple[str, Any]]:
    return [
        ("square", np.array([-1])),
        ("square", np.array([10**6])),
        ("square", np.array([0.5])),
        ("square", np.array([1, 1])),
        ("goal", np.array([10**6])),
        ("step", np.array([99])),
        ("step", np.array([-1])),
        ("wall_hits", np.array([99])),
        ("finds", np.array([-1])),
        ("first_find", np.array([-2])),
        ("last_find", np.array([99])),
    ]


@pytest.mark.parametrize(("field", "value"), maze_fields())
def test_a_maze_refuses_what_no_maze_can_be_in(field: str, value: Any) -> None:
    env: Any = SINGLE["maze"]()
    env.reset(seed=0)
    with pytest.raises(ValueError, match=field):
        env.load_state_dict(changed(env.state_dict(), "mazes", field, value))


@pytest.mark.parametrize("value", [np.array([-1]), np.array([2**31]), np.array([0.5]), np.array([1, 2])])
def test_a_maze_refuses_a_layout_that_there_is_not(value: Any) -> None:
    env: Any = SINGLE["random maze"]()
    env.reset(seed=0)
    with pytest.raises(ValueError, match="layout must be"):
        env.load_state_dict(changed(env.state_dict(), "mazes", "layout", value))


def test_a_state_from_before_layouts_were_random_is_loaded() -> None:
    """It lacks the setting; that of a maze with one layout has no layout numbers, as before."""
    here: Any = SINGLE["maze"]()
    there: Any = SINGLE["maze"]()
    here.reset(seed=0)
    state = here.state_dict()
    assert "layout" not in state["mazes"]
    del state["config"]["random_layout"]
    there.load_state_dict(state)
    np.testing.assert_array_equal(here.step(1)[0], there.step(1)[0])
    random: Any = SINGLE["random maze"]()
    with pytest.raises(ValueError, match="the saved mazes have the settings"):
        random.load_state_dict(state)


def test_a_batch_of_mazes_refuses_what_one_maze_may_be_in() -> None:
    env: Any = BATCHED["maze"]()
    env.reset()
    state, start = env.state_dict(), env.get_attr("dynamics")[0].layout.start
    for field, value in [("step", [9, 9, 9]), ("step", [1, 1, 2]), ("goal", [0, 0, start])]:
        inside = changed(state["env"], "mazes", field, np.array(value))
        with pytest.raises(ValueError, match=f"{field} must be"):
            env.load_state_dict({**state, "env": inside})
    here: Any = PlasticMazeEnv(size=5, episode_length=10)
    with pytest.raises(ValueError, match="the saved mazes have the settings"):
        here.load_state_dict(state["env"])


@pytest.mark.parametrize(
    ("name", "field", "value"),
    [
        ("recall", "cues", np.array([[0, 1, 4]])),
        ("recall", "cues", np.array([[0, -1, 2]])),
        ("recall", "cues", np.array([0, 1, 2])),
        ("recall", "step", 10),
        ("recall", "step", np.array(1)),
        ("recall", "right", np.array([1])),
        ("cue reward", "cues", np.zeros((1, 4, 3), np.int8)),
        ("cue reward", "cues", np.ones((1, 4, 3), np.float32)),
        ("cue reward", "target", np.array([4])),
        ("cue reward", "shown", np.full((1, 26), 6)),
        ("cue reward", "shown", np.zeros((1, 25), np.intp)),
        ("cue reward", "step", 26),
        ("cue reward", "step", -1),
        ("cue reward", "seen", np.zeros(1, np.intp)),
        ("cue reward", "right", np.array([1])),
    ],
)
def test_a_test_of_memory_refuses_what_it_cannot_be_in(name: str, field: str, value: Any) -> None:
    env: Any = SINGLE[name]()
    env.reset(seed=0)
    with pytest.raises(ValueError, match=f"{field} must be"):
        env.load_state_dict(changed(env.state_dict(), "episodes", field, value))


@pytest.mark.parametrize(
    ("name", "other", "words"),
    [("recall", RecallEnv, "'delay': 2"), ("cue reward", CueRewardEnv, "'n_bits': 3")],
)
def test_a_test_of_memory_refuses_other_settings(name: str, other: Any, words: str) -> None:
    env: Any = SINGLE[name]()
    env.reset(seed=0)
    with pytest.raises(ValueError, match=f"the saved episodes have the settings .*{words}"):
        other().load_state_dict(env.state_dict())


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("returns", np.zeros(N - 1)),
        ("returns", np.zeros(N, np.int64)),
        ("returns", np.array([0.0, np.nan, 0.0])),
        ("returns", np.array([0.0, np.inf, 0.0])),
        ("lengths", np.zeros(N)),
        ("lengths", np.zeros(N + 1, np.int64)),
        ("lengths", np.array([0, -1, 0])),
    ],
)
def test_the_adapter_refuses_counts_that_cannot_be(field: str, value: Any) -> None:
    env: Any = BATCHED["patterns"]()
    env.reset()
    with pytest.raises(ValueError, match=f"{field} must be"):
        env.load_state_dict({**env.state_dict(), field: value})


@pytest.mark.parametrize("name", SINGLE)
@pytest.mark.parametrize("generators", [[], [{}], [{"bit_generator": "MT19937"}], "none"])
def test_generators_of_another_kind_are_refused(name: str, generators: Any) -> None:
    env: Any = SINGLE[name]()
    env.reset(seed=0)
    with pytest.raises(ValueError, match="generators must be"):
        env.load_state_dict({**env.state_dict(), "generators": generators})


@pytest.mark.parametrize("name", SINGLE)
def test_what_is_missing_is_named(name: str) -> None:
    env: Any = SINGLE[name]()
    env.reset(seed=0)
    for field in env.state_dict():
        state = env.state_dict()
        del state[field]
        with pytest.raises(ValueError, match=f"no '{field}'"):
            env.load_state_dict(state)
