"""Typed settings of a training in any Gymnasium environment, and their presets."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Annotated, Any, Literal, TypeAlias

from tyro.conf import UseAppendAction, arg
from tyro.constructors import PrimitiveConstructorSpec

from plasticrl.agents.presets import A2C, A2C_DEFAULTS, PPO, PPO_DEFAULTS, packages_of
from plasticrl.agents.presets import Preset as Tuned
from plasticrl.scripts.settings.groups import RULES, Between, OneOf, Preset, SearchSpace
from plasticrl.scripts.settings.maze import A2CSettings, AgentSettings, PPOSettings, preset_of


def arguments_from(words: Sequence[str]) -> dict[str, Any]:
    """Return keyword arguments from words ``name=value``.

    A value is read as JSON, and kept as text if it is none, so that ``level=3`` is a number and
    ``map_name=8x8`` is a text.

    Raises:
        ValueError: a word is not of this form, or a name occurs twice.
    """
    found: dict[str, Any] = {}
    for word in words:
        name, sign, value = word.partition("=")
        if not sign or not name.isidentifier():
            raise ValueError(f"write name=value, not {word!r}")
        if name in found:
            raise ValueError(f"{name} is given twice")
        try:
            found[name] = json.loads(value, parse_constant=_finite, parse_float=_finite)
        except (ValueError, RecursionError):
            found[name] = value
    return found


def words_of(arguments: Mapping[str, Any]) -> list[str]:
    """Return the words that :func:`arguments_from` reads as these arguments."""
    return [f"{name}={json.dumps(value)}" for name, value in arguments.items()]


def _finite(text: str) -> float:
    if not isfinite(number := float(text)):
        raise ValueError(text)  # no file of settings can hold it as a number
    return number


_Arguments = Annotated[
    Mapping[str, Any],
    PrimitiveConstructorSpec(
        nargs="*",
        metavar="NAME=VALUE ...",
        instance_from_str=arguments_from,
        is_instance=lambda value: isinstance(value, Mapping),
        str_from_instance=words_of,
    ),
]


VecChoice: TypeAlias = Literal["dummy", "subproc"]


@dataclass(frozen=True)
class EnvironmentSettings:
    """The environment."""

    env_kwargs: _Arguments
    """Arguments of the environment, such as is_slippery=false map_name=8x8; values are read as JSON, \
otherwise as text."""
    imports: Annotated[tuple[str, ...], UseAppendAction, arg(name="import", metavar="MODULE")]
    """Module that registers environments, to be imported first: an installed one, or a file in the current \
folder, without .py."""
    wrapper: Annotated[tuple[str, ...], UseAppendAction, arg(metavar="MODULE:CLASS")] = ()
    """Wrapper of each environment, such as gymnasium.wrappers:FlattenObservation, the innermost first. \
Points are those that the outermost one gives."""
    normalize: bool = False
    """Scale observations and rewards by their running moments, with SB3's VecNormalize. The policy does so \
itself unless told otherwise."""
    frame_stack: int = 1
    """Number of successive observations that the agent sees at once, with SB3's VecFrameStack."""
    vec: VecChoice = "dummy"
    """dummy: step the environments one after another, or as one batch if they can; subproc: in processes of \
their own, which pays if a step takes a millisecond."""


NO_SETTINGS = EnvironmentSettings(env_kwargs={}, imports=())
"""An environment as it is registered."""


@dataclass(frozen=True)
class EnvironmentEvaluation:
    """The options of an evaluation in an environment."""

    deterministic: bool = True
    """Take the most probable actions instead of drawing them as in training."""


_SPACE: SearchSpace = {
    "learning_rate": Between(1e-4, 1e-2),
    "gae_lambda": Between(0.8, 1.0, log=False),
    "ent_coef": Between(0.0, 0.05, log=False),
    "max_grad_norm": Between(0.1, 5.0),
    "rule": OneOf((*RULES.choices, "delta")),
    "eta": Between(0.003, 0.9),
}
_EVAL_EPISODES = 100
TUNED = "tuned"
"""Name of the preset that only some environments have."""


def a2c_presets(env_id: str) -> dict[str, Preset]:
    """Return the presets of A2C in an environment: the tuned one, if there is one, and the general one."""
    return _presets(env_id, A2CSettings, A2C, A2C_DEFAULTS)


def ppo_presets(env_id: str) -> dict[str, Preset]:
    """Return the presets of PPO, likewise."""
    return _presets(env_id, PPOSettings, PPO, PPO_DEFAULTS)


def _presets(
    env_id: str, kind: type[AgentSettings], tuned: Mapping[str, Tuned], default: Tuned
) -> dict[str, Preset]:
    own = next((ids[env_id] for ids in (tuned, PPO) if env_id in ids), default)
    place = {"env": EnvironmentSettings(env_kwargs={}, imports=own.imports, wrapper=own.wrapper)}
    others = {"n_steps": None, "max_grad_ratio": None, "batch_size": None, "target_kl": None}
    of_id = {TUNED: tuned[env_id]} if env_id in tuned else {}
    return {
        name: preset_of(kind, one, place, _SPACE, _EVAL_EPISODES, **others)
        for name, one in {**of_id, "default": default}.items()
    }


def has_preset(env_id: str) -> bool:
    """Return True if there is a preset for an environment, which need not be registered yet."""
    return env_id in PPO or env_id in A2C


def table_of_presets() -> list[tuple[str, str, str, str]]:
    """Return the ids with a preset: a row of columns, then id, learners, steps of a training, and package."""
    rows = [("environment", "learners", "steps", "needs")]
    for env_id in dict.fromkeys((*PPO, *A2C)):
        found = {name: ids[env_id] for name, ids in (("a2c", A2C), ("ppo", PPO)) if env_id in ids}
        steps = ", ".join(f"{one.total_timesteps:,}" for one in found.values())
        imports = next(iter(found.values())).imports
        rows.append((env_id, ", ".join(found), steps, packages_of(imports)))
    return rows
