"""The commands and their options as typed settings, and the parser of a command line.

Each command is implemented in the module of its name.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Collection, Container, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass, field, fields, is_dataclass, make_dataclass, replace
from difflib import get_close_matches
from functools import cache, reduce
from io import StringIO
from itertools import takewhile
from operator import or_
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, get_type_hints

import gymnasium as gym
import tyro
from typing_extensions import Self
from tyro.conf import arg, subcommand
from tyro.extras import literal_type_from_choices

from plasticrl import __version__
from plasticrl.scripts.errors import COLOR, UserError, perhaps
from plasticrl.scripts.experiments.memory import CORES
from plasticrl.scripts.experiments.memory import TASKS as MEMORY_TASKS
from plasticrl.scripts.experiments.paper import Budget, TaskName
from plasticrl.scripts.runs.run import Run
from plasticrl.scripts.runs.settings_file import SettingsFile, read_settings, with_file
from plasticrl.scripts.runs.terminal import print_table
from plasticrl.scripts.settings.environments import (
    NO_SETTINGS,
    EnvironmentSettings,
    has_preset,
    table_of_presets,
)
from plasticrl.scripts.settings.groups import CoreValues, SearchSpace, changed, flag_of, merged, with_home
from plasticrl.scripts.settings.maze import PPO_PRESETS, Device, OutputSettings
from plasticrl.scripts.settings.tasks import TASKS, Learner, Task, check_core_options, task_named


class TaskOptions:
    """Base of the options of commands that train networks on a task; :func:`options_of` completes them.

    Attributes:
        own: values of settings for one core only, which replace those of the groups; no option of the
            command line.
        config: the file whose settings these options have, too.
    """

    entry: ClassVar[Task]
    algo: str
    preset: str
    own: CoreValues
    output: OutputSettings
    config: Path | None = None
    data_dir: Path | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        """Return the parts to copy or pickle it from: its class is made at run time, so no module has it."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}  # type: ignore[arg-type]
        return _options_with, (type(self).__base__, self.entry.name, self.algo, values)

    @classmethod
    def with_preset(cls, preset: str, **others: Any) -> Self:
        """Return the options with the settings of a preset."""
        values = cls.entry.learners[cls.algo].presets[preset]
        return cls(preset=preset, own=values.cores, **values.groups, **others)  # type: ignore[call-arg]

    @property
    def learner(self) -> Learner:
        """The learner."""
        return self.entry.learners[self.algo]

    @property
    def groups(self) -> dict[str, Any]:
        """The settings of a training that cores without own values have, by the name of their group."""
        return {name: getattr(self, name) for name in self.entry.groups(self.algo)}

    def make_run(self, core: str, seed: int) -> Run:
        """Return the run with these settings."""
        groups = self.for_core(core).groups
        return Run(self.entry.name, self.algo, core, seed, groups, self.data_dir)

    def for_core(self, core: str) -> Self:
        """Return a copy in which all cores have the settings of this one."""
        return replace(self, own={}, **merged(self.groups, self.own.get(core, {})))  # type: ignore[type-var]

    def searched(self, core: str) -> SearchSpace:
        """Return the search space without the settings whose values lie outside it; they stay fixed."""
        space, settings = self.learner.space(self.preset, core), self.for_core(core)
        return {name: allowed for name, allowed in space.items() if settings.value(name) in allowed}

    def value(self, name: str) -> Any:
        """Return the value of a setting, from the group that has it."""
        return next(getattr(group, name) for group in self.groups.values() if hasattr(group, name))

    def with_values(self, values: Mapping[str, Any]) -> Self:
        """Return a copy with other values for all cores; a constant learning rate stays constant."""
        return replace(self.with_given(values), **changed(self.groups, **values))  # type: ignore[type-var]

    def with_given(self, names: Container[str]) -> Self:
        """Return a copy in which no core has an own value of these settings."""
        own = {
            core: {name: value for name, value in values.items() if name not in names}
            for core, values in self.own.items()
        }
        return replace(self, own=own)  # type: ignore[type-var]


