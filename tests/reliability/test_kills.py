"""kill -9 at any moment loses nothing but the work since the last save."""

import json
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from children import start
from equal_runs import check_same, checkpoints

from plasticrl.agents.checkpoint.tensor_file import read_tensors
from plasticrl.scripts.main import main

pytestmark = pytest.mark.cluster

TASKS = {
    "maze": [
        *["--size", "5", "--episode-length", "20", "--hidden-size", "8", "--n-envs", "4"],
        *["--total-timesteps", "8000", "--checkpoints", "20"],
    ],
    "patterns": ["--n-bits", "12", "--n-cycles", "1", "--total-episodes", "400", "--checkpoints", "20"],
}
ALIKE = ["--eval-episodes", "4", "--threads", "1", "--quiet"]
INSIDE = ("half written", "written", "flushed", "replaced")  # where in a save


def words(task: str, root: Path) -> list[str]:
    return ["train", task, "--root", str(root), *TASKS[task], *ALIKE]


def folder(task: str, root: Path) -> Path:
    return root / task / "plastic" / "seed_0"


class Killer:
    """Starts trainings and kills them; a fixed seed says when, the machine's speed decides where that is."""

    def __init__(self, task: str, scratch: Path, seconds: float) -> None:
        self.task, self.scratch, self.seconds = task, scratch, seconds
        self.rng = random.Random(0)
        self.counts = dict.fromkeys((*INSIDE, "any moment"), 0)

    def kill(self, root: Path, point: str) -> bool:
        """Whether the training was still going on when it was killed."""
        when = (point, self.rng.randint(1, 8), "checkpoints/") if point in INSIDE else None
        said = self.scratch / "said"
        process = start("train", words=words(self.task, root), said=str(said), when=when, file_size=None)
        if when is None:
            time.sleep(self.rng.uniform(0, self.seconds))
            process.kill()
        process.join(120)
        assert process.exitcode in (0, -9), said.read_text()
        killed = process.exitcode == -9
        self.counts[point] += killed
        return killed


FILES = {"config.json": 1, "progress.csv": 1, "tfevents": 1, "result.json": 1}


@pytest.mark.parametrize("point", ["half written", "flushed", "replaced"])
@pytest.mark.parametrize("name", FILES)
def test_killed_while_it_writes_any_other_file_it_goes_on_to_the_same_bits(
    name: str, point: str, finished: Path, tmp_path: Path
) -> None:
    """The old file is there, or the new one, and both are whole."""
    run, said, given = folder("patterns", tmp_path), tmp_path / "said", words("patterns", tmp_path)

    def die(*when: Any) -> None:
        process = start("train", words=given, said=str(said), when=when, file_size=None)
        process.join(120)
        assert process.exitcode == -9, said.read_text()

    if name in ("progress.csv", "tfevents"):  # which are cut where a training goes on
        die("replaced", 5, "checkpoints/")
    there = {path.name: path.read_bytes() for path in run.glob("*") if path.is_file()}
    die(point, FILES[name], name)
    left = [path for path in run.iterdir() if name in path.name and not path.name.startswith(".")]
    if point != "replaced":
        assert {path.name: path.read_bytes() for path in left} == {
            key: value for key, value in there.items() if name in key
        }
    for path in left:
        if path.suffix == ".json":
            json.loads(path.read_text())
    if (run / "result.json").exists():
        assert (name, point) == ("result.json", "replaced")
    else:
        assert main(given) == 0
    check_same(run, finished)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing stopped."""
    root = tmp_path_factory.mktemp("finished")
    assert main(words("patterns", root)) == 0
    return folder("patterns", root)


@pytest.mark.parametrize("task", TASKS)
def test_killed_at_any_moment_it_goes_on_to_the_same_bits(
    task: str, tmp_path: Path, soak: bool, figures: Callable[..., None]
) -> None:
    began = time.monotonic()
    assert main(words(task, tmp_path / "whole")) == 0
    killer = Killer(task, tmp_path, time.monotonic() - began)
    points = [*INSIDE, "any moment", "any moment"] * 9 if soak else ["half written", "flushed", "any moment"]
    resumed = 0
    while points:
        root = tmp_path / f"run_{resumed}"
        run, newest = folder(task, root), 0
        while points and not (run / "result.json").exists():
            if killer.kill(root, points[-1]):
                points.pop()
            kept = checkpoints(run)
            for path in kept.values():
                read_tensors(path)  # is whole
            assert max(kept, default=0) >= newest  # what was saved is still there
            newest = max(kept, default=0)
        finished = (run / "result.json").exists()
        assert main(words(task, root)) == (2 if finished else 0)
        check_same(run, folder(task, tmp_path / "whole"))
        assert not list(run.rglob(".step_*"))  # no litter
        resumed += 1
    figures(
        f"kills_{task}",
        kills=sum(killer.counts.values()),
        inside_a_save=sum(killer.counts[point] for point in INSIDE),
        by_moment=killer.counts,
        runs_compared=resumed,
        checkpoints_lost_or_damaged=0,
        runs_that_differ=0,
    )
