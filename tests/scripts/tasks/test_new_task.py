"""A supervised task is a class, a name for it, and an entry: every command works on it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from plasticrl.envs import Episode, EpisodeTask, zero_reference
from plasticrl.envs.supervised import make_task as tasks_by_name
from plasticrl.envs.supervised.task import Predictor
from plasticrl.scripts.main import main
from plasticrl.scripts.settings.groups import Between, Preset
from plasticrl.scripts.settings.supervised import PATTERNS_PRESETS, EpisodeTrainingSettings
from plasticrl.scripts.settings.tasks import TASKS, ShownMetric, Task


class EchoTask(EpisodeTask):
    """Show a vector, wait, and complete the vector from its first half."""

    def __init__(self, delay: int, width: int = 6) -> None:
        self.delay, self.input_shape, self.steps = delay, (width,), delay + 2

    def sample(self, batch_size: int, rng: np.random.Generator) -> Episode:
        target = rng.choice(np.float32([-1, 1]), (batch_size, *self.input_shape))
        hidden = np.tile(np.arange(target.shape[1]) >= target.shape[1] // 2, (batch_size, 1))
        inputs = np.zeros((self.steps, *target.shape), dtype=np.float32)
        inputs[0], inputs[-1] = target, np.where(hidden, 0, target)
        scored = np.zeros(inputs.shape[:2], dtype=np.bool_)
        scored[-1] = True
        return Episode(inputs, inputs != 0, None, target, scored, hidden)


class ComparedEchoTask(EchoTask):
    """The same with a reference."""

    def references(self) -> Mapping[str, Predictor]:
        return {"zero": zero_reference}


@dataclass(frozen=True)
class EchoSettings:
    """The echo to learn."""

    delay: int
    """Steps between a vector and the query."""


PATTERNS = TASKS["patterns"]
_COMMON = {name: group for name, group in PATTERNS_PRESETS["text"].groups.items() if name != "patterns"}
NEAR = Preset({**_COMMON, "echo": EchoSettings(delay=2)}, {"learning_rate": Between(1e-4, 1e-2)})
ECHO = Task(
    name="echo",
    kind="supervised",
    about={name: f"{name.title()} on echoes." for name in PATTERNS.about},
    settings=EchoSettings,
    training=EpisodeTrainingSettings,
    learners={"supervised": replace(PATTERNS.learners["supervised"], presets={"near": NEAR})},
    core_help=PATTERNS.core_help,
    metrics=(ShownMetric("hidden_bit_error", "wrong hidden bits", "{:.2f}".format, -1),),
    mean=PATTERNS.mean,
    total="total_episodes",
    counter="time/episodes",
)
TINY = ["--total-episodes", "12", "--eval-episodes", "4", "--checkpoints", "2", "--quiet"]


@pytest.mark.parametrize(("kind", "references"), [(EchoTask, set()), (ComparedEchoTask, {"zero"})])
@pytest.mark.parametrize("core", list(ECHO.learners["supervised"].cores))
def test_a_new_task_is_trained_evaluated_and_compared(
    kind: type[EchoTask],
    references: set[str],
    core: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(TASKS, "echo", ECHO)
    monkeypatch.setitem(tasks_by_name._TASKS, "echo", kind)
    small = ["--hidden-size", "8"] if core == "lstm" else []
    words = ["echo", *small, "--root", str(tmp_path), "--threads", "1", "--delay", "3", *TINY]
    assert main(["train", *words, "--core", core]) == 0
    folder = tmp_path / "echo" / core / "seed_0"
    result = json.loads((folder / "result.json").read_text())
    assert set(result["evaluation"]["references"]) == references
    capsys.readouterr()
    assert main(["evaluate", str(folder), "--json"]) == 0
    evaluated = json.loads(capsys.readouterr().out)
    assert evaluated["metrics"] == result["evaluation"]["metrics"]
    assert main(["compare", *words, "--cores", core, "--seeds", "1", "--jobs", "1"]) == 0
    assert "wrong hidden bits" in capsys.readouterr().out
