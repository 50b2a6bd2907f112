"""The tasks and environments: one entry for each, from which its commands, its runs and its tables follow."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Literal, NamedTuple, TypeAlias

from gymnasium.envs.registration import ENV_ID_RE

from plasticrl.scripts.errors import UserError
from plasticrl.scripts.settings.environments import (
    TUNED,
    EnvironmentEvaluation,
    EnvironmentSettings,
    a2c_presets,
    ppo_presets,
)
from plasticrl.scripts.settings.groups import Preset, SearchSpace
from plasticrl.scripts.settings.maze import (
    A2C_PRESETS,
    PPO_PRESETS,
    A2CSettings,
    ContribSettings,
    MazeEvaluation,
    MazeSettings,
    PPOSettings,
    TrainingSettings,
)
from plasticrl.scripts.settings.supervised import (
    IMAGES_PRESETS,
    OMNIGLOT_PRESETS,
    PATTERNS_PRESETS,
    ClassDescentSettings,
    CompletionSettings,
    DescentSettings,
    EpisodeTrainingSettings,
    ImagesEvaluation,
    ImagesSettings,
    OmniglotEvaluation,
    OmniglotSettings,
    OneShotSettings,
    PatternsSettings,
    PlainEvaluation,
)


class ShownMetric(NamedTuple):
    """One metric.

    Attributes:
        name: the learner's name for it.
        label: the name in tables.
        form: formats a value.
        sign: 1 if higher is better, -1 if lower is better.
    """

    name: str
    label: str
    form: Callable[[float], str]
    sign: int

    def text(self, value: float | None) -> str:
        """Format a value; None means infinite."""
        return "∞" if value is None else self.form(value)


CoreOptions: TypeAlias = Mapping[str, tuple[str, ...]]
"""The cores, each with those of its settings that not all of them have."""


@dataclass(frozen=True)
class Learner:
    """A learner on a task.

    Attributes:
        groups: the settings of network and learning by the name of their group.
        cores: the cores that it trains.
        presets: all settings by the name of the preset; the first one is the default. Commands train only
            with learners that have presets.
        preset_help: help text of the option ``--preset``.
        names: names of networks in folders and tables that differ from that of the core.
        folder: folder of its runs below the root; None for the name of the task.
    """

    groups: Mapping[str, type[Any]]
    cores: CoreOptions
    presets: Mapping[str, Preset] = field(default_factory=dict)
    preset_help: str = ""
    names: Mapping[str, str] = field(default_factory=dict)
    folder: str | None = None

    def space(self, preset: str, core: str) -> SearchSpace:
        """Return the search space of one core, without the settings that only other cores have."""
        others = options_of_others(self.cores, core)
        return {name: allowed for name, allowed in self.presets[preset].space.items() if name not in others}


@dataclass(frozen=True, eq=False)
class Task:
    """A task.

    Attributes:
        name: name of the task, and by default of its folder and of its group of settings.
        kind: the code that trains and evaluates it, see :mod:`plasticrl.scripts.experiments.training`.
            A maze is an environment with references to compare with.
        about: help text of each command, by the command's name.
        settings: the settings of the task itself.
        training: the settings of a training's length.
        learners: the learners by name; commands train with the first one by default.
        core_help: help text of the option ``--core``.
        metrics: the metrics in tables; the first one ranks the networks.
        mean: returns the mean of a metric from the evaluation in a ``result.json``.
        total: the setting of the training's length.
        counter: column of ``progress.csv`` that counts its unit.
        evaluation: options of ``evaluate`` for this task only.
        reads_data: True if the task reads files of a dataset.
        group: name of its group of settings; None for the name of the task.
    """

    name: str
    kind: Literal["maze", "environment", "supervised"]
    about: Mapping[str, str]
    settings: type[Any]
    training: type[Any]
    learners: Mapping[str, Learner]
    core_help: str
    metrics: tuple[ShownMetric, ...]
    mean: Callable[[Mapping[str, Any], str], float]
    total: str
    counter: str
    evaluation: type[Any] = PlainEvaluation
    reads_data: bool = False
    group: str | None = None

    @property
    def own_group(self) -> str:
        """Name of the group of settings of the task itself."""
        return self.group or self.name

    @property
    def learner(self) -> str:
        """Name of the learner that commands train with by default."""
        return next(iter(self.learners))

    @property
    def algorithms(self) -> tuple[str, ...]:
        """Names of the learners that commands can train with."""
        return tuple(name for name, learner in self.learners.items() if learner.presets)

    def groups(self, learner: str) -> dict[str, type[Any]]:
        """Return the settings of a run by the name of their group."""
        return {
            self.own_group: self.settings,
            **self.learners[learner].groups,
            "training": self.training,
        }


def options_of_others(options: CoreOptions, core: str) -> set[str]:
    """Return the names of the settings that other cores have and this one lacks."""
    return {name for names in options.values() for name in names} - set(options[core])


def check_core_options(options: CoreOptions, cores: Sequence[str], given: Collection[str]) -> None:
    """Check that each given option applies to at least one of the cores.

    Only the command line is checked: a preset has settings for every core.

    Args:
        options: the settings of each core.
        cores: the selected cores.
        given: the names of the options on the command line.

    Raises:
        UserError: an option applies to none of them; the message names the cores that have it.
    """
    for name in dict.fromkeys(name for names in options.values() for name in names):
        owners = [core for core, names in options.items() if name in names]
        if name in given and cores and not set(owners) & set(cores):
            flag = "--" + name.replace("_", "-")
            many = f"cores {', '.join(owners[:-1])} and" if len(owners) > 1 else "core"
            raise UserError(
                f"{flag} is for the {many} {owners[-1]}, not for {', '.join(cores)}: leave it out"
            )


_TRACE, _INIT = ("rule", "eta", "bound_eta"), ("init", "init_scale")
_MODULATED = (*_TRACE, "modulation", "modulate", "alpha_scale", *_INIT)
_GATES = ("forget_bias",)
_RECURRENT: CoreOptions = {
    "plastic": _MODULATED,
    "homogeneous": _MODULATED,
    "rnn": _INIT,
    "lstm": _GATES,
    "gru": _GATES,
    "feedforward": (),
    "plastic_lstm": (*_MODULATED, *_GATES),
    "plastic_gru": (*_MODULATED, *_GATES),
}
CONTRIB = "sb3_contrib"
"""Name of the learner that is sb3-contrib's RecurrentPPO, for comparisons."""
_ONE_SHOT = ("init_scale", "input_mean", "input_std", "n_filters", "normalize_features", "batch_norm")
_ALPHA = "plastic (a plasticity coefficient for every connection), homogeneous (one for all)"
_RECURRENT_HELP = f"Network: {_ALPHA}, rnn (no plasticity), lstm, gru, feedforward (no memory), or \
plastic_lstm and plastic_gru. A preset has own values for some cores; --help shows those of the core that is \
given."


