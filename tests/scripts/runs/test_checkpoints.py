import errno
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from stable_baselines3.common.logger import Logger

from plasticrl.agents.checkpoint.tensor_file import write_tensors
from plasticrl.scripts.experiments.training import SaveCheckpoints
from plasticrl.scripts.runs.checkpoints import CheckpointFolder


class Learner:
    """Saves a file of its own, or fails as a full disk does."""

    def __init__(self, num_timesteps: int, fails: bool = False) -> None:
        self.num_timesteps, self.fails = num_timesteps, fails
        self.logger = Logger(None, [])

    def save(self, path: Path) -> None:
        if self.fails:
            raise OSError(28, "No space left on device")
        write_tensors(path, {"weight": torch.zeros(3)}, {"steps": self.num_timesteps})


def names(folder: Path) -> list[int]:
    return sorted(int(path.stem.removeprefix("step_")) for path in folder.glob("step_*.safetensors"))


@pytest.mark.parametrize(("keep", "left"), [(1, [4]), (2, [3, 4]), (9, [1, 2, 3, 4]), (None, [1, 2, 3, 4])])
def test_the_newest_are_kept(keep: int | None, left: list[int], tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path, keep)
    for step in range(1, 5):
        folder.save(Learner(step))
    assert names(tmp_path) == left


def test_nothing_is_removed_before_the_new_one_is_whole(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path, 2)
    for step in (1, 2):
        folder.save(Learner(step))
    with pytest.raises(OSError, match="No space"):
        folder.save(Learner(3, fails=True))
    assert names(tmp_path) == [1, 2]


def test_damaged_ones_are_told_set_aside_and_do_not_count(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = CheckpointFolder(tmp_path, 2)
    for step in (1, 2):
        folder.save(Learner(step))
    newest = folder.newest_first()[0]
    newest.write_bytes(newest.read_bytes()[:-1])
    usable = folder.usable()
    assert usable is not None
    assert names(tmp_path) == [1]
    said = capsys.readouterr().err
    assert f"warning: {newest}" in said
    assert "renamed to" in said
    assert "the previous one is used" in said
    folder.save(Learner(2))
    assert names(tmp_path) == [1, 2]


def test_where_all_are_damaged_it_says_that_the_training_begins_anew(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = CheckpointFolder(tmp_path, 2)
    for step in (1, 2):
        path = folder.save(Learner(step))
        path.write_bytes(path.read_bytes()[:-1])
    assert folder.usable() is None
    first, last = capsys.readouterr().err.splitlines()
    assert first.endswith("the previous one is used")
    assert last.endswith("the training starts over")


def test_what_a_killed_process_left_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = CheckpointFolder(tmp_path, 2)
    folder.save(Learner(1))
    unfinished: list[Path] = []
    replace = os.replace

    def keep_unfinished(source: Path, target: Path) -> None:
        unfinished.append(source.with_suffix(".4711"))  # as if that had been the process, and died here
        shutil.copy(source, unfinished[0])
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", keep_unfinished)
        folder.save(Learner(2))
    (left,) = unfinished
    assert left.exists()
    assert folder.usable() == folder.newest_first()[0]
    assert not left.exists()


def test_an_empty_folder_has_none(tmp_path: Path) -> None:
    assert CheckpointFolder(tmp_path, 2).usable() is None


BY_CLOCK = [
    (None, [[], [20], [20], [40], [100], [100], [100, 120]]),
    (2, [[], [20], [20], [20, 40], [40, 100], [40, 100], [100, 120]]),
]


@pytest.mark.parametrize(("keep", "expected"), BY_CLOCK)
def test_slow_trainings_are_saved_by_the_clock_too(
    keep: int | None, expected: list[list[int]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [0.0]
    monkeypatch.setattr("plasticrl.scripts.experiments.training.time.monotonic", lambda: clock[0])
    model: Any = Learner(0)
    callback = SaveCheckpoints(100, 1000, CheckpointFolder(tmp_path, keep))
    callback.model = model
    callback._on_training_start()
    seen = []
    for step, now in ((10, 10), (20, 70), (30, 80), (40, 140), (100, 150), (110, 160), (120, 215)):
        callback.num_timesteps = model.num_timesteps = step
        clock[0] = now
        callback.on_rollout_start()
        seen.append(names(tmp_path))
    assert seen == expected


@pytest.mark.parametrize("error", [OSError(errno.EIO, "Input/output error"), MemoryError()])
def test_what_cannot_be_read_at_the_moment_is_not_set_aside(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = CheckpointFolder(tmp_path, None)
    for step in (1, 2):
        folder.save(Learner(step))

    def fail(_: Path) -> None:
        raise error

    monkeypatch.setattr("plasticrl.agents.checkpoint.tensor_file.read_tensors", fail)
    with pytest.raises(type(error)):
        folder.usable()
    assert names(tmp_path) == [1, 2]
