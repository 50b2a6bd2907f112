"""A stranger's run folder destroys nothing outside it, and keeps no command busy."""

import json
import os
import resource
import shutil
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from equal_runs import check_same, checkpoints
from small_learners import LEARNERS, Load

from plasticrl.agents.checkpoint.tensor_file import read_tensors, write_tensors
from plasticrl.scripts.errors import UserError
from plasticrl.scripts.experiments.experiment import comparison_of
from plasticrl.scripts.main import main
from plasticrl.scripts.reports.comparison import report_comparison
from plasticrl.scripts.runs.folder import claim, locked, read_run, remove_run
from plasticrl.scripts.runs.logs import CSV
from plasticrl.whole_files import temporary_name, this_writer

OPTIONS = [
    *["--size", "5", "--episode-length", "20", "--hidden-size", "8", "--n-envs", "4"],
    *["--total-timesteps", "400", "--eval-episodes", "4", "--checkpoints", "5"],
]
ALIKE = ["--threads", "1", "--quiet"]
MOST_SECONDS, MOST_MEMORY, HUGE = 60, 2**30, 2**40
TRAIN = ["train again", "train --resume", "train --overwrite", "compare", "sweep"]
READ = ["evaluate", "watch"]


def words(command: str, root: Path) -> list[str]:
    run = folder(root)
    many = ["maze", "--cores", "plastic", "--seeds", "1", "--root", str(root), *OPTIONS, *ALIKE]
    return {
        "train again": ["train", "maze", "--root", str(root), *OPTIONS, *ALIKE],
        "train --resume": ["train", "--resume", str(run), *ALIKE],
        "train --overwrite": ["train", "maze", "--root", str(root), *OPTIONS, *ALIKE, "--overwrite"],
        "compare": ["compare", *many, "--jobs", "1"],
        "compare --overwrite": ["compare", *many, "--jobs", "1", "--overwrite"],
        "sweep": ["sweep", *many, "--local"],
        "evaluate": ["evaluate", str(run), "--episodes", "2"],
        "watch": ["watch", str(run)],
    }[command]


def folder(root: Path) -> Path:
    return root / "maze" / "plastic" / "seed_0"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run."""
    root = tmp_path_factory.mktemp("whole")
    assert main([*words("train again", root), "--keep", "5"]) == 0
    return folder(root)


@pytest.fixture
def run(whole: Path, tmp_path: Path) -> Path:
    """The same, as it was when it was stopped in the middle."""
    run = folder(tmp_path / "runs")
    shutil.copytree(whole, run)
    (run / "result.json").unlink()
    for path in list(checkpoints(run).values())[2:]:
        path.unlink()
    (run / "spent.json").write_text("{}")
    return run


@pytest.fixture
def outside(whole: Path, tmp_path: Path) -> Path:
    """A folder with files of every kind that somebody would not want to lose."""
    outside = tmp_path / "outside"
    shutil.copytree(whole, outside)
    for name in ("spent.json", "notes.txt", ".lock"):
        (outside / name).write_text("{}")
    return outside


@pytest.fixture(autouse=True)
def _little_time_and_memory() -> Iterator[None]:
    """A command that waits for a pipe, or reads what has no end, fails instead."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MOST_MEMORY, before[1]))

    def late(*_: Any) -> None:
        raise AssertionError("the command hangs")

    handler = signal.signal(signal.SIGALRM, late)
    signal.alarm(MOST_SECONDS)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, handler)
    resource.setrlimit(resource.RLIMIT_AS, before)


Seen = dict[str, tuple[int, bytes]]


def seen(place: Path) -> Seen:
    """All that is in a folder: when it was written, and its content."""
    files = [path for path in place.rglob("*") if path.is_file()]
    return {str(path): (path.stat().st_mtime_ns, path.read_bytes()) for path in files}


def names(run: Path) -> dict[str, Path]:
    """The files of a run by what they are."""
    return {
        **{
            name: run / name for name in ("config.json", "result.json", "spent.json", "progress.csv", ".lock")
        },
        "events": next(run.glob("events.*")),
        "checkpoint": max(checkpoints(run).values()),
        "old checkpoint": min(checkpoints(run).values()),
    }


Put = Callable[[Path, Path], None]


def link(path: Path, target: Path) -> None:
    path.symlink_to(target)


def dangling_link(path: Path, target: Path) -> None:
    path.symlink_to(target.parent / "none")


def link_to_a_device(path: Path, _: Path) -> None:
    path.symlink_to("/dev/zero")


def pipe(path: Path, _: Path) -> None:
    os.mkfifo(path)