@dataclass(frozen=True)
class TrainOptions(TaskOptions):
    """Train one network on a task, or resume a training: plasticrl train --resume RUN."""

    core: str = "plastic"
    """Network; the choices depend on the task."""
    seed: int = 0
    """Seed of the weights and of the training."""
    init_from: Annotated[Path | None, arg(metavar="CHECKPOINT")] = None
    """Checkpoint, or a run's folder with one, whose network the training begins with, instead of a new one. \
The network must be the same; other settings may differ. Optimizer, steps and random numbers begin anew."""
    output: OutputSettings = field(default_factory=OutputSettings)

    def make_run(self, core: str, seed: int) -> Run:
        """Return the run with these settings."""
        begun = None if self.init_from is None else str(self.init_from)
        return replace(super().make_run(core, seed), init_from=begun)


@dataclass(frozen=True)
class ManyOptions(TaskOptions):
    """Options of the commands that train several networks."""

    cores: tuple[str, ...] = ()
    """Networks to compare; the choices depend on the task."""
    seeds: int = 3
    """Runs per core, with seeds that follow each other."""
    first_seed: int = 0
    """The first of these seeds."""
    output: OutputSettings = field(default_factory=OutputSettings)

    def runs(self) -> list[Run]:
        """Return all runs, ordered by seed and then by core."""
        seeds = range(self.first_seed, self.first_seed + self.seeds)
        return [self.make_run(core, seed) for seed in seeds for core in self.cores]


@dataclass(frozen=True)
class CompareOptions(ManyOptions):
    """Train and compare several kinds of network."""

    jobs: int | None = None
    """Runs to train at the same time, one thread each unless --threads is given; None: one per processor."""


@dataclass(frozen=True)
class SweepOptions(ManyOptions):
    """Train and compare several kinds of network with many seeds, on this machine or a Ray cluster."""

    seeds: int = 15
    """Runs per core, with seeds that follow each other."""
    address: str | None = None
    """Ray cluster to train on: auto for the one that this machine belongs to, or ray://HOST:10001; None \
for this machine alone."""
    cpus_per_run: int = 1
    """Processors, and thus threads, of each run."""
    gpus_per_run: float = 0.0
    """GPUs of each run; 0.25 lets four runs share one."""
    local: bool = False
    """Train one run after another in this process, without Ray."""
    search: bool = False
    """Search for better settings instead of comparing seeds: Optuna tries settings from the preset's search \
space, weak ones are stopped early, and the best ones of each core are printed."""
    trials: int = 30
    """Settings to try for each core, those given here first (search)."""


_ALGO = (
    "Learning algorithm: a2c or ppo, which reaches more points with the same steps; both have options of "
    "their own, shown by --algo NAME --help."
)
_CONFIG = (
    "File of settings, which replace those of the preset: YAML or JSON such as total_timesteps: 100000, or "
    "the config.json of a run. Options on the command line replace those in the file."
)
_DATA_DIR = (
    "Folder with the official files, as an archive or extracted; None: $PLASTICRL_DATA, or if that is not "
    "set, they are downloaded."
)


def options_of(kind: Any, task: Task, algo: str | None = None) -> Any:
    """Return the options of a command for a task, with the settings of its default preset as defaults.

    Args:
        kind: the command's options for every task.
        task: the task.
        algo: name of the learner; None for the task's default.
    """
    return _options_of(kind, task, algo or task.learner)


@cache
def _options_of(kind: Any, task: Task, algo: str) -> Any:
    command = next(name for name, options in COMMANDS.items() if options is kind)
    learner = task.learners[algo]
    preset, values = next(iter(learner.presets.items()))
    core: Any = literal_type_from_choices(list(learner.cores))
    made: list[tuple[str, Any, Any]] = []
    if issubclass(kind, ManyOptions):
        cores = Annotated[tuple[core, ...], arg(help="Networks to compare; see train.")]
        made.append(("cores", cores, tuple(learner.cores)[:3]))
    else:
        made.append(("core", Annotated[core, arg(help=task.core_help)], next(iter(learner.cores))))
    if len(task.algorithms) > 1:
        algos: Any = literal_type_from_choices(list(task.algorithms))
        made.append(("algo", Annotated[algos, arg(help=_ALGO)], algo))
    made.append(("config", Annotated[Path | None, arg(help=_CONFIG, metavar="FILE")], None))
    if task.reads_data:
        made.append(("data_dir", Annotated[Path | None, arg(help=_DATA_DIR)], None))
    choices: Any = literal_type_from_choices(list(learner.presets))
    made.append(("preset", Annotated[choices, arg(help=learner.preset_help)], preset))
    own: Any = field(default_factory=lambda: values.cores)
    made.append(("own", Annotated[Any, tyro.conf.Fixed, tyro.conf.Suppress], own))
    made += [(name, type(group), group) for name, group in values.groups.items()]
    about = {"entry": task, "algo": algo, "__doc__": task.about[command], "__module__": __name__}
    name = f"{command.title()}{task.name.title()}"
    return make_dataclass(name, made, bases=(kind,), namespace=about, frozen=True)


