"""A trainer trains whatever has SB3's interface, here an algorithm of SB3 itself."""

import csv
import json
import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from stable_baselines3 import A2C
from torch.distributions import Categorical

from plasticrl.agents.common.finite_checks import NonFiniteError
from plasticrl.scripts.errors import UserError
from plasticrl.scripts.experiments import training
from plasticrl.scripts.experiments.paper import EXPERIMENTS
from plasticrl.scripts.experiments.training import TaskCode
from plasticrl.scripts.runs.run import Run
from plasticrl.scripts.runs.terminal import Report
from plasticrl.scripts.settings.maze import OutputSettings
from plasticrl.scripts.tasks.environments.training import make_trainer
from plasticrl.scripts.tasks.task import Trainer


@pytest.fixture
def run() -> Run:
    run = EXPERIMENTS["maze", "quick"].condition("plastic").run
    assert run.learner == "a2c"
    length = replace(run.training, total_timesteps=400, n_envs=4, eval_episodes=2, checkpoints=5)
    return run.with_groups(maze=replace(run.maze, size=5, episode_length=20), training=length)


@pytest.fixture
def trainer(run: Run, monkeypatch: pytest.MonkeyPatch) -> Trainer:
    trainer = make_trainer(run, "cpu")
    trainer.learner = A2C("MlpPolicy", trainer.learner.get_env(), n_steps=5, seed=0, device="cpu")
    trainer.callbacks = lambda every: []
    entry = TaskCode(lambda run, device: trainer, None)  # type: ignore[arg-type]
    monkeypatch.setattr(training, "task_of", lambda run: entry)
    return trainer


def train(run: Run, root: Path) -> list[Report]:
    reports: list[Report] = []
    training.train(run, OutputSettings(root=root, threads=1, device="cpu", quiet=True), reports.append)
    return reports


def test_an_algorithm_of_sb3(run: Run, trainer: Trainer, tmp_path: Path) -> None:
    reports = train(run, tmp_path)
    folder = run.folder(tmp_path)
    assert (reports[-1].done, reports[-1].unit) == (400, "steps")
    assert reports[-1].value is not None
    result = json.loads((folder / "result.json").read_text())
    assert (result["steps"], result["evaluation"]["episodes"]) == (400, 2)
    with (folder / "progress.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["time/total_timesteps"]) for row in rows] == list(range(20, 401, 20))
    seconds = [float(row["time/seconds"]) for row in rows]
    assert seconds == sorted(seconds)
    assert 0 < seconds[-1] <= result["seconds"] + 0.001  # rounded
    assert sorted(int(path.stem.removeprefix("step_")) for path in (folder / "checkpoints").iterdir()) == [
        320,
        400,
    ]


def draw_from(probability: float) -> None:
    """As a policy does, whose weights are finite and whose outputs overflow."""
    Categorical(torch.tensor([probability, 1.0]), validate_args=True)  # whatever the default is by now


def draw_unchecked(probability: float) -> None:
    Categorical(torch.tensor([probability, 1.0]), validate_args=False).sample()


def fail() -> None:
    raise NonFiniteError("loss is not finite, after 3 updates. The parameters are those of the last one")


def defect() -> None:
    raise ValueError("Expected parameter logits of another function, with invalid values")


DIVERGENCES = [fail, partial(draw_from, math.nan), partial(draw_unchecked, math.inf)]


@pytest.mark.parametrize("error", DIVERGENCES)
def test_a_divergence_is_known_by_its_type_or_by_where_it_is_raised(
    error: Callable[[], None], run: Run, trainer: Trainer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(A2C, "train", lambda self: error())
    with pytest.raises(UserError, match=r"the training diverged after 20 steps \(.*\): try a lower"):
        train(run, tmp_path)


def test_another_error_is_no_divergence_whatever_it_says(
    run: Run, trainer: Trainer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(A2C, "train", lambda self: defect())
    with pytest.raises(ValueError, match="invalid values"):
        train(run, tmp_path)