def a_socket(path: Path, _: Path) -> None:
    before = Path.cwd()
    os.chdir(path.parent)  # a socket's name must be short
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(path.name)
    os.chdir(before)


def a_folder(path: Path, _: Path) -> None:
    path.mkdir()
    (path / "mine").touch()


STRANGE: list[Put] = [link, dangling_link, link_to_a_device, pipe, a_socket, a_folder]
RUN_FILES = ["config.json", "result.json", "spent.json", "progress.csv", "events", ".lock"]
CHECKPOINTS = ["checkpoint", "old checkpoint"]


def told(command: str, root: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """The status, and what was said on stderr."""
    status = main(words(command, root))
    return status, capsys.readouterr().err


def check_refused(command: str, root: Path, says: str, capsys: pytest.CaptureFixture[str]) -> None:
    status, said = told(command, root, capsys)
    assert status == 2, said
    assert said.count("\n") == 1, said
    assert says in said
    assert "out of memory" not in said


@pytest.mark.parametrize("put", STRANGE)
@pytest.mark.parametrize("name", RUN_FILES)
@pytest.mark.parametrize("command", [*TRAIN, *READ])
def test_what_is_no_regular_file_is_refused_by_name(
    command: str, name: str, put: Put, run: Path, outside: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = names(run)[name]
    path.unlink(missing_ok=True)
    put(path, names(outside)[name])
    before = seen(outside)
    if command in READ and name != "config.json":
        assert told(command, run.parents[2], capsys) == (0, "")  # it is not read at all
    else:
        check_refused(command, run.parents[2], str(path), capsys)
    assert seen(outside) == before
    assert os.path.lexists(path)


@pytest.mark.parametrize("put", [link, link_to_a_device, pipe, a_folder])
@pytest.mark.parametrize("name", CHECKPOINTS)
@pytest.mark.parametrize("command", ["train --resume", "train --overwrite", "compare", *READ])
def test_a_checkpoint_that_is_no_regular_file_is_never_opened(
    command: str,
    name: str,
    put: Put,
    run: Path,
    outside: Path,
    whole: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = names(run)[name]
    path.unlink()
    put(path, names(outside)[name])
    before = seen(outside)
    if command in READ:
        if name == "checkpoint":
            check_refused(command, run.parents[2], str(path), capsys)
        else:
            assert told(command, run.parents[2], capsys) == (0, "")
    elif command == "train --overwrite" and put is a_folder:
        check_refused(command, run.parents[2], str(path), capsys)
    else:
        status, said = told(command, run.parents[2], capsys)
        assert status == 0, said
        if name == "checkpoint" and command != "train --overwrite":
            assert f"warning: {path}" in said
            assert os.path.lexists(path.with_name(path.name + ".damaged"))
        check_same(run, whole)
    assert seen(outside) == before


@pytest.mark.parametrize("command", [*TRAIN, "compare --overwrite"])
def test_a_second_name_of_a_file_is_left_alone(
    command: str, run: Path, outside: Path, whole: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As after ``cp --link``: what is written is written into new files."""
    theirs = names(outside)
    for name, path in names(run).items():
        if name not in (".lock", "result.json"):
            content = path.read_bytes()
            path.unlink()
            theirs[name].write_bytes(content)
            path.hardlink_to(theirs[name])
    before = seen(outside)
    status, said = told(command, run.parents[2], capsys)
    assert status == 0, said
    assert seen(outside) == before
    check_same(run, whole)


@pytest.mark.parametrize("command", TRAIN)
def test_a_lock_with_the_content_of_another_file_is_refused(
    command: str, run: Path, outside: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (run / ".lock").unlink(missing_ok=True)
    (run / ".lock").hardlink_to(outside / "notes.txt")
    before = seen(outside)
    check_refused(command, run.parents[2], str(run / ".lock"), capsys)
    assert seen(outside) == before


@pytest.mark.parametrize("command", [*TRAIN, *READ])
def test_linked_checkpoints_are_refused(
    command: str, run: Path, outside: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(run / "checkpoints")
    (run / "checkpoints").symlink_to(outside / "checkpoints")
    before = seen(outside)
    check_refused(command, run.parents[2], str(run / "checkpoints"), capsys)
    assert seen(outside) == before


@pytest.mark.parametrize("put", [pipe, a_socket])
@pytest.mark.parametrize("command", [*TRAIN, *READ])
def test_what_is_in_the_place_of_the_checkpoints_is_told(
    command: str, put: Put, run: Path, outside: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(run / "checkpoints")
    put(run / "checkpoints", outside)
    before = seen(run) if command == "train --overwrite" else None
    check_refused(command, run.parents[2], str(run), capsys)
    assert before is None or seen(run) == before


@pytest.mark.parametrize("is_finished", [True, False])
@pytest.mark.parametrize("command", [*TRAIN, "compare --overwrite", *READ])
def test_a_linked_run_is_read_and_never_written(
    command: str, is_finished: bool, run: Path, outside: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(run)
    run.symlink_to(outside)
    if not is_finished:
        (outside / "result.json").unlink()
    before = seen(outside)
    if command in READ or (is_finished and command in ("compare", "compare --overwrite", "sweep")):
        status, said = told(command, run.parents[2], capsys)
        assert status == 0, said
    else:
        check_refused(command, run.parents[2], str(run), capsys)
    assert seen(outside) == before


@pytest.mark.parametrize("command", [*TRAIN, "compare --overwrite", *READ])
def test_a_linked_root_is_the_users_own(
    command: str, run: Path, whole: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = run.parents[2]
    elsewhere = root.rename(root.with_name("elsewhere"))
    root.symlink_to(elsewhere)
    task = (elsewhere / "maze").rename(root.with_name("maze"))
    (elsewhere / "maze").symlink_to(task)
    status, said = told(command, root, capsys)
    assert (status, said) == (0, "")
    if command not in READ:
        check_same(run, whole)


SPARSE = ["config.json", "result.json", "progress.csv", "events", "checkpoint"]


@pytest.mark.parametrize("name", SPARSE)
@pytest.mark.parametrize("command", ["train again", "train --resume", "compare", *READ])
def test_a_file_of_a_terabyte_is_not_read(
    command: str, name: str, run: Path, whole: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = names(run)[name]
    path.touch()
    os.truncate(path, HUGE)
    finished = name == "result.json"
    if name == "checkpoint" and command not in READ:
        status, said = told(command, run.parents[2], capsys)
        assert status == 0, said
        assert f"warning: {path}" in said
        os.truncate(path.with_name(path.name + ".damaged"), 0)
        check_same(run, whole)
    elif command in READ and name not in ("config.json", "checkpoint"):
        assert told(command, run.parents[2], capsys) == (0, "")
    else:
        says = str(run) if finished or name in ("progress.csv", "events") else str(path)
        check_refused(command, run.parents[2], says, capsys)


@pytest.mark.parametrize("name", ["result.json", "progress.csv"])
@pytest.mark.parametrize("put", [*STRANGE, "sparse"])
@pytest.mark.parametrize("command", ["compare", "sweep"])
def test_finished_runs_are_compared_by_regular_files_only(
    command: str,
    put: Any,
    name: str,
    whole: Path,
    outside: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = folder(tmp_path / "runs")
    shutil.copytree(whole, run)
    path = names(run)[name]
    if put == "sparse":
        os.truncate(path, HUGE)
    else:
        path.unlink()
        put(path, names(outside)[name])
    before = seen(outside)
    check_refused(command, run.parents[2], str(path), capsys)
    assert seen(outside) == before


def bad_configs(good: str) -> dict[str, str]:
    start = good.rstrip().removesuffix("}").rstrip()
    return {
        "deep": start + ', "more": ' + "[" * 100 + "]" * 100 + "}",
        "very deep": start + ', "more": ' + "[" * 100_000 + "]" * 100_000 + "}",
        "large": start + ', "more": "' + "a" * 2**21 + '"}',
        "many": start + ', "more": [' + "[]," * 2**20 + "[]]}",
        "twice": start + ', "seed": 0}',
        "twice at the end": start + "".join(f', "{n}": 0' for n in range(50_000)) + ', "49999": 0}',
        "twice within": good.replace('"gamma"', '"eta": 0.5, "gamma"', 1),
        "NaN": good.replace('"gamma": ', '"gamma": NaN, "g": ', 1),
        "Infinity": good.replace('"gamma": ', '"gamma": -Infinity, "g": ', 1),
        "too large a number": good.replace('"gamma": ', '"gamma": 1e999, "g": ', 1),
        "many digits": good.replace('"gamma": ', '"gamma": ' + "1" * 5000 + ', "g": ', 1),
        "another's": json.dumps({"name": "my website", "version": "1.0"}),
        "another's seed": json.dumps({"task": "maze", "core": "plastic", "seed": 0, "lr": 0.1}),
        "lines": json.dumps({"task": "a\nb\x1b[2J" * 1000, "core": "plastic"}),
        "no object": "[]",
        "no JSON": "this is mine",
        "no text": "\udcff",
        "empty": "",
    }


@pytest.mark.parametrize("kind", bad_configs("{}"))
@pytest.mark.parametrize("command", [*TRAIN, "compare --overwrite", *READ])
def test_a_folder_whose_config_is_not_a_runs_keeps_all_it_has(
    command: str, kind: str, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = run / "config.json"
    text = bad_configs(config.read_text())[kind]
    config.write_bytes(text.encode(errors="surrogateescape"))
    before = seen(run)
    status, said = told(command, run.parents[2], capsys)
    assert status == 2, said
    assert said.count("\n") == 1
    assert len(said) < 1000
    assert "\x1b" not in said
    assert str(run) in said
    assert seen(run) == before


OTHERS = ["notes.txt", "model.safetensors", "evaluation_60.json", "code/main.py", "checkpoints/best.zip"]


@pytest.mark.parametrize("command", ["train --overwrite", "compare --overwrite"])
def test_overwriting_removes_what_a_run_writes_and_names_the_rest(
    command: str, run: Path, whole: Path, outside: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in OTHERS:
        (run / name).parent.mkdir(exist_ok=True)
        (run / name).write_text("mine")
    (run / "away").symlink_to(outside)
    config = json.loads((run / "config.json").read_text())
    config["agent"]["gamma"] = 0.5
    (run / "config.json").write_text(json.dumps(config))
    half = [temporary_name(name, this_writer()) for name in ("step_5.safetensors", "result.json", CSV)]
    old = [
        "step_000000000080.safetensors.damaged",
        ".step_000000000080.safetensors.17",
        "step_5.zip",
        half[0],
    ]
    for name in (*(f"checkpoints/{one}" for one in old), *half[1:], ".result.json.17", ".config.17.json"):
        (run / name).touch()
    before = seen(outside)
    status, said = told(command, run.parents[2], capsys)
    assert status == 0, said
    (note,) = said.splitlines()
    assert all(name.partition("/")[0] in note for name in (*OTHERS, "away"))
    assert "checkpoints/best.zip" in note
    assert all((run / name).read_text() == "mine" for name in OTHERS)
    assert (run / "away").readlink() == outside
    assert seen(outside) == before
    check_same(run, whole)
    mine = {"config.json", "result.json", "progress.csv", ".lock", "checkpoints", "away"}
    left = {path.name for path in run.iterdir()} - mine - {name.partition("/")[0] for name in OTHERS}
    assert all(name.startswith("events.out.tfevents.") for name in left)
    assert len(left) == 1
    assert not [name for name in old if (run / "checkpoints" / name).exists()]


@pytest.mark.parametrize("change", ["a setting less", "a setting more"])
def test_a_run_of_another_version_may_be_overwritten(
    change: str, run: Path, whole: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = json.loads((run / "config.json").read_text())
    if change == "a setting less":
        del config["agent"]["bound_eta"]
    else:
        config["agent"]["momentum"] = 0.5
    (run / "config.json").write_text(json.dumps(config))
    check_refused("train again", run.parents[2], "run with other settings", capsys)
    assert told("train --overwrite", run.parents[2], capsys) == (0, "")
    check_same(run, whole)


def test_overwriting_that_is_stopped_anywhere_can_be_done_again(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until the new settings are there, the folder is still that of a run."""
    run = folder(tmp_path / "runs")
    unlink, settings = os.unlink, read_run(whole)
    for number in range(100):
        shutil.copytree(whole, run)
        left = iter(range(number))

        def killed(*args: Any, left: Iterator[int] = left, **kwargs: Any) -> None:
            if next(left, None) is None:
                raise KeyboardInterrupt
            unlink(*args, **kwargs)

        with monkeypatch.context() as patch:
            patch.setattr("plasticrl.scripts.runs.folder.os.unlink", killed)
            try:
                claim(run, settings, overwrite=True)
                break
            except KeyboardInterrupt:
                assert read_run(run) == settings
        claim(run, settings, overwrite=True)
        assert {path.name for path in run.iterdir()} == {".lock", "config.json", "checkpoints"}
        shutil.rmtree(run)
    assert number > 5


def test_a_search_removes_only_runs(whole: Path, outside: Path, tmp_path: Path) -> None:
    run, settings = folder(tmp_path / "runs"), read_run(whole)
    shutil.copytree(whole, run)
    (run / "notes.txt").write_text("mine")
    with locked(run), pytest.raises(UserError, match="in use"):
        remove_run(run, settings)
    remove_run(run, settings)
    assert {path.name for path in run.iterdir()} == {"notes.txt", ".lock", "checkpoints"}
    shutil.rmtree(run)
    shutil.copytree(whole, run)
    remove_run(run, settings)
    assert not run.exists()
    before = seen(outside)
    run.symlink_to(outside)
    with pytest.raises(UserError, match="link"):
        remove_run(run, settings)
    run.unlink()
    run.mkdir()
    (run / "config.json").write_text('{"name": "mine"}')
    with pytest.raises(UserError, match="not a run's folder"):
        remove_run(run, settings)
    assert [path.name for path in run.iterdir()] == ["config.json"]
    assert seen(outside) == before


@pytest.mark.parametrize("level", ["aggregate", "aggregate/plastic"])
def test_a_comparison_removes_no_events_through_a_link(
    level: str, whole: Path, outside: Path, tmp_path: Path
) -> None:
    root = tmp_path / "runs"
    shutil.copytree(whole, folder(root))
    (outside / "plastic").mkdir()
    shutil.copy(next(outside.glob("events.*")), outside / "plastic")
    place = root / "maze" / level
    place.parent.mkdir(exist_ok=True)
    place.symlink_to(outside)
    for name in ("comparison.csv", "comparison.json", "learning_curves.png"):
        (root / "maze" / name).symlink_to(outside / "notes.txt")
    before = seen(outside)
    with pytest.raises(UserError, match=f"{level} is a link"):
        report_comparison(comparison_of([read_run(whole)], root))
    assert seen(outside) == before


@pytest.mark.parametrize(
    ("setting", "value"), [("core", "lstm"), ("core", "rnn"), ("hidden_size", 9), ("rule", "clipped")]
)
@pytest.mark.parametrize("command", ["train --resume", *READ])
def test_a_checkpoint_of_another_network_is_refused(
    command: str, setting: str, value: Any, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = json.loads((run / "config.json").read_text())
    (config if setting == "core" else config["agent"])[setting] = value
    (run / "config.json").write_text(json.dumps(config))
    moved = run
    if setting == "core" and command == "train --resume":
        moved = run.parents[1] / value / run.name
        moved.parent.mkdir()
        run.rename(moved)
    given = [str(moved) if word == str(run) else word for word in words(command, run.parents[2])]
    assert main(given) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert f"{setting} is " in said
    assert f"not {value}" in said


def test_a_checkpoint_of_another_network_of_a_supervised_task_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["train", "patterns", "--n-bits", "6", "--total-episodes", "2", "--eval-episodes", "2", *ALIKE]
    assert main([*given, "--root", str(tmp_path)]) == 0
    run = tmp_path / "patterns" / "plastic" / "seed_0"
    config = run / "config.json"
    config.write_text(config.read_text().replace('"core": "plastic"', '"core": "rnn"'))
    assert main(["evaluate", str(run)]) == 2
    assert "core is plastic, not rnn" in capsys.readouterr().err


@pytest.fixture(params=LEARNERS)
def saved(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, Load]:
    """A checkpoint of each learner, and what loads one."""
    make, load = LEARNERS[request.param]
    make(tmp_path / "good.safetensors")
    return tmp_path / "good.safetensors", load


@pytest.mark.parametrize("put", [link_to_a_device, pipe, a_socket])
def test_a_path_in_python_is_that_of_a_regular_file(put: Put, saved: tuple[Path, Load]) -> None:
    good, load = saved
    path = good.with_name("agent.safetensors")
    path.symlink_to(good)
    load(path)  # the user has named the link
    path.unlink()
    put(path, good)
    with pytest.raises(OSError, match=r"agent\.safetensors is a .*, not a regular file"):
        load(path)


HEADER = b'{"weight":{"dtype":"F32","shape":[268435456],"data_offsets":[0,%d]}}'


@pytest.mark.parametrize(
    "start",
    [b"", b"\xff" * 8, len(HEADER % HUGE).to_bytes(8, "little") + HEADER % HUGE],
    ids=["holes", "a long header", "a long tensor"],
)
def test_a_terabyte_in_python_is_refused_by_name(start: bytes, saved: tuple[Path, Load]) -> None:
    good, load = saved
    path = good.with_name("agent.safetensors")
    path.write_bytes(start)
    os.truncate(path, len(start) + HUGE)
    with pytest.raises(ValueError, match=r"agent\.safetensors is not a file that plasticrl wrote"):
        load(path)


def test_a_large_file_of_ours_is_read(tmp_path: Path) -> None:
    path = tmp_path / "file"
    tensors = {"a": torch.zeros(2**22), "b": torch.ones(3), "": torch.ones(())}
    write_tensors(path, tensors, {"data_offsets": '"data_offsets":[0,9]'})
    assert read_tensors(path)[0].keys() == tensors.keys()