def _options_with(kind: Any, task: str, algo: str, values: Mapping[str, Any]) -> TaskOptions:
    options: TaskOptions = options_of(kind, task_named(task), algo)(**values)
    return options


@dataclass(frozen=True)
class _OfAgent:
    run: tyro.conf.Positional[Path]
    """A run's folder (its newest checkpoint is used), a checkpoint file in one, with --env the file of an \
agent that Python saved, or an agent of the package such as pretrained:maze."""


@dataclass(frozen=True)
class _Evaluate(_OfAgent):
    episodes: int | None = None
    """Number of episodes; None for as many as at the end of the training."""
    seed: int | None = None
    """Seed of the episodes, and of drawn actions; None for the one used at the end of the training."""


@dataclass(frozen=True)
class Evaluate(*dict.fromkeys(task.evaluation for task in reversed(TASKS.values())), _Evaluate):  # type: ignore[misc]
    """Evaluate a trained network on episodes that it was not trained on, and print its scores.

    Nothing is written. Without --seed, a run's newest checkpoint gives exactly the numbers of its
    result.json. Options that apply to some tasks only name them in brackets; environments are those with an
    id.

    Attributes:
        named: the names of the options that were given; no option itself.
    """

    env: str | None = None
    """Another environment to play in; None for that of the training (maze). The id of the environment of an \
agent that Python saved."""
    place: EnvironmentSettings = NO_SETTINGS
    data_dir: Path | None = None
    """Folder with the data; see train (images, omniglot)."""
    device: Device = "auto"
    """Device that computes the network."""
    json: bool = False
    """Print JSON instead of a table."""
    named: Annotated[frozenset[str], tyro.conf.Fixed, tyro.conf.Suppress] = frozenset()

    def given(self) -> dict[str, Any]:
        """Return the given options that only some tasks have, by name."""
        common = {"run", "episodes", "seed", "place", "device", "json", "named"}
        names = [one.name for one in fields(self) if one.name in self.named - common]
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True)
class Reproduce:
    """Reproduce an experiment of the paper: train every condition with many seeds, and write a report.

    The runs go to ROOT/EXPERIMENT_BUDGET/CONDITION, and the report to ROOT/EXPERIMENT_BUDGET/report: scores
    with statistics (summary.json), learning curves (curves.csv, curves.png, curves.svg), for the maze the
    steadiness of learning (steadiness.json), and, for each network of a supervised task with a checkpoint,
    pictures of its answers in a few episodes and of its w, alpha and trace. The report covers all runs of the
    experiment below ROOT, including those not requested now. The command can be stopped at any time: it then
    reports on the finished runs, and the same command resumes it.
    """

    experiment: tyro.conf.Positional[TaskName]
    """Experiment to reproduce."""
    budget: Budget = "quick"
    """quick: smaller networks or shorter trainings, hours on a laptop. paper: the paper's sizes, days."""
    seeds: int | None = None
    """Runs to train per condition, with seeds 0, 1, 2 and so on; None for the budget's number."""
    conditions: tuple[str, ...] = ()
    """Conditions to train; none means all. A wrong name prints the list."""
    train: bool = True
    """Train the missing runs; --no-train only reports on existing ones."""
    jobs: int | None = None
    """Runs to train at the same time, one thread each unless --threads is given; None: one per processor."""
    data_dir: Path | None = None
    """Folder with the data; see train (images, omniglot)."""
    output: OutputSettings = field(default_factory=lambda: OutputSettings(root=Path("runs/reproduction")))


