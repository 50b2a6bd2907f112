"""``plasticrl sweep --search``: on the real Ray, with the real Optuna."""

import csv
import json
import pickle
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from equal_runs import check_same, checkpoints
from PIL import Image

from plasticrl.scripts.commands import SweepOptions, options_of, parse
from plasticrl.scripts.experiments.search import Drawing, Study
from plasticrl.scripts.main import main
from plasticrl.scripts.runs.folder import BusyError, locked
from plasticrl.scripts.settings.maze import OutputSettings
from plasticrl.scripts.settings.tasks import TASKS
from plasticrl.scripts.tasks.task import processors

SWEEP_PATTERNS = options_of(SweepOptions, TASKS["patterns"])
FIRST = 100_000
SMALL = ["--n-bits", "8", "--n-cycles", "1", "--batch-size", "4", "--eval-episodes", "20"]
PATIENCE = 240


def command(root: Path, trials: int, *more: str) -> list[str]:
    words = ["patterns", "--search", "--trials", str(trials), "--root", str(root), "--quiet"]
    return [sys.executable, "-m", "plasticrl.scripts.sweep", *words, *SMALL, *more]


def run(root: Path, trials: int, *more: str, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    words = command(root, trials, *more)
    return subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=PATIENCE, check=False)


def results(root: Path) -> Any:
    return json.loads((root / "search" / "patterns" / "search.json").read_text())


def of_core(root: Path, core: str) -> list[Any]:
    return [one for one in results(root)["trials"] if one["core"] == core]


def folder(root: Path, core: str, seed: int) -> Path:
    return root / "search" / "patterns" / core / f"seed_{seed}"


