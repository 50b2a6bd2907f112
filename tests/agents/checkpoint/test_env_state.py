"""The state of vectorized wrappers: all of it where the environments can save theirs, else the moments."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from stable_baselines3.common.env_util import make_vec_env as sb3_make_vec_env
from stable_baselines3.common.envs import IdentityEnvBox
from stable_baselines3.common.vec_env import VecEnv, VecFrameStack, VecNormalize

from plasticrl.agents.checkpoint.env_state import EnvStateError, env_state, restore_env_state, restore_means
from plasticrl.agents.checkpoint.tree import decode, encode
from plasticrl.envs import make_vec_env

N_ENVS = 3


class Counting(gym.Env[Any, Any]):
    """An environment that counts, whose observations are a Dict of two dtypes."""

    observation_space = gym.spaces.Dict(
        whole=gym.spaces.Box(0, 255, (2,), np.uint8), real=gym.spaces.Box(-1, 1, (1,), np.float32)
    )
    action_space = gym.spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.count = 0
        return self._seen(), {}

    def step(self, action: int) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.count += 1 + int(action)
        return self._seen(), float(action), self.count > 8, False, {}

    def _seen(self) -> dict[str, Any]:
        return {"whole": np.uint8([self.count, 7]), "real": np.float32([self.count / 16])}

    def state_dict(self) -> dict[str, Any]:
        return {"count": self.count}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.count = state["count"]


def mazes() -> VecEnv:
    return make_vec_env("PlasticMaze-v0", N_ENVS, seed=5, size=5, episode_length=7)


def foreign() -> VecEnv:
    return sb3_make_vec_env(IdentityEnvBox, N_ENVS, seed=5)


def steps(env: VecEnv, count: int) -> list[Any]:
    """What an environment returns for actions that are always the same."""
    return [env.step(np.full((N_ENVS, *env.action_space.shape), t % 2)) for t in range(count)]  # type: ignore[misc]


def stored(env: VecEnv) -> Any:
    """The state as it comes back from a file."""
    tensors: dict[str, Any] = {}
    return decode(encode(env_state(env), tensors, "env"), tensors)


STATEFUL = {
    "stacked": lambda: VecFrameStack(mazes(), 3),
    "stacked dict": lambda: VecFrameStack(sb3_make_vec_env(Counting, N_ENVS), 2),
    "normalized": lambda: VecNormalize(mazes()),
    "both": lambda: VecFrameStack(VecNormalize(mazes()), 2),
    "the other way round": lambda: VecNormalize(VecFrameStack(mazes(), 2)),
}


@pytest.mark.parametrize("make", STATEFUL.values(), ids=STATEFUL)
def test_what_follows_a_restored_state_is_the_same(make: Any) -> None:
    env = make()
    env.reset()
    steps(env, 10)  # ends within the second episode
    saved = stored(env)
    expected = steps(env, 10)
    other = make()
    restore_env_state(other, saved)
    for ours, theirs in zip(steps(other, 10), expected, strict=True):
        for one, two in zip(ours[:3], theirs[:3], strict=True):
            np.testing.assert_equal(one, two)


@pytest.mark.parametrize("stack", [1, 2])
def test_moments_outlive_environments_that_cannot_save_their_state(stack: int) -> None:
    def make() -> Any:
        env = VecNormalize(foreign())
        return VecFrameStack(env, stack) if stack > 1 else env

    env, other, third = make(), make(), make()
    env.reset()
    steps(env, 20)
    saved = stored(env)
    with pytest.raises(EnvStateError, match="IdentityEnvBox cannot save its state"):
        restore_env_state(other, saved)
    restore_means(third, saved)
    for found in (other, third):
        ours, theirs = (one.venv if stack > 1 else one for one in (found, env))
        for name in ("obs_rms", "ret_rms"):
            assert vars(getattr(ours, name)).keys() == vars(getattr(theirs, name)).keys()
            np.testing.assert_equal(vars(getattr(ours, name)), vars(getattr(theirs, name)))


def test_moments_of_other_observations_do_not_fit() -> None:
    env = VecNormalize(mazes())
    env.reset()
    with pytest.raises(EnvStateError, match="the saved array has shape"):
        restore_means(VecNormalize(foreign()), env_state(env))


@pytest.mark.parametrize("saved", [None, {"kind": "DummyVecEnv", "envs": []}], ids=["none", "without"])
def test_a_state_without_moments_changes_none(saved: Any) -> None:
    env = VecNormalize(foreign())
    restore_means(env, saved)
    assert env.obs_rms.count == pytest.approx(0, abs=1e-3)
    restore_means(foreign(), saved)