@dataclass(frozen=True)
class Resume:
    """Resume an unfinished training, bit-exactly as if it had not been stopped.

    Running the command that began it again does the same.
    """

    resume: Path
    """The run's folder, such as runs/maze/plastic/seed_0."""
    data_dir: Path | None = None
    """Folder with the data; see train (images, omniglot)."""
    device: Device = "auto"
    """Device that computes the network."""
    threads: int | None = None
    """Number of threads for the network; None leaves the choice to torch."""
    keep: int | None = 2
    """Number of newest checkpoints to keep; None keeps all."""
    track: bool = False
    """Log to Weights & Biases, too; see train."""
    quiet: bool = False
    """Show no progress."""


@dataclass(frozen=True)
class Watch(_OfAgent):
    """Watch an agent for one episode: in the terminal, as a GIF, or as a video.

    An environment needs the render mode ansi for the first, and rgb_array for the others.
    """

    env: str | None = None
    """Id of the environment of an agent that Python saved."""
    place: EnvironmentSettings = NO_SETTINGS
    gif: Path | None = None
    """GIF file to write or replace; None shows the episode in the terminal."""
    mp4: Path | None = None
    """Video to write or replace, instead of a GIF."""
    before: bool = False
    """Also show the untrained agent, on the left, in an environment with the same seed."""
    fps: float = 12.0
    """Steps per second."""
    seed: int = 0
    """Seed of the environment and the actions."""
    deterministic: bool = False
    """Take the most probable action instead of drawing one, as in training."""
    device: Device = "auto"
    """Device that computes the network."""


_DEMO_CORES = ("plastic_lstm", "plastic", "lstm", "rnn")


@dataclass(frozen=True)
class Demo:
    """Show the benefit of plasticity in a few minutes.

    It trains plastic and other agents on the maze with PPO, prints a comparison with agents that need no
    training, and writes a picture and a GIF. Finished runs are kept, so that a second call is quick; others
    are trained again.
    """

    root: Path = Path("runs/demo")
    """Folder of the demo."""
    seeds: int = 1
    """Runs per core."""
    jobs: int | None = None
    """Runs to train at the same time; None for one per processor."""
    total_timesteps: int = PPO_PRESETS["demo"].training.total_timesteps
    """Environment steps of each training."""
    quiet: bool = False
    """Show no progress."""

    def comparison(self) -> CompareOptions:
        """Return the comparison that the demo makes."""
        kind = options_of(CompareOptions, TASKS["maze"], "ppo")
        output = OutputSettings(root=self.root, overwrite=True, device="cpu", quiet=self.quiet)
        options: CompareOptions = kind.with_preset(
            "demo", cores=_DEMO_CORES, seeds=self.seeds, jobs=self.jobs, output=output
        )
        return options.with_values({"total_timesteps": self.total_timesteps})


@dataclass(frozen=True)
class Benchmark:
    """Measure what networks learn on tasks of memory, or how fast this package is."""


@dataclass(frozen=True)
class MemoryBenchmark(Benchmark):
    """Train every core on tasks of memory with PPO, and compare them.

    All cores have the preset of the task's environment; train --preset list names them. The runs go to
    ROOT/TASK, and the report on all of them, including those not requested now, to ROOT/report: scores with
    statistics (summary.json) and a figure (memory.png, memory.svg). The command can be stopped at any time:
    it then reports on the finished runs, and the same command resumes it. Some tasks need POPGym or Minigrid:
    pip install 'plasticrl[benchmark]'.
    """

    tasks: tuple[str, ...] = tuple(MEMORY_TASKS)
    """Tasks to train on. A wrong name prints the list."""
    cores: tuple[str, ...] = CORES
    """Networks to train. A wrong name prints the list."""
    seeds: int = 5
    """Runs per task and core, with seeds that follow each other."""
    first_seed: int = 0
    """The first of these seeds."""
    total_timesteps: int | None = None
    """Environment steps of each training; None for each task's own number."""
    jobs: int | None = None
    """Runs to train at the same time, one thread each unless --threads is given; None: one per processor."""
    output: OutputSettings = field(default_factory=lambda: OutputSettings(root=Path("runs/memory")))


