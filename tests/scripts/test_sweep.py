"""``plasticrl sweep``: on the real Ray, the runs are those that are trained one after another."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from equal_runs import check_same, checkpoints, last_event

from plasticrl.scripts import sweep
from plasticrl.scripts.commands import SweepOptions, options_of
from plasticrl.scripts.experiments.experiment import Trial
from plasticrl.scripts.experiments.ray_executor import trial_config
from plasticrl.scripts.experiments.training import train
from plasticrl.scripts.main import main
from plasticrl.scripts.runs.run import Run
from plasticrl.scripts.settings import tasks
from plasticrl.scripts.settings.maze import OutputSettings

SWEEP_OMNIGLOT = options_of(SweepOptions, tasks.TASKS["omniglot"])
CORES, SEEDS = ("plastic", "rnn"), 2
TASKS = {
    "maze": [
        *["--size", "5", "--episode-length", "10", "--hidden-size", "6", "--n-envs", "4"],
        *["--total-timesteps", "20000", "--checkpoints", "50", "--eval-episodes", "4"],
    ],
    "patterns": [
        *["--n-bits", "8", "--n-cycles", "1", "--batch-size", "4"],
        *["--total-episodes", "400", "--checkpoints", "4", "--eval-episodes", "4"],
    ],
}
HELPERS = Path(__file__).parents[1] / "helpers"
PATIENCE = 240  # seconds; Ray takes ten to start on a busy machine


def words(task: str, root: Path) -> list[str]:
    return [task, "--root", str(root), "--cores", *CORES, "--seeds", str(SEEDS), *TASKS[task], "--quiet"]


def command(task: str, root: Path, *more: str) -> list[str]:
    return [sys.executable, "-m", "plasticrl.scripts.sweep", *words(task, root), *more]


def run(task: str, root: Path, *more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(task, root, *more), capture_output=True, text=True, timeout=PATIENCE, check=False
    )


def folders(task: str, root: Path) -> list[Path]:
    return [root / task / core / f"seed_{seed}" for core in CORES for seed in range(SEEDS)]


def check_all_same(task: str, root: Path, whole: Path) -> None:
    for mine, theirs in zip(folders(task, root), folders(task, whole), strict=True):
        check_same(mine, theirs)
    tables = [(one / task / "comparison.json").read_bytes() for one in (root, whole)]
    assert tables[0] == tables[1]


def wait(until: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not until():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)


def under_way(root: Path) -> int:
    return sum(
        len(checkpoints(folder)) >= 2 and not (folder / "result.json").exists()
        for folder in folders("maze", root)
    )


def trained_locally(task: str, root: Path) -> Path:
    assert main(["sweep", *words(task, root), "--local"]) == 0
    return root


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the patterns were trained one after another."""
    return trained_locally("patterns", tmp_path_factory.mktemp("whole"))


