"""Environments whose observations leave something out, and the wrapper that adds the previous action."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.utils.env_checker import check_env

from plasticrl.envs.memory.observations import PreviousAction

POSITIONS = {
    "CartPolePositions-v0": ("CartPole-v1", [0, 2]),
    "PendulumPositions-v0": ("Pendulum-v1", [0, 1]),
}


@pytest.mark.parametrize("env_id", POSITIONS)
def test_only_positions_are_seen_and_nothing_else_differs(env_id: str) -> None:
    whole_id, seen = POSITIONS[env_id]
    env, whole = gym.make(env_id), gym.make(whole_id)
    assert (env.spec.max_episode_steps, env.action_space) == (  # type: ignore[union-attr]
        whole.spec.max_episode_steps,  # type: ignore[union-attr]
        whole.action_space,
    )
    assert isinstance(env.observation_space, spaces.Box)
    assert isinstance(whole.observation_space, spaces.Box)
    np.testing.assert_array_equal(env.observation_space.high, whole.observation_space.high[seen])
    env.action_space.seed(0)
    part, _ = env.reset(seed=3)
    full, _ = whole.reset(seed=3)
    over = False
    while not over:
        np.testing.assert_array_equal(part, full[seen])
        assert env.observation_space.contains(part)
        action = env.action_space.sample()
        part, *ours, _ = env.step(action)
        full, *theirs, _ = whole.step(action)
        assert ours == theirs
        over = any(ours[1:])


@pytest.mark.filterwarnings("ignore:.*For Box action spaces")  # of Gymnasium's own Pendulum
@pytest.mark.parametrize("env_id", POSITIONS)
def test_gymnasium_finds_no_fault(env_id: str) -> None:
    check_env(gym.make(env_id).unwrapped, skip_render_check=True)


class Told(gym.Env[Any, Any]):
    """Ends after two steps; observes how many were taken."""

    def __init__(self, observations: spaces.Space[Any], actions: spaces.Space[Any]) -> None:
        self.observation_space, self.action_space = observations, actions

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.taken = 0
        return self._seen(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.taken += 1
        return self._seen(), 1.0, self.taken == 2, False, {}

    def _seen(self) -> Any:
        one = np.float32([self.taken])
        return (self.taken, one) if isinstance(self.observation_space, spaces.Tuple) else self.taken


def test_an_observation_is_one_hot_and_so_is_the_action_before_it() -> None:
    env = PreviousAction(Told(spaces.Discrete(3), spaces.Discrete(2)))
    seen = [env.reset(seed=0)[0], env.step(1)[0], env.step(0)[0], env.reset()[0]]
    assert [one.tolist() for one in seen] == [
        [1, 0, 0, 0, 0],
        [0, 1, 0, 0, 1],
        [0, 0, 1, 1, 0],
        [1, 0, 0, 0, 0],
    ]
    assert all(env.observation_space.contains(one) for one in seen)


def test_numbers_stay_as_they_are() -> None:
    box = spaces.Box(-1, 9, (1,), np.float32)
    env = PreviousAction(Told(spaces.Tuple((spaces.Discrete(3), box)), spaces.Box(-2, 2, (2,), np.float32)))
    assert env.reset()[0].tolist() == [1, 0, 0, 0, 0, 0]
    assert env.step(np.float32([0.5, -2]))[0].tolist() == [0, 1, 0, 1, 0.5, -2]
    assert isinstance(env.observation_space, spaces.Box)
    assert env.observation_space.low.tolist() == [0, 0, 0, -1, -2, -2]


def test_what_has_no_fixed_length_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^PreviousAction needs observations and actions of a fixed"):
        PreviousAction(Told(spaces.Sequence(spaces.Discrete(2)), spaces.Discrete(2)))