@dataclass(frozen=True)
class SpeedBenchmark(Benchmark):
    """Measure speed and memory in comparison with plain torch."""

    out: Path = Path("results/benchmarks")
    """Output folder for benchmark.json and scaling.png."""
    rounds: int = 5
    """Number of measurements per case; medians are reported."""
    threads: int | None = None
    """Number of threads; None keeps torch's default."""
    scans: bool = False
    """Measure only the scans of every cell, and write only scans.json."""
    iterations: bool = False
    """Measure only whole iterations of the learners, and write only iterations.json."""
    jax: bool = False
    """Compare the scans with JAX on one core, too; needs JAX (pip install jax)."""


BENCHMARKS: Mapping[str, type[Benchmark]] = MappingProxyType(
    {"memory": MemoryBenchmark, "speed": SpeedBenchmark}
)
"""The benchmarks by the word after the command."""

COMMANDS: Mapping[str, type[Any]] = MappingProxyType(
    {
        "train": TrainOptions,
        "compare": CompareOptions,
        "sweep": SweepOptions,
        "evaluate": Evaluate,
        "watch": Watch,
        "demo": Demo,
        "reproduce": Reproduce,
        "benchmark": Benchmark,
    }
)
"""The commands, each of which is the function ``run`` of the module ``plasticrl.scripts.NAME``."""


_PROGRAM = "plasticrl"
_ABOUT = (
    "Train networks that keep learning after training, and compare them. "
    "plasticrl --version prints the version."
)
_MARKERS = (tyro.conf.OmitArgPrefixes, tyro.conf.OmitSubcommandPrefixes)
_RULER = re.compile(r"[─╰-]{9,}")
_NOT_WHOLE = re.compile(r"error parsing (\S+): .*invalid literal for int\(\) with base 10: ('[^']*')")
_CHOICES = re.compile(r"(?<=one of )\(([^)]*)\)")


@dataclass(frozen=True)
class _Chosen:
    """Choices that the defaults of the other options of a training depend on."""

    algo: str = ""
    preset: str = ""
    config: Path | None = None


@dataclass(frozen=True)
class _ChosenWithCore(_Chosen):
    core: str = ""


def parse(words: Sequence[str]) -> Any:
    """Parse the words of a command line to the options of a command.

    Raises:
        UserError: they are not a valid command; the message is one line.
        SystemExit: with status 0, after ``--help`` or ``--version``.
    """
    name, second = [*words, "", ""][:2]
    options: Any = COMMANDS.get(name)
    task = _task(second, words[2:])
    if options is not None and issubclass(options, TaskOptions) and _asks_for_presets(words[1:]):
        columns, *rows = table_of_presets()
        print_table("Environments with a preset, which is the default there", columns, rows)
        sys.exit(0)
    if name == "train" and any(word.partition("=")[0] == "--resume" for word in words):
        if task is not None:
            raise UserError(f"--resume takes task and settings from the run: leave out {second}")
        return _parsed(Resume, "train --resume RUN", words[1:])
    if sum(word.partition("=")[0] == "--env-kwargs" for word in words) > 1:
        raise UserError("--env-kwargs is given twice: write all NAME=VALUE after one")
    if options is Benchmark and second in BENCHMARKS:
        return _parsed(BENCHMARKS[second], f"{name} {second}", words[2:])
    if options is not None and options is not Benchmark and not issubclass(options, TaskOptions):
        return _parsed(options, name, words[1:])
    if options is not None and task is not None:
        chosen, file = _chosen(words[2:], options, task)
        algo = chosen.algo or (file.name("algo") if file else "")
        command = options_of(options, task, algo if algo in task.algorithms else None)
        other = "" if command.algo == task.learner else f" --algo {command.algo}"
        return _parsed(command, f"{name} {second}{other}", words[2:], chosen=chosen, file=file)
    if name == "--version":
        if words[1:]:
            raise UserError(f"--version stands alone: leave out {' '.join(words[1:])}")
        print(_PROGRAM, __version__)
        sys.exit(0)
    # No command to run: print help, or report the unknown name with the known ones.
    word = name if options is None else second
    if word and word not in ("-h", "--help") and not word.startswith("--tyro-"):
        if options is None:
            raise UserError(_no_such_name("command", word, list(COMMANDS)))
        if options is Benchmark:
            raise UserError(_no_such_name(name, second, list(BENCHMARKS)))
        others = [*TASKS, "the ids of Gymnasium environments, your own with --import MODULE"]
        raise UserError(_no_such_name("task", word, others, gym.registry))
    if options is Benchmark:
        return _parsed(_any_benchmark(), name, words[1:], options.__doc__)
    if options is not None:
        about = f"{options.__doc__} The id of a Gymnasium environment, such as CartPole-v1, is a task, too."
        return _parsed(_any_task(options), name, words[1:], about)
    return _parsed(reduce(or_, (_any(*item) for item in COMMANDS.items())), "", words, about=_ABOUT)


