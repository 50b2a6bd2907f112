"""Runs as data: everything that decides what one training learns, and what its results are called.

What is done with a run (training, evaluation, comparison) is in :mod:`plasticrl.scripts.tasks.registry`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, TypeAlias

from typing_extensions import Self

from plasticrl.scripts.settings.maze import AgentSettings, CoreChoice, MazeSettings, TrainingSettings
from plasticrl.scripts.settings.reading import settings_from, value_of
from plasticrl.scripts.settings.supervised import (
    ClassDescentSettings,
    CompletionCore,
    CompletionSettings,
    DescentSettings,
    EpisodeTaskName,
    EpisodeTrainingSettings,
    ImagesSettings,
    OmniglotSettings,
    OneShotCore,
    OneShotSettings,
    PatternsSettings,
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


@dataclass(frozen=True)
class Run(ABC):
    """One training: the contents of ``config.json``.

    Attributes:
        core: the kind of network.
        seed: seed of the weights and of the training data.
    """

    core: str
    seed: int

    @property
    @abstractmethod
    def task(self) -> str:
        """Name of the task, and of its folder."""

    @property
    @abstractmethod
    def total(self) -> int:
        """Length of the training, in the task's own unit."""

    @property
    @abstractmethod
    def eval_episodes(self) -> int:
        """Number of episodes of the final evaluation."""

    @property
    @abstractmethod
    def counter(self) -> str:
        """Column of ``progress.csv`` that counts the unit of :attr:`total`."""

    @property
    @abstractmethod
    def main_metric(self) -> ShownMetric:
        """The metric that ranks runs of this task."""

    @abstractmethod
    def score(self, evaluation: dict[str, Any]) -> float:
        """Return the main metric from the evaluation in a ``result.json``, signed: higher is better.

        Raises:
            KeyError, TypeError, ValueError: it is missing or not a number.
        """

    @property
    def reads_data(self) -> bool:
        """True if the task reads files of a dataset."""
        return False

    def with_data_dir(self, data_dir: Path | None) -> Self:
        """Return the run with another folder of the data; the same run if its task has no such setting."""
        return self

    @property
    def label(self) -> str:
        """Name of the run in progress lines."""
        return f"{self.core} seed {self.seed}"

    def folder(self, root: Path) -> Path:
        """Return the run's own folder below ``root``."""
        return root / self.task / self.core / f"seed_{self.seed}"

    @abstractmethod
    def as_dict(self) -> dict[str, Any]:
        """Return plain values, for JSON."""

    @classmethod
    @abstractmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Restore a run from :meth:`as_dict`.

        Raises:
            KeyError: a setting is missing.
            TypeError: a setting has the wrong type or is unknown.
        """


@dataclass(frozen=True)
class _OnMaze(Run):
    """A core, a seed, the maze, and the length of the training."""

    maze: MazeSettings
    training: TrainingSettings

    @staticmethod
    def _shared_arguments(data: dict[str, Any]) -> dict[str, Any]:
        """Return the arguments shared by all runs on the maze from the result of :meth:`as_dict`.

        Returns:
            ``seed``, ``maze`` and ``training``.

        Raises:
            KeyError: one of them is missing.
            TypeError: a value has the wrong type.
        """
        return {
            "seed": value_of(int, "seed", data["seed"]),
            "maze": settings_from(MazeSettings, data["maze"]),
            "training": settings_from(TrainingSettings, data["training"]),
        }

    @property
    def task(self) -> str:
        """Name of the task."""
        return "maze"

    @property
    def total(self) -> int:
        """Number of environment steps of the training."""
        return self.training.total_timesteps

    @property
    def eval_episodes(self) -> int:
        """Number of episodes of the final evaluation."""
        return self.training.eval_episodes

    @property
    def counter(self) -> str:
        """Column of ``progress.csv`` that counts the environment steps."""
        return "time/total_timesteps"

    @property
    def main_metric(self) -> ShownMetric:
        """The metric points per episode."""
        return ShownMetric("mean_reward", "points per episode", "{:.1f}".format, 1)

    def score(self, evaluation: dict[str, Any]) -> float:
        """Return the points per episode; see :class:`Run`."""
        return float(evaluation["mean_reward"])

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, for JSON."""
        return {"task": self.task, **asdict(self)}


@dataclass(frozen=True)
class MazeRun(_OnMaze):
    """A training of RecurrentA2C: a core, a seed, and all settings of maze, agent and training."""

    agent: AgentSettings

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> MazeRun:
        """Restore a run from :meth:`as_dict`; see :class:`Run`."""
        return cls(
            core=value_of(CoreChoice, "core", data["core"]),
            **cls._shared_arguments(data),
            agent=settings_from(AgentSettings, data["agent"]),
        )


RECURRENT_PPO = "recurrent_ppo"