def _share(value: float) -> str:
    return f"{100 * value:.2f}%"


_MAZE = Task(
    name="maze",
    kind="maze",
    about={
        "train": """Train one agent on the maze.

The run goes to ROOT/maze/CORE/seed_SEED, with --algo ppo to ROOT/maze_ppo: settings, checkpoints,
TensorBoard events, progress.csv, and the result of an evaluation at the end. The same command resumes a
stopped run. A folder that holds another run is refused; --overwrite removes the files of that run first.""",
        "compare": """Train several cores on the maze and compare them.

It trains the missing runs, several at a time, prints a table, and writes it with a picture of the
learning curves to ROOT/maze, with --algo ppo to ROOT/maze_ppo. Finished runs with the same settings are
kept, and unfinished ones are resumed. Runs with other settings are refused; --overwrite trains them
again.""",
        "sweep": """Train many runs on the maze, on one machine or a Ray cluster, and compare the cores.

It does the same as compare, with the same folders, table and picture. A run whose process or machine
dies is restarted from its last checkpoint; failed runs are listed at the end and do not stop the others.
A stopped sweep is resumed by the same command. With several machines, ROOT must be a folder that all of
them share. Without the extra (pip install 'plasticrl[sweep]') it trains one run after another, as with
--local.""",
    },
    settings=MazeSettings,
    training=TrainingSettings,
    learners={
        "a2c": Learner(
            {"agent": A2CSettings},
            _RECURRENT,
            A2C_PRESETS,
            "Defaults of the options below: tuned, or the paper's (Miconi et al. 2018).",
        ),
        "ppo": Learner(
            {"agent": PPOSettings},
            _RECURRENT,
            PPO_PRESETS,
            "Defaults of the options below: tuned, or the demo's.",
            folder="maze_ppo",
        ),
        CONTRIB: Learner({"ppo": ContribSettings}, {"lstm": ()}, names={"lstm": "recurrent_ppo"}),
    },
    core_help=_RECURRENT_HELP,
    metrics=(ShownMetric("mean_reward", "points per episode", "{:.1f}".format, 1),),
    mean=lambda evaluation, name: float(evaluation[name]),
    total="total_timesteps",
    counter="time/total_timesteps",
    evaluation=MazeEvaluation,
)