def _asks_for_presets(words: Sequence[str]) -> bool:
    """Return True for ``--preset list``, and for ``--preset`` alone."""
    followed = zip(words, [*words[1:], "list"], strict=False)  # without words, there is none to follow
    return "--preset=list" in words or ("--preset", "list") in followed


def _task(word: str, others: Sequence[str]) -> Task | None:
    """Return the entry of the task that a word names; None if it can be no task.

    An environment need not be registered yet: a module that registers it may be imported later.

    Args:
        word: the word after the command.
        others: the words after it.
    """
    known = word in TASKS or word in gym.registry or has_preset(word) or ":" in word or "/" in word
    if not known and not any(one.partition("=")[0] == "--import" for one in others):
        return None
    try:
        return None if word.startswith("-") else task_named(word)
    except TypeError:
        return None


def _chosen(words: Sequence[str], kind: Any, task: Task) -> tuple[_Chosen, SettingsFile | None]:
    """Return the choices in the words of a command for a task, and the file of settings that they name.

    Raises:
        UserError: the file cannot be read, or is for another task.
    """
    chosen: Any = _ChosenWithCore if issubclass(kind, TrainOptions) else _Chosen
    try:
        with redirect_stderr(StringIO()):
            found, _ = tyro.cli(chosen, args=words, return_unknown_args=True, add_help=False)
    except SystemExit:  # the whole parser will say what is wrong
        return chosen(), None
    found = with_home(found)
    return found, None if found.config is None else read_settings(found.config, task.name)


def _any(name: str, options: type[Any]) -> Any:
    """Return the type of any command of a name, for the help on all of them."""
    if options is Benchmark:
        group = make_dataclass("Benchmarks", [("what", _any_benchmark())])
        return Annotated[group, subcommand(name, description=options.__doc__)]
    if not issubclass(options, TaskOptions):
        return Annotated[options, subcommand(name)]
    group = make_dataclass("Tasks", [("task", _any_task(options))])
    return Annotated[group, subcommand(name, description=options.__doc__)]


def _any_task(options: Any) -> Any:
    return reduce(
        or_, (Annotated[options_of(options, task), subcommand(name)] for name, task in TASKS.items())
    )


def _any_benchmark() -> Any:
    return reduce(or_, (Annotated[options, subcommand(name)] for name, options in BENCHMARKS.items()))


def _parsed(
    command: Any,
    named: str,
    words: Sequence[str],
    about: str | None = None,
    chosen: _Chosen | None = None,
    file: SettingsFile | None = None,
) -> Any:
    """Parse the words after a command's name.

    The values of a preset, of the core if there is one, and of a file are the defaults, so that ``--help``
    shows them and options override them.

    Args:
        command: the options.
        named: name of the command, with its task.
        words: the words.
        about: its help text; None: that of the options.
        chosen: the choices among the words, for a training.
        file: the file of settings, if there is one.

    Raises:
        UserError: the words are invalid, or an option is for other cores.
        SystemExit: with status 0, after ``--help``.
    """
    program, drawn = f"{_PROGRAM} {named}".rstrip(), StringIO()
    default: dict[str, Any] = {}
    given = _settings_in(words)
    if chosen is not None:
        default = {"default": _defaults(command, chosen, file, given, named)}
    try:
        with redirect_stderr(drawn), _wide_enough():
            parsed, unknown = tyro.cli(
                command,
                prog=program,
                description=about,
                args=words,
                config=_MARKERS,
                return_unknown_args=True,
                **default,
            )
    except SystemExit as stop:
        if stop.code in (None, 0):
            raise
        raise UserError(f"{_message(drawn.getvalue())} (see {program} --help)") from None
    if unknown:
        hint = _of_other_learner(unknown[0], command) or perhaps(unknown[0], _option_names(command))
        text = f"{named} has no {' '.join(unknown)}{hint}"
        raise UserError(f"{text} (see {program} --help)")
    if isinstance(parsed, Evaluate):
        parsed = replace(parsed, named=frozenset(given))
    if chosen is not None:
        cores = [parsed.core] if hasattr(parsed, "core") else parsed.cores
        check_core_options(parsed.learner.cores, cores, given)
        parsed = parsed.with_given(given)
    return with_home(parsed)