@dataclass(frozen=True)
class PPOSettings:
    """Network and learning algorithm of RecurrentPPO; settings not listed here are sb3-contrib's defaults."""

    hidden_size: int
    """Number of LSTM cells."""
    learning_rate: float
    """Initial learning rate of Adam."""
    final_learning_rate: float
    """Final learning rate, approached linearly."""
    n_steps: int
    """Steps of each environment per rollout."""
    batch_size: int
    """Minibatch size, in steps."""
    n_epochs: int
    """Number of passes over the rollout per update."""
    gamma: float
    """Discount factor."""
    gae_lambda: float
    """Lambda of generalised advantage estimation: trade-off between bias and variance."""
    ent_coef: float
    """Weight of the entropy bonus."""
    vf_coef: float
    """Weight of the value loss."""
    max_grad_norm: float
    """Clip the gradient to this norm."""


@dataclass(frozen=True)
class PPORun(_OnMaze):
    """A training of sb3-contrib's RecurrentPPO: a seed, and all settings of maze, agent and training."""

    ppo: PPOSettings

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> PPORun:
        """Restore a run from :meth:`as_dict`; see :class:`Run`."""
        return cls(
            core=value_of(Literal["recurrent_ppo"], "core", data["core"]),
            **cls._shared_arguments(data),
            ppo=settings_from(PPOSettings, data["ppo"]),
        )


RunOnMaze: TypeAlias = MazeRun | PPORun


def _share(value: float) -> str:
    return f"{100 * value:.2f}%"


SHOWN_METRICS: Mapping[EpisodeTaskName, tuple[ShownMetric, ...]] = MappingProxyType(
    {
        "patterns": (
            ShownMetric("bit_error", "wrong bits", _share, -1),
            ShownMetric("hidden_bit_error", "wrong hidden bits", _share, -1),
        ),
        "images": (
            ShownMetric("hidden_mse", "squared error, hidden pixels", "{:.4f}".format, -1),
            ShownMetric("hidden_psnr", "PSNR (dB)", "{:.2f}".format, 1),
            ShownMetric("hidden_correlation", "correlation", "{:.3f}".format, 1),
        ),
        "omniglot": (ShownMetric("accuracy", "right answers", _share, 1),),
    }
)
"""The metrics of each supervised task; the first one ranks the networks."""


_GROUPS = ("network", "descent", "training")
_SETTINGS: dict[str, tuple[type[Any], type[Any], type[Any]]] = {
    "patterns": (PatternsSettings, CompletionSettings, DescentSettings),
    "images": (ImagesSettings, CompletionSettings, DescentSettings),
    "omniglot": (OmniglotSettings, OneShotSettings, ClassDescentSettings),
}


@dataclass(frozen=True)
class EpisodeRun(Run):
    """A training on a supervised task: a core, a seed, and all settings of task, network and training.

    Attributes:
        name: name of the task.
        data_dir: folder of the data; not part of ``config.json``, since it does not affect the results.
    """

    name: EpisodeTaskName
    settings: PatternsSettings | ImagesSettings | OmniglotSettings
    network: CompletionSettings | OneShotSettings
    descent: DescentSettings
    training: EpisodeTrainingSettings
    data_dir: Path | None = None

    @property
    def task(self) -> EpisodeTaskName:
        """Name of the task."""
        return self.name

    @property
    def total(self) -> int:
        """Number of training episodes."""
        return self.training.total_episodes

    @property
    def eval_episodes(self) -> int:
        """Number of episodes of the final evaluation."""
        return self.training.eval_episodes

    @property
    def counter(self) -> str:
        """Column of ``progress.csv`` that counts the episodes."""
        return "time/episodes"

    @property
    def main_metric(self) -> ShownMetric:
        """The first metric of the task."""
        return SHOWN_METRICS[self.name][0]

    def score(self, evaluation: dict[str, Any]) -> float:
        """Return the main metric, signed such that higher is better; see :class:`Run`."""
        metric = self.main_metric
        return metric.sign * float(evaluation["metrics"][metric.name]["mean"])

    @property
    def reads_data(self) -> bool:
        """True unless the episodes are generated."""
        return self.name != "patterns"

    def with_data_dir(self, data_dir: Path | None) -> EpisodeRun:
        """Return the run with another folder of the data."""
        return replace(self, data_dir=data_dir)

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, for JSON."""
        groups = {self.name: self.settings, **{name: getattr(self, name) for name in _GROUPS}}
        return {
            "task": self.name,
            "core": self.core,
            "seed": self.seed,
            **{name: asdict(group) for name, group in groups.items()},
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> EpisodeRun:
        """Restore a run from :meth:`as_dict`; see :class:`Run`."""
        task, network, descent = _SETTINGS[data["task"]]
        return cls(
            core=value_of(
                OneShotCore if data["task"] == "omniglot" else CompletionCore, "core", data["core"]
            ),
            seed=value_of(int, "seed", data["seed"]),
            name=data["task"],
            settings=settings_from(task, data[data["task"]]),
            network=settings_from(network, data["network"]),
            descent=settings_from(descent, data["descent"]),
            training=settings_from(EpisodeTrainingSettings, data["training"]),
        )


def run_from_dict(data: dict[str, Any]) -> Run:
    """Restore a run of any kind from its ``as_dict``.

    Raises:
        KeyError, TypeError: ``data`` is not the dict of a run.
    """
    if data["task"] != "maze":
        return EpisodeRun.from_dict(data)
    return (PPORun if data["core"] == RECURRENT_PPO else MazeRun).from_dict(data)
