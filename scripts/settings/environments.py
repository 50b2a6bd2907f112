"""Any Gymnasium environment as a task: its settings, its presets, and its entry."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from math import isfinite
from typing import Annotated, Any, Literal, TypeAlias

from gymnasium.envs.registration import ENV_ID_RE
from tyro.conf import UseAppendAction, arg
from tyro.constructors import PrimitiveConstructorSpec

from plasticrl.agents.presets import A2C, A2C_DEFAULTS, PPO, PPO_DEFAULTS
from plasticrl.agents.presets import Preset as Tuned
from plasticrl.scripts.settings.groups import RULES, Between, OneOf, Preset, SearchSpace
from plasticrl.scripts.settings.maze import (
    A2CSettings,
    AgentSettings,
    PPOSettings,
    TrainingSettings,
    preset_of,
)
from plasticrl.scripts.settings.tasks import (
    RECURRENT,
    RECURRENT_HELP,
    TASKS,
    Learner,
    ShownMetric,
    Task,
)


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


def _presets(
    env_id: str, kind: type[AgentSettings], tuned: Mapping[str, Tuned], default: Tuned
) -> dict[str, Preset]:
    """Return the presets of a learner: the tuned one of this environment, if any, and the general one."""
    place = {"env": EnvironmentSettings(env_kwargs={}, imports=())}
    others = {"n_steps": None, "max_grad_ratio": None, "batch_size": None, "target_kl": None}
    of_id = {"tuned": tuned[env_id]} if env_id in tuned else {}
    return {
        name: preset_of(kind, one, place, _SPACE, _EVAL_EPISODES, **others)
        for name, one in {**of_id, "default": default}.items()
    }


def task_named(name: str) -> Task:
    """Return the entry of a task, or of the environment with this id, which need not be registered yet.

    Raises:
        TypeError: it is neither the name of a task nor an id as Gymnasium allows.
    """
    return TASKS.get(name) or _environment(name)


@cache
def _environment(name: str) -> Task:
    _, _, env_id = name.rpartition(":")
    if ENV_ID_RE.fullmatch(env_id) is None:
        raise TypeError(f"task is {name!r}, neither one of {', '.join(TASKS)} nor the id of an environment")
    folder = re.sub(r"[^\w.-]|^\.+", "_", name)
    preset_help = "Defaults of the options below: those for any environment" + (
        ", or tuned for this one." if env_id in A2C.keys() | PPO.keys() else "."
    )
    return Task(
        name=name,
        kind="environment",
        about={
            "train": f"""Train one agent in the environment {name}.

The run goes to ROOT/{folder}/CORE/seed_SEED, with --algo ppo to ROOT/{folder}_ppo; otherwise as train maze.
The environments are those of Gymnasium, of installed packages, and of modules of your own.""",
            "compare": f"Train several cores in the environment {name} and compare them; see compare maze.",
            "sweep": f"Train many runs in {name}, on one machine or a Ray cluster; see sweep maze.",
        },
        settings=EnvironmentSettings,
        training=TrainingSettings,
        learners={
            "a2c": Learner(
                {"agent": A2CSettings},
                RECURRENT,
                _presets(env_id, A2CSettings, A2C, A2C_DEFAULTS),
                preset_help,
                folder=folder,
            ),
            "ppo": Learner(
                {"agent": PPOSettings},
                RECURRENT,
                _presets(env_id, PPOSettings, PPO, PPO_DEFAULTS),
                preset_help,
                folder=f"{folder}_ppo",
            ),
        },
        core_help=RECURRENT_HELP,
        metrics=(ShownMetric("mean_reward", "points per episode", "{:.2f}".format, 1),),
        mean=lambda evaluation, metric: float(evaluation[metric]),
        total="total_timesteps",
        counter="time/total_timesteps",
        evaluation=EnvironmentEvaluation,
        group="env",
    )
