"""Settings of learners for any environment, and tuned ones for single environments.

They are plain data: no torch is needed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from typing_extensions import Self


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
    """

    n_envs: int
    total_timesteps: int
    learning_rate: float
    final_learning_rate: float
    learner: Mapping[str, Any]
    policy: Mapping[str, Any]
    cores: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def for_core(self, core: str) -> Self:
        """Return the settings with those for this core only merged in."""
        own = dict(self.cores.get(core, {}))
        rate = own.pop("learning_rate", self.learning_rate)
        learner = {name: own.pop(name, value) for name, value in self.learner.items()}
        return replace(self, learning_rate=rate, learner=learner, policy={**self.policy, **own}, cores={})


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

A2C: Mapping[str, Preset] = {"PlasticMaze-v0": _MAZE, "PlasticMazeICLR-v0": _MAZE}
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

PPO: Mapping[str, Preset] = {"PlasticMaze-v0": _MAZE_PPO}
"""Presets of :class:`plasticrl.agents.RecurrentPPO` by the id of the environment."""
