"""Settings of learners for any environment, and tuned ones for single environments.

They are plain data: no torch is needed until environments are made.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import gymnasium as gym
from typing_extensions import Self

from plasticrl import envs

if TYPE_CHECKING:
    from stable_baselines3.common.vec_env import VecEnv


@dataclass(frozen=True)
class Preset:
    """Settings of one learner, for any environment or for a single one.

    Attributes:
        n_envs: number of parallel environments.
        total_timesteps: env steps of a training.
        learning_rate: initial learning rate.
        final_learning_rate: final learning rate, approached in a straight line.
        learner: further arguments of the learner's constructor.
        policy: arguments of the policy for all cores.
        cores: settings for one core only, by its name: arguments of the learner or of the policy.
        imports: modules that register the environment or that its wrappers need.
        wrapper: wrappers of the environment as ``MODULE:CLASS``, the innermost first.
    """

    n_envs: int
    total_timesteps: int
    learning_rate: float
    final_learning_rate: float
    learner: Mapping[str, Any]
    policy: Mapping[str, Any]
    cores: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    imports: tuple[str, ...] = ()
    wrapper: tuple[str, ...] = ()

    def for_core(self, core: str) -> Self:
        """Return the settings with those for this core only merged in."""
        own = dict(self.cores.get(core, {}))
        rate = own.pop("learning_rate", self.learning_rate)
        learner = {name: own.pop(name, value) for name, value in self.learner.items()}
        return replace(self, learning_rate=rate, learner=learner, policy={**self.policy, **own}, cores={})


_PACKAGES = {"popgym": "popgym", "minigrid": "minigrid", "ale_py": "ale-py", "cv2": "opencv-python-headless"}


def packages_of(imports: Iterable[str]) -> str:
    """Return the names that pip knows the packages of these modules of presets by, with spaces between."""
    return " ".join(_PACKAGES[name] for name in imports if name in _PACKAGES)


def missing_packages(imports: Iterable[str]) -> str:
    """Return those of :func:`packages_of` that are not installed."""
    return packages_of(name for name in imports if name in _PACKAGES and find_spec(name) is None)


def check_packages(env_id: str, imports: Iterable[str]) -> None:
    """Check that the packages of an environment are installed.

    Raises:
        ValueError: one is missing; the message names the command that installs it.
    """
    if missing := missing_packages(imports):
        raise ValueError(f"{env_id} needs a package that is missing: pip install {missing}")


def make_envs(env_id: str, preset: Preset, n_envs: int | None = None, seed: int | None = None) -> VecEnv:
    """Make parallel environments as a preset wants them: with its imports and its wrappers.

    Args:
        env_id: id of the environment.
        preset: its preset.
        n_envs: their number. Default: the preset's.
        seed: environment i gets ``seed + i``. Default: at random.

    Raises:
        ValueError: a package is missing.
    """
    check_packages(env_id, preset.imports)
    for name in preset.imports:
        import_module(name)
    maker: Any = partial(_wrapped, env_id, preset.wrapper) if preset.wrapper else env_id
    return envs.make_vec_env(maker, n_envs=preset.n_envs if n_envs is None else n_envs, seed=seed)


def _wrapped(env_id: str, wrappers: Iterable[str], **options: Any) -> gym.Env[Any, Any]:
    env = gym.make(env_id, **options)
    for wrapper in wrappers:
        module, _, kind = wrapper.partition(":")
        env = getattr(import_module(module), kind)(env)
    return env


_ORTHOGONAL: Mapping[str, Any] = {"init": "orthogonal", "init_scale": 1.0}
_HEBB: Mapping[str, Any] = {"rule": "hebb", "eta": 0.1, "bound_eta": True, **_ORTHOGONAL}
_DELTA: Mapping[str, Any] = {
    "rule": "delta",
    "modulation": "sigmoid",
    "eta": 0.5,
    "bound_eta": True,
    "init": "fan_in",
    "init_scale": 1.0,
    "alpha_scale": 0.1,
}
_KEEPS: Mapping[str, Any] = {"forget_bias": 1.0}
A2C_DEFAULTS = Preset(
    n_envs=8,
    total_timesteps=100_000,
    learning_rate=2e-3,
    final_learning_rate=2e-3,
    learner={
        "gamma": 0.99,
        "gae_lambda": 0.95,
        "ent_coef": 0.01,
        "concentration_coef": 0.0,
        "vf_coef": 0.5,
        "max_grad_norm": 0.5,
        "normalize_advantage": False,
    },
    policy={"hidden_size": 64, "normalize_observations": True, "normalize_returns": True},
    cores={
        "plastic": _HEBB,
        "homogeneous": _HEBB,
        "rnn": _ORTHOGONAL,
        "lstm": _KEEPS,
        "gru": _KEEPS,
        "plastic_lstm": {**_DELTA, **_KEEPS},
        "plastic_gru": {**_DELTA, **_KEEPS},
    },
)
"""The defaults of :class:`plasticrl.agents.RecurrentA2C` and of its cores, for any environment."""

PPO_DEFAULTS = replace(
    A2C_DEFAULTS,
    learning_rate=1e-3,
    final_learning_rate=1e-3,
    learner={
        "n_epochs": 10,
        "gamma": 0.99,
        "gae_lambda": 0.95,
        "clip_range": 0.2,
        "ent_coef": 0.0,
        "vf_coef": 0.5,
        "max_grad_norm": 0.5,
        "normalize_advantage": True,
    },
)
"""The defaults of :class:`plasticrl.agents.RecurrentPPO`, likewise."""

_PLAIN: Mapping[str, Any] = {"init": "uniform", "init_scale": 0.01}
# An eta without bounds eventually turns negative, and the trace diverges.
_PLASTIC: Mapping[str, Any] = {**_PLAIN, "rule": "oja", "eta": 0.03, "bound_eta": True}
_GATED: Mapping[str, Any] = {
    "learning_rate": 0.007,
    "gae_lambda": 0.95,
    "concentration_coef": 0.049,
    "max_grad_norm": 4.8,
    "forget_bias": 0.0,  # with 1, cells grow for 250 steps until gradients explode
}
_PLASTIC_GATED: Mapping[str, Any] = {**_GATED, **_DELTA}

_UNSCALED = {"hidden_size": 64, "normalize_observations": False, "normalize_returns": False}

_MAZE = Preset(
    n_envs=16,
    total_timesteps=6_000_000,
    learning_rate=3e-3,
    final_learning_rate=0.0,
    learner={
        "n_steps": 25,  # gradients through whole episodes of 250 steps explode
        "gamma": 0.9,
        "gae_lambda": 0.9,
        "ent_coef": 0.0,
        "concentration_coef": 0.2,
        "vf_coef": 0.03,
        "max_grad_norm": 1.0,
        "max_grad_ratio": 10.0,
        "normalize_advantage": False,
    },
    policy=_UNSCALED,
    cores={
        "plastic": _PLASTIC,
        "homogeneous": _PLASTIC,
        "rnn": _PLAIN,
        "lstm": _GATED,
        "gru": _GATED,
        "plastic_lstm": _PLASTIC_GATED,
        "plastic_gru": _PLASTIC_GATED,
    },
)

A2C: Mapping[str, Preset] = {
    "CartPole-v1": A2C_DEFAULTS,
    "CartPolePositions-v0": replace(A2C_DEFAULTS, total_timesteps=150_000),
    "PlasticRecall-v0": replace(A2C_DEFAULTS, total_timesteps=120_000),
    "PlasticMaze-v0": _MAZE,
    "PlasticMazeICLR-v0": _MAZE,
}
"""Presets of :class:`plasticrl.agents.RecurrentA2C` by the id of the environment."""

_NO_BIAS: Mapping[str, Any] = {"forget_bias": 0.0}
_MAZE_PPO = Preset(
    n_envs=32,  # four times the updates of 128, which is worth 17 to 62 points after 2,500,000 steps
    total_timesteps=5_000_000,
    learning_rate=5.9e-3,
    final_learning_rate=0.0,
    learner={
        "n_steps": 250,  # whole episodes: their gradients are clipped, and four minibatches share them
        "n_epochs": 4,
        "gamma": 0.9,
        "gae_lambda": 0.975,
        "clip_range": 0.2,
        "ent_coef": 0.0012,
        "vf_coef": 0.028,
        "max_grad_norm": 0.58,
        "normalize_advantage": True,
    },
    policy=_UNSCALED,
    cores={
        "plastic": _DELTA,
        "homogeneous": _DELTA,
        "rnn": _ORTHOGONAL,
        "lstm": _NO_BIAS,
        "gru": _NO_BIAS,
        "plastic_lstm": {**_DELTA, **_NO_BIAS},
        "plastic_gru": {**_DELTA, **_NO_BIAS},
    },
)

_PREVIOUS_ACTION = "plasticrl.envs.memory.observations:PreviousAction"
_FLAT = "gymnasium.wrappers:FlattenObservation"


def _ppo(total_timesteps: int, n_envs: int = 16, learning_rate: float = 1e-3, **learner: Any) -> Preset:
    """Return PPO's defaults with more environments, other arguments of the learner, and a rate that falls."""
    return replace(
        PPO_DEFAULTS,
        n_envs=n_envs,
        total_timesteps=total_timesteps,
        learning_rate=learning_rate,
        final_learning_rate=0.0,
        learner={**PPO_DEFAULTS.learner, **learner},
    )