def _supervised(name: str, subject: str, what: str, **own: Any) -> Task:
    """Return the entry of a supervised task.

    Args:
        name: name of the task.
        subject: name of the task in sentences.
        what: what networks are trained to do, in comparisons.
        **own: further attributes of the entry; ``about`` describes ``train``.
    """
    about = {
        "train": own.pop("about"),
        "compare": f"Train several networks to {what} and compare them; see compare maze.",
        "sweep": f"Train many runs on {subject}, on one machine or a Ray cluster; see sweep maze.",
    }
    return Task(
        name=name,
        kind="supervised",
        about=about,
        training=EpisodeTrainingSettings,
        mean=lambda evaluation, name: float(evaluation["metrics"][name]["mean"]),
        total="total_episodes",
        counter="time/episodes",
        **own,
    )


def _completion(presets: Mapping[str, Preset], preset_help: str) -> dict[str, Any]:
    """Return learner and cores of a task that completes patterns or images."""
    learner = Learner(
        {"network": CompletionSettings, "descent": DescentSettings},
        {
            "plastic": (*_TRACE, *_INIT),
            "homogeneous": (*_TRACE, *_INIT),
            "rnn": (*_INIT, "extra_neurons"),
            "lstm": ("hidden_size",),
        },
        presets,
        preset_help,
    )
    return {
        "learners": {"supervised": learner},
        "core_help": f"Network: {_ALPHA}, rnn (no plasticity), or lstm.",
    }


_PATTERNS = _supervised(
    "patterns",
    "patterns",
    "memorize patterns",
    about="""Train one network to memorize patterns of bits within an episode.

The run goes to ROOT/patterns/CORE/seed_SEED; otherwise as train maze.""",
    settings=PatternsSettings,
    **_completion(
        PATTERNS_PRESETS,
        "Defaults of the options below: the 1,000-bit task as in the paper's text or as in its program, or "
        "the small 50-bit comparison with non-plastic networks.",
    ),
    metrics=(
        ShownMetric("bit_error", "wrong bits", _share, -1),
        ShownMetric("hidden_bit_error", "wrong hidden bits", _share, -1),
    ),
)
_IMAGES = _supervised(
    "images",
    "images",
    "complete images",
    about="""Train one network to complete images that it saw earlier in the episode.

The run goes to ROOT/images/CORE/seed_SEED; otherwise as train maze. It is trained and evaluated on
different images.""",
    settings=ImagesSettings,
    **_completion(IMAGES_PRESETS, "Defaults of the options below: the paper's (Miconi et al. 2018)."),
    metrics=(
        ShownMetric("hidden_mse", "squared error, hidden pixels", "{:.4f}".format, -1),
        ShownMetric("hidden_psnr", "PSNR (dB)", "{:.2f}".format, 1),
        ShownMetric("hidden_correlation", "correlation", "{:.3f}".format, 1),
    ),
    evaluation=ImagesEvaluation,
    reads_data=True,
)
_OMNIGLOT = _supervised(
    "omniglot",
    "Omniglot",
    "classify characters",
    about="""Train one network to classify handwritten characters that it saw once, earlier in the episode.

The run goes to ROOT/omniglot/CORE/seed_SEED; otherwise as train maze. It is trained and evaluated on
different characters.""",
    settings=OmniglotSettings,
    learners={
        "supervised": Learner(
            {"network": OneShotSettings, "descent": ClassDescentSettings},
            {
                "plastic": (*_TRACE, "alpha_scale", *_ONE_SHOT),
                "homogeneous": (*_TRACE, "alpha_scale", *_ONE_SHOT),
                "rnn": _ONE_SHOT,
            },
            OMNIGLOT_PRESETS,
            "Defaults of the options below: tuned, the same with batch normalization, or the paper's (Miconi "
            "et al. 2018).",
        )
    },
    core_help=f"Last layer: {_ALPHA}, or rnn (no plasticity).",
    metrics=(ShownMetric("accuracy", "right answers", _share, 1),),
    evaluation=OmniglotEvaluation,
    reads_data=True,
)

TASKS: dict[str, Task] = {task.name: task for task in (_MAZE, _PATTERNS, _IMAGES, _OMNIGLOT)}


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
    preset_help = (
        "Defaults of the options below: tuned for this environment, which --preset list shows for all \
environments that have it, or those for any environment."
    )
    learners = {
        "a2c": Learner({"agent": A2CSettings}, _RECURRENT, a2c_presets(env_id), preset_help, folder=folder),
        "ppo": Learner(
            {"agent": PPOSettings}, _RECURRENT, ppo_presets(env_id), preset_help, folder=f"{folder}_ppo"
        ),
    }  # the first one is the default: one that has a preset for the environment, if any has
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
        learners=dict(sorted(learners.items(), key=lambda item: TUNED not in item[1].presets)),
        core_help=_RECURRENT_HELP,
        metrics=(ShownMetric("mean_reward", "points per episode", "{:.2f}".format, 1),),
        mean=lambda evaluation, metric: float(evaluation[metric]),
        total="total_timesteps",
        counter="time/total_timesteps",
        evaluation=EnvironmentEvaluation,
        group="env",
    )