TRIALS = 4
BROKEN = 1  # the trial of the rnn that cannot be trained


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A search, one trial after another so that it is the same each time; one of them fails."""
    root = tmp_path_factory.mktemp("searched")
    in_the_way = folder(root, "rnn", FIRST + BROKEN)
    in_the_way.mkdir(parents=True)
    (in_the_way / "checkpoints").write_text("a file where a folder should be")
    options = ["--cores", "plastic", "rnn", "--total-episodes", "600", "--cpus-per-run", str(processors())]
    done = run(root, TRIALS, *options)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return root, done.stdout


@pytest.mark.cluster
def test_each_core_gets_its_trials_and_only_its_own_settings(searched: tuple[Path, str]) -> None:
    root, _ = searched
    common = {"learning_rate", "init_scale"}
    for core, names in (("plastic", common | {"rule", "eta"}), ("rnn", common)):
        trials = of_core(root, core)
        assert sorted(one["seed"] for one in trials) == list(range(FIRST, FIRST + TRIALS))
        assert all(one["settings"].keys() == names for one in trials)
        assert len({one["settings"]["learning_rate"] for one in trials}) == TRIALS
        for one in trials:
            config = (
                json.loads((folder(root, core, one["seed"]) / "config.json").read_text())
                if (one["state"] != "failed")
                else None
            )
            if config is not None:
                trained = {**config["network"], **config["descent"]}
                assert {name: trained[name] for name in names} == one["settings"]
                assert trained["final_learning_rate"] == trained["learning_rate"]  # the preset's is constant


@pytest.mark.cluster
def test_the_given_settings_come_first(searched: tuple[Path, str]) -> None:
    first = next(one for one in of_core(searched[0], "plastic") if one["seed"] == FIRST)
    assert first["settings"] == {"learning_rate": 1e-3, "init_scale": 0.01, "rule": "hebb", "eta": 0.01}


@pytest.mark.cluster
def test_states_are_what_became_of_the_runs(searched: tuple[Path, str]) -> None:
    root, _ = searched
    trials = results(root)["trials"]
    for one in trials:
        run_folder = folder(root, one["core"], one["seed"])
        assert (one["state"] == "finished") == (run_folder / "result.json").exists()
        if one["state"] == "finished":
            evaluation = json.loads((run_folder / "result.json").read_text())["evaluation"]
            assert one["score"] == evaluation["metrics"]["bit_error"]["mean"]
            assert one["done"] == 600
        elif one["state"] == "stopped early":
            assert 600 / 8 <= one["done"] < 600
    failed = [(one["core"], one["seed"]) for one in trials if one["state"] == "failed"]
    assert failed == [("rnn", FIRST + BROKEN)]
    assert any(one["state"] == "stopped early" for one in trials)


@pytest.mark.cluster
def test_the_best_is_told_as_a_command_that_trains_it_again(
    searched: tuple[Path, str], tmp_path: Path
) -> None:
    root, said = searched
    finished = [one for one in of_core(root, "plastic") if one["state"] == "finished"]
    best = min(finished, key=lambda one: one["score"])
    told = results(root)["best"]["plastic"]
    assert told in said
    words = told.split()
    parsed: Any = parse(words[1:])
    for name, value in best["settings"].items():
        assert parsed.value(name) == value
    again = [*words[1:], "--seed", str(best["seed"]), "--root", str(tmp_path), "--quiet"]
    assert main([*again, "--threads", str(processors())]) == 0
    check_same(
        tmp_path / "patterns" / "plastic" / f"seed_{best['seed']}", folder(root, "plastic", best["seed"])
    )


@pytest.mark.cluster
def test_a_failure_is_told_and_table_and_picture_are_written(searched: tuple[Path, str]) -> None:
    root, said = searched
    assert f"failed: rnn seed {FIRST + BROKEN}: " in said
    with (root / "search" / "patterns" / "search.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 * TRIALS
    assert {row["eta"] for row in rows if row["core"] == "rnn"} == {""}
    with Image.open(root / "search" / "patterns" / "search.png") as picture:
        assert picture.size[0] > 600


@pytest.mark.cluster
def test_another_search_in_the_way_is_refused_and_kept(searched: tuple[Path, str]) -> None:
    root, _ = searched
    before = (root / "search" / "patterns" / "search.json").read_bytes()
    done = run(root, TRIALS, "--cores", "plastic", "--total-episodes", "700")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "total_episodes was 600, now 700" in done.stderr
    assert (root / "search" / "patterns" / "search.json").read_bytes() == before


@pytest.mark.cluster
def test_the_same_command_goes_on_after_the_driver_was_killed(tmp_path: Path) -> None:
    options = ["--cores", "rnn", "--total-episodes", "1500"]
    seeds = range(FIRST, FIRST + 3)
    study = tmp_path / "search" / "patterns" / "rnn.optuna"
    with subprocess.Popen(command(tmp_path, 3, *options), stderr=subprocess.PIPE, text=True) as driver:
        deadline = time.monotonic() + PATIENCE
        while not (
            any(checkpoints(folder(tmp_path, "rnn", seed)) for seed in seeds)
            and study.read_bytes().count(b'"op_code":4,') == len(seeds)  # all trials are drawn
        ):
            assert driver.poll() is None, driver.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.01)
        driver.kill()
    configs = {path: path.read_bytes() for path in tmp_path.rglob("config.json")}
    done = run(tmp_path, 3, *options)
    assert done.returncode == 0, done.stderr
    assert sorted(one["seed"] for one in of_core(tmp_path, "rnn")) == list(seeds)
    assert {path: path.read_bytes() for path in configs} == configs  # the trials that had begun, no others
    assert len(list(tmp_path.rglob("config.json"))) == 3
    # A search is never too late to be widened; and what a full disk left of a last line is no obstacle.
    study.write_bytes(study.read_bytes() + b'{"op_code": 5, "wor')
    more = run(Path(tmp_path.name), 4, *options, folder=tmp_path.parent)
    assert more.returncode == 0, more.stderr
    found = sorted(one["seed"] for one in of_core(tmp_path, "rnn"))
    assert found[:3] == list(seeds)
    assert len(found) == 4
    assert found[3] > seeds[-1]


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--search", "--local"], "leave out --local"),
        (["--search", "--seeds", "3"], "--seeds does not apply to --search"),
        (["--trials", "3"], "--trials needs --search"),
        (["--search", "--trials", "0"], "trials must be from 1"),
        (["--search", "--learning-rate", "-1"], "learning_rate must be finite"),
    ],
)
def test_bad_input(
    options: list[str], complaint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["sweep", "patterns", "--root", str(tmp_path), *SMALL, *options]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert complaint in said
    assert list(tmp_path.iterdir()) == []


@pytest.mark.cluster
def test_a_search_under_way_is_left_alone(tmp_path: Path) -> None:
    place = tmp_path / "search" / "patterns"
    place.mkdir(parents=True)
    with locked(place):
        done = run(tmp_path, 2, "--cores", "rnn", "--overwrite")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "is in use by another process" in done.stderr
    assert [path.name for path in place.iterdir()] == [".lock"]


def test_overwriting_removes_the_runs_of_before_unless_one_is_under_way(tmp_path: Path) -> None:
    options = SWEEP_PATTERNS(cores=("rnn",), output=OutputSettings(root=tmp_path, overwrite=True))
    place = tmp_path / "patterns"
    old = place / "rnn" / "seed_100000"
    old.mkdir(parents=True)
    (place / "rnn.optuna").write_text("")
    with locked(old), pytest.raises(BusyError):
        Study(options, "rnn")
    assert (place / "rnn.optuna").exists()
    Study(options, "rnn")
    assert not old.exists()


def test_a_value_outside_the_space_is_not_searched(tmp_path: Path) -> None:
    """It stays as it is given, and so the first trial is the command's own settings."""
    sweep = SWEEP_PATTERNS().with_values({"learning_rate": 0.5, "eta": 0.0123456})
    assert sweep.searched("plastic").keys() == {"init_scale", "rule", "eta"}
    drawing = Drawing(sweep, "plastic")
    assert drawing.trial(drawing.given(), 0).run == sweep.make_run("plastic", FIRST)
    assert drawing.values({"eta": 0.123456}) == {"eta": 0.1235}


@pytest.mark.parametrize("task", TASKS)
def test_ray_can_copy_the_drawing_of_trials(task: str) -> None:
    drawing = Drawing(options_of(SweepOptions, TASKS[task])(), "plastic")
    assert pickle.loads(pickle.dumps(drawing)) == drawing