def _popgym(total_timesteps: int) -> Preset:
    """Return a preset for a POPGym task, whose agents see their previous action, as in its paper."""
    return replace(_ppo(total_timesteps), imports=("popgym",), wrapper=(_PREVIOUS_ACTION,))


def _minigrid(total_timesteps: int) -> Preset:
    image = "minigrid.wrappers:ImgObsWrapper"
    return replace(_ppo(total_timesteps), imports=("minigrid",), wrapper=(image, _FLAT))


PPO: Mapping[str, Preset] = {
    "CartPole-v1": _ppo(100_000),
    "CartPolePositions-v0": _ppo(300_000),
    "PendulumPositions-v0": _ppo(1_000_000),
    "PlasticRecall-v0": _ppo(100_000),
    "CueReward-v0": _ppo(3_000_000, 32, n_steps=120, n_epochs=4, gamma=0.9, ent_coef=0.01),
    "PlasticMaze-v0": _MAZE_PPO,
    "PlasticMazeICLR-v0": replace(_MAZE_PPO, learner={**_MAZE_PPO.learner, "n_steps": 200}),
    "PlasticMazeMoving-v0": _MAZE_PPO,
    "PlasticMazeRandom-v0": _MAZE_PPO,
    "popgym-RepeatFirstEasy-v0": _popgym(300_000),
    "popgym-RepeatPreviousEasy-v0": _popgym(500_000),
    "popgym-AutoencodeEasy-v0": _popgym(1_000_000),
    "popgym-CountRecallEasy-v0": _popgym(1_000_000),
    "popgym-ConcentrationEasy-v0": _popgym(1_000_000),
    "popgym-HigherLowerEasy-v0": _popgym(500_000),
    "popgym-MultiarmedBanditEasy-v0": _popgym(1_000_000),
    "MiniGrid-MemoryS7-v0": _minigrid(1_000_000),
    "MiniGrid-MemoryS11-v0": _minigrid(2_000_000),
    # SB3's wrapper repeats each action for four frames, so that the id is the one without a frame skip.
    "PongNoFrameskip-v4": replace(
        _ppo(10_000_000, learning_rate=2.5e-4, n_epochs=4, clip_range=0.1, ent_coef=0.01),
        imports=("ale_py", "cv2"),
        wrapper=("stable_baselines3.common.atari_wrappers:AtariWrapper",),
    ),
}
"""Presets of :class:`plasticrl.agents.RecurrentPPO` by the id of the environment."""