def _defaults(
    command: type[TaskOptions],
    chosen: _Chosen,
    file: SettingsFile | None,
    given: Collection[str],
    named: str,
) -> TaskOptions:
    """Return the options of a command with the settings of preset, core and file.

    Those given on the command line, which replace them, are not in it yet.
    """
    presets = command.entry.learners[command.algo].presets
    preset = chosen.preset or (file.name("preset") if file else "")
    options = command.with_preset(preset) if preset in presets else command()
    if isinstance(options, TrainOptions):
        core = getattr(chosen, "core", "") or (file.name("core") if file else "")
        options = options.for_core(core or options.core)
    return with_file(options, file, given, named).with_given(file.names) if file else options


_NARROWEST = 40  # columns


@contextmanager
def _wide_enough() -> Iterator[None]:
    """Set the width of help to the terminal's, with a minimum: tyro wraps narrower lines forever."""
    given, columns = os.environ.get("COLUMNS"), shutil.get_terminal_size().columns
    os.environ["COLUMNS"] = str(max(_NARROWEST, columns))
    try:
        yield
    finally:
        if given is None:
            del os.environ["COLUMNS"]
        else:
            os.environ["COLUMNS"] = given


def _message(drawn: str) -> str:
    """Return the message of an error that tyro has drawn: the first paragraph of the box, in one line."""
    lines = [line.strip("│ ") for line in COLOR.sub("", drawn).splitlines()]
    start = 1 if lines[0].startswith("╭") else 2  # an ASCII terminal has a ruler below the title, no frame
    first = takewhile(lambda line: not _RULER.match(line), lines[start:])
    text = " ".join(" ".join(first).split()).rstrip(". ")
    text = text.partition(" - typing.")[0]  # the other choices of a union, in Python's words
    text = _NOT_WHOLE.sub(r"\1 must be a whole number, such as 1000000, not \2", text[0].lower() + text[1:])
    return _CHOICES.sub(lambda found: ", ".join(sorted(found[1].split(", "))), text)


def _of_other_learner(word: str, command: type[Any]) -> str:
    """Return that another learner of the task has an option, as the end of a message; empty if none has."""
    if not (isinstance(command, type) and issubclass(command, TaskOptions)):
        return ""
    task = command.entry
    for algo in task.algorithms:
        if algo != command.algo and word in _option_names(options_of(command.__base__, task, algo)):
            return f"; it is an option of --algo {algo}"
    return ""


def _option_names(options: Any) -> Iterator[str]:
    """Yield the options of a command, ``--no-NAME`` included."""
    kinds = get_type_hints(options, include_extras=True)
    for name in (one.name for one in fields(options) if one.name not in ("own", "named")):
        if is_dataclass(kinds[name]):
            yield from _option_names(kinds[name])
        else:
            yield flag_of(options, name)
            if kinds[name] is bool:
                yield "--no-" + name.replace("_", "-")


def _settings_in(words: Sequence[str]) -> set[str]:
    """Return the names of the given settings; ``--no-bound-eta`` counts as ``bound_eta``."""
    options = (word[2:].partition("=")[0].replace("-", "_") for word in words if word.startswith("--"))
    return {option.removeprefix("no_") for option in options}


def _no_such_name(what: str, word: str, names: Sequence[str], others: Iterable[str] = ()) -> str:
    """Return the error message for an unknown name, in one line, with a similar name if there is one.

    Args:
        what: kind of the name, such as "command".
        word: the unknown word, which may be an option.
        names: the known names.
        others: further names that it may stand for.
    """
    if word == "--version":
        return "--version stands alone: plasticrl --version"
    if word.startswith("-"):
        return f"the {what} comes before {word}, as in plasticrl train maze --seed 0"
    close = get_close_matches(word, [*names, *others], n=1)
    meant = f" perhaps you meant {close[0]};" if close else ""
    return f"there is no {what} {word};{meant} there are {', '.join(names)}"
