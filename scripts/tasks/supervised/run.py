"""A training on a supervised task, and the metrics that are shown of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from plasticrl.scripts.runs.run import EvaluationChoices, Run, ShownMetric, also
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

if TYPE_CHECKING:
    from plasticrl.scripts.reports.comparison import EpisodeComparison
    from plasticrl.scripts.tasks.supervised.training import EpisodeTrainer
    from plasticrl.scripts.tasks.task import Evaluated


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
"""The first metric of each task is the one that ranks the networks."""


_GROUPS = ("network", "descent", "training")
_SETTINGS: dict[str, tuple[type[Any], type[Any], type[Any]]] = {
    "patterns": (PatternsSettings, CompletionSettings, DescentSettings),
    "images": (ImagesSettings, CompletionSettings, DescentSettings),
    "omniglot": (OmniglotSettings, OneShotSettings, ClassDescentSettings),
}
# Options that may differ between evaluation and training.
_ELSEWHERE = {
    "patterns": (),
    "images": ("data_dir", "dataset", "occlusion", "share"),
    "omniglot": ("data_dir", "n_way", "k_shot"),
}


@dataclass(frozen=True)
class EpisodeRun(Run):
    """A core, a seed, and all settings of the task, the network and the training.

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

    def trainer(self, device: str) -> EpisodeTrainer:
        """Build the task and the learner; see :class:`Run`."""
        from plasticrl.scripts.tasks.supervised.training import EpisodeTrainer

        return EpisodeTrainer(self, device)

    def evaluate(self, checkpoint: Path, episodes: int, seed: int, choices: EvaluationChoices) -> Evaluated:
        """Evaluate a checkpoint on held-out episodes; see :class:`Run`."""
        from plasticrl.scripts.runs.checkpoints import load_learner
        from plasticrl.scripts.tasks.supervised.scores import evaluate
        from plasticrl.scripts.tasks.supervised.setup import data_sizes, make_tasks
        from plasticrl.scripts.tasks.task import Evaluated

        given = self.options_for(choices, *_ELSEWHERE[self.name])
        tasks = make_tasks(replace(self, data_dir=given.pop("data_dir", None)), given)
        learner = load_learner(checkpoint, self, choices.device, tasks.train)
        scores = evaluate(learner, self.name, tasks, episodes=episodes, seed=seed)
        trained = f"{learner.num_timesteps:,} episodes" + also(given)
        return Evaluated(scores, trained, {**given, "data": data_sizes(tasks)})

    def compare(self, runs: Sequence[EpisodeRun], root: Path) -> EpisodeComparison:
        """Compare finished runs of this task; see :class:`Run`."""
        from plasticrl.scripts.reports.comparison import compare_episodes

        return compare_episodes(self.name, runs, root)