@pytest.fixture(scope="module")
def whole_mazes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the mazes were trained one after another."""
    return trained_locally("maze", tmp_path_factory.mktemp("whole_mazes"))


@pytest.mark.cluster
def test_trials_of_ray_are_the_runs_of_one_process(whole: Path, tmp_path: Path) -> None:
    done = run("patterns", tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    check_all_same("patterns", tmp_path, whole)
    times = [(folder / "result.json").stat().st_mtime_ns for folder in folders("patterns", tmp_path)]
    assert main(["sweep", *words("patterns", tmp_path)]) == 0  # nothing is missing: Ray is not even started
    assert times == [(folder / "result.json").stat().st_mtime_ns for folder in folders("patterns", tmp_path)]


@pytest.mark.cluster
def test_a_failed_trial_is_told_and_stops_no_other(whole: Path, tmp_path: Path) -> None:
    broken = tmp_path / "patterns" / "rnn" / "seed_0"
    broken.mkdir(parents=True)
    config = whole / "patterns" / "rnn" / "seed_0" / "config.json"
    (broken / "config.json").write_bytes(config.read_bytes())
    (broken / "checkpoints").write_text("a file where a folder should be")
    done = run("patterns", tmp_path)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "1 of 4 trainings failed: rnn seed 0: cannot write" in done.stderr
    for mine, theirs in zip(folders("patterns", tmp_path), folders("patterns", whole), strict=True):
        if mine != broken:
            check_same(mine, theirs)


@pytest.mark.cluster
def test_the_same_command_goes_on_after_the_driver_was_killed(whole_mazes: Path, tmp_path: Path) -> None:
    with subprocess.Popen(command("maze", tmp_path), stderr=subprocess.PIPE, text=True) as driver:
        wait(lambda: under_way(tmp_path) >= 1, driver)
        driver.kill()
    assert not all((folder / "result.json").exists() for folder in folders("maze", tmp_path))
    stopped = [one for one in folders("maze", tmp_path) if checkpoints(one)]
    first_events = [min(one.glob("events.*")) for one in stopped]
    done = run("maze", tmp_path)
    assert done.returncode == 0, done.stderr
    check_all_same("maze", tmp_path, whole_mazes)
    # The same bits would come out of trainings from the start: they were not.
    assert all(last_event(events) > 0 for events in first_events)


def workers_of(driver: subprocess.Popen[str]) -> list[int]:
    """Processes in which Ray trains for a driver with a cluster of its own."""
    parents, names = dict[int, int](), dict[int, str]()
    for status in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            name, _, rest = status.read_text().partition("(")[2].rpartition(")")
            number = int(status.parent.name)
            names[number], parents[number] = name, int(rest.split()[1])

    def is_of_driver(number: int) -> bool:
        while number > 1 and number != driver.pid:
            number = parents.get(number, 0)
        return number == driver.pid

    return [n for n, name in names.items() if name.startswith("ray::Implicit") and is_of_driver(n)]


@pytest.mark.cluster
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds processes in /proc, as Linux has it")
def test_a_worker_that_is_killed_is_started_again_and_goes_on(whole_mazes: Path, tmp_path: Path) -> None:
    with subprocess.Popen(command("maze", tmp_path), stderr=subprocess.PIPE, text=True) as driver:
        wait(lambda: under_way(tmp_path) >= 1, driver)
        stopped = [one for one in folders("maze", tmp_path) if checkpoints(one)]
        first_events = [min(one.glob("events.*")) for one in stopped]
        killed = workers_of(driver)
        for number in killed:
            os.kill(number, signal.SIGKILL)
        said = driver.communicate(timeout=PATIENCE)[1]
        assert driver.returncode == 0, said
    assert killed
    check_all_same("maze", tmp_path, whole_mazes)
    assert all(last_event(events) > 0 for events in first_events)
    assert any(len(list(one.glob("events.*"))) > 1 for one in stopped)  # a second process wrote on


@pytest.mark.cluster
def test_a_sweep_that_is_terminated_ends_in_one_line_and_leaves_no_notes(tmp_path: Path) -> None:
    with subprocess.Popen(command("maze", tmp_path), stderr=subprocess.PIPE, text=True) as driver:
        wait(lambda: under_way(tmp_path) >= 1, driver)
        driver.send_signal(signal.SIGTERM)
        said = driver.communicate(timeout=PATIENCE)[1]
    assert driver.returncode == 130
    assert said.strip().startswith("plasticrl: stopped")
    assert said.strip().count("\n") == 0
    assert not (tmp_path / "maze" / ".ray").exists()


@pytest.mark.cluster
def test_a_cluster_can_be_reached_from_outside(whole: Path, tmp_path: Path) -> None:
    """Through ray://, the trials are begun by a process of the cluster, not by this one."""
    with two_nodes() as cluster:
        assert cluster.stdin is not None
        assert cluster.stdout is not None
        cluster.stdout.readline()
        outside = cluster.stdout.readline().strip()
        broken = tmp_path / "patterns" / "rnn" / "seed_0"
        broken.mkdir(parents=True)
        config = whole / "patterns" / "rnn" / "seed_0" / "config.json"
        (broken / "config.json").write_bytes(config.read_bytes())
        (broken / "checkpoints").write_text("a file where a folder should be")
        done = run("patterns", tmp_path, "--address", outside)
        search = ["--search", "--trials", "1", "--address", outside, "--total-episodes", "40"]
        given = ["--root", tmp_path.name, "--cores", "rnn", *TASKS["patterns"], "--quiet"]
        searched = subprocess.run(
            [sys.executable, "-m", "plasticrl.scripts.sweep", "patterns", *given, *search],
            cwd=tmp_path.parent,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
    assert searched.returncode == 0, searched.stderr
    assert (tmp_path / "search" / "patterns" / "rnn" / "seed_100000" / "result.json").exists()
    assert done.returncode == 2
    assert "1 of 4 trainings failed: rnn seed 0: cannot write" in done.stderr
    for mine, theirs in zip(folders("patterns", tmp_path), folders("patterns", whole), strict=True):
        if mine != broken:
            check_same(mine, theirs)


@contextmanager
def two_nodes() -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, str(HELPERS / "two_nodes.py")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as cluster:
        try:
            yield cluster
        finally:
            cluster.communicate("\n\n")


@pytest.mark.cluster
def test_a_cluster_that_loses_a_node_finishes_all_trials(whole_mazes: Path, tmp_path: Path) -> None:
    with two_nodes() as cluster:
        assert cluster.stdin is not None
        assert cluster.stdout is not None
        address = cluster.stdout.readline().strip()
        cluster.stdout.readline()
        driver_command = command("maze", tmp_path, "--address", address)
        with subprocess.Popen(driver_command, stderr=subprocess.PIPE, text=True) as driver:
            wait(lambda: under_way(tmp_path) == 2, driver)  # each node has one processor: both are busy
            cluster.stdin.write("\n")
            cluster.stdin.flush()
            assert cluster.stdout.readline() == "gone\n"
            assert not all((folder / "result.json").exists() for folder in folders("maze", tmp_path))
            said = driver.communicate(timeout=PATIENCE)[1]
            assert driver.returncode == 0, said
    check_all_same("maze", tmp_path, whole_mazes)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--local", "--address", "auto"], "--local trains without a cluster"),
        (["--cpus-per-run", "0"], "cpus_per_run must be from 1"),
        (["--gpus-per-run", "-1"], "gpus_per_run must be finite and at least 0"),
        (["--gpus-per-run", "nan"], "gpus_per_run must be finite and at least 0"),
        (["--gpus-per-run", "1.5"], "gpus_per_run must be a whole number if above 1"),
        (["--device", "cuda"], "--device cuda needs a GPU for each run"),
        (["--seeds", "0"], "seeds must be from 1"),
        (["--rule", "hebb", "--cores", "rnn"], "rule"),
    ],
)
def test_bad_input(
    options: list[str], complaint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["sweep", *words("maze", tmp_path), *options]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert complaint in said
    assert list(tmp_path.iterdir()) == []


@pytest.mark.cluster
@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--cpus-per-run", "30"], "no machine has 30 CPUs and 0 GPUs for a run"),
        (["--address", "127.0.0.1:9"], "no Ray cluster at 127.0.0.1:9"),
        (["--address", "ray://127.0.0.1:9"], "no Ray cluster at ray://127.0.0.1:9"),
        (["--address", "x"], "no Ray cluster at x"),
    ],
)
def test_bad_input_that_ray_must_be_asked_about(options: list[str], complaint: str, tmp_path: Path) -> None:
    done = run("maze", tmp_path, *options)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1, done.stderr
    assert complaint in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_where_this_machine_belongs_to_no_cluster_it_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ray looks at all processes of the machine, and other tests may have a cluster just now."""
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr("ray._private.services.find_gcs_addresses", cache(set))
    monkeypatch.setattr("ray._private.services.find_bootstrap_address", lambda temp_dir: None)
    assert main(["sweep", *words("maze", tmp_path), "--address", "auto"]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "no Ray cluster at auto" in said
    assert list(tmp_path.iterdir()) == []


FORK_DIED = ConnectionAbortedError("Traceback\nRuntimeError: Starting Ray client server failed\n")


@pytest.mark.parametrize(
    ("refusals", "complaint"),
    [
        ([FORK_DIED] * 3, "no machine has 1 CPUs"),  # it was let in, and looks on
        ([FORK_DIED] * 4, "refuses the connection: RuntimeError: Starting Ray client server failed"),
        ([ConnectionError("timeout")], "no Ray cluster at ray://"),
    ],
)
def test_a_cluster_whose_process_for_a_client_dies_is_asked_again(
    refusals: list[Exception],
    complaint: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    answers = iter(refusals)

    def init(**options: object) -> None:
        if (refusal := next(answers, None)) is not None:
            raise refusal

    monkeypatch.setattr("ray.init", init)
    monkeypatch.setattr("ray.nodes", list)
    with socket.create_server(("127.0.0.1", 0)) as door:
        outside = f"ray://127.0.0.1:{door.getsockname()[1]}"
        assert main(["sweep", *words("maze", tmp_path), "--address", outside]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert complaint in said
    assert list(answers) == []
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_overwritten_before_there_is_a_cluster(whole: Path, tmp_path: Path) -> None:
    shutil.copytree(whole / "patterns", tmp_path / "patterns")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    more = ["--total-episodes", "800", "--overwrite", "--address", "127.0.0.1:9"]
    done = run("patterns", tmp_path, *more)
    assert done.returncode == 2
    assert "no Ray cluster at 127.0.0.1:9" in done.stderr
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_what_nobody_expected_of_one_run_stops_no_other(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def train_or_break(run: Run, *rest: Any) -> Any:
        if run.label == "plastic seed 0":
            raise ZeroDivisionError("of a test")
        return train(run, *rest)

    monkeypatch.setattr("plasticrl.scripts.experiments.executors.train", train_or_break)
    assert main(["sweep", *words("patterns", tmp_path), "--local"]) == 2
    said = capsys.readouterr().err
    assert "1 of 4 trainings failed: plastic seed 0: ZeroDivisionError: of a test" in said
    assert "Traceback" in said
    for mine, theirs in zip(folders("patterns", tmp_path)[1:], folders("patterns", whole)[1:], strict=True):
        check_same(mine, theirs)


def test_workers_find_data_and_cache_where_the_driver_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PLASTICRL_DATA", "data")
    monkeypatch.setenv("PLASTICRL_CACHE", "cache")
    output = OutputSettings(root=Path("runs"))
    run = SWEEP_OMNIGLOT().make_run("plastic", 0)
    config = trial_config(Trial(run, output.root, "plastic"), output)
    assert config["root"] == str(tmp_path / "runs")
    assert config["data_dir"] == str(tmp_path / "data")
    assert config["cache"] == str(tmp_path / "cache")
    moved = Trial(run.with_data_dir(Path("other")), output.root, "plastic")
    assert trial_config(moved, output)["data_dir"] == str(tmp_path / "other")


def test_the_command_loads_without_the_extra() -> None:
    hidden = "sys.modules.update(dict.fromkeys(('ray', 'optuna')))"
    code = f"import sys; {hidden}; import plasticrl.scripts.sweep"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_without_the_extra_runs_go_one_after_another(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sweep, "find_spec", lambda name: None)
    assert main(["sweep", *words("patterns", tmp_path), "--address", "auto"]) == 2
    assert "pip install 'plasticrl[sweep]'" in capsys.readouterr().err
    assert main(["sweep", *words("patterns", tmp_path)]) == 0
    check_all_same("patterns", tmp_path, whole)
