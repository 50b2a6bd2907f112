"""Where a machine is odd, a command says so in one line, or goes on; nothing trained is lost."""

import errno
import fcntl
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from children import start
from equal_runs import check_same, checkpoints

from plasticrl.scripts import main as main_module
from plasticrl.scripts.errors import in_one_line, reason_of_failure
from plasticrl.scripts.main import main
from plasticrl.scripts.runs.folder import BusyError, claim, locked
from plasticrl.scripts.runs.terminal import lasting_streams

MAZE = ["maze", "--size", "5", "--episode-length", "20", "--hidden-size", "8", "--n-envs", "4"]
TASKS = {
    "maze": [*MAZE, "--total-timesteps", "400", "--checkpoints", "4"],
    "patterns": [
        *["patterns", "--n-bits", "12", "--n-cycles", "1", "--total-episodes", "12", "--batch-size", "2"],
        *["--checkpoints", "4"],
    ],
}
QUIET = ["--eval-episodes", "4", "--threads", "1", "--quiet"]
NONE_SAID = ""


def training(task: str, root: Path | str) -> list[str]:
    return ["train", *TASKS[task], *QUIET, "--root", str(root)]


def comparison(task: str, root: Path | str) -> list[str]:
    return ["compare", *TASKS[task], *QUIET, "--cores", "plastic", "--seeds", "1", "--root", str(root)]


def folder(task: str, root: Path) -> Path:
    return root / task / "plastic" / "seed_0"


class Odd:
    """Runs commands on an odd machine."""

    def __init__(self, place: Path) -> None:
        self.said, self.out = place / "said", place / "out"

    def run(self, words: list[str], **odd: Any) -> tuple[int | None, str]:
        """Exit status, and what it said on stderr."""
        for path in (self.said, self.out):
            path.write_bytes(b"")
        usual = {"said": str(self.said), "out": str(self.out), "env": {}, "limits": {}, "gone": None}
        process = start("odd_machine", words=words, **{**usual, "at_save": None, **odd})
        process.join(180)
        if process.is_alive():
            process.kill()
            pytest.fail(f"it does not end: {self.said.read_text()}")
        said = self.said.read_text()
        assert "Traceback" not in said
        assert "Exception" not in said
        return process.exitcode, said

    def refused(self, words: list[str], says: str, **odd: Any) -> None:
        status, said = self.run(words, **odd)
        assert status == 2, said
        assert said.startswith("plasticrl: error: ")
        assert said.count("\n") == 1
        assert says in said
        assert len(said) < 2000

    def goes(self, words: list[str], **odd: Any) -> None:
        assert self.run(words, **odd) == (0, "")


@pytest.fixture
def odd(tmp_path: Path) -> Odd:
    place = tmp_path / "streams"
    place.mkdir()
    return Odd(place)


@pytest.fixture(autouse=True)
def _fewer(request: pytest.FixtureRequest, soak: bool) -> None:
    """Of the commands, one that trains, one that compares and one that reads, unless there is time."""
    given = getattr(request.node, "callspec", None)
    if given and not soak and given.params.get("command") in ("train maze", "sweep", "watch"):
        pytest.skip("only with --soak")


@pytest.fixture(scope="module")
def wholes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The root of runs that nothing stopped."""
    root = tmp_path_factory.mktemp("wholes")
    for task in TASKS:
        assert main(training(task, root)) == 0
    return root


def commands(wholes: Path, root: Path) -> dict[str, list[str]]:
    """One of each kind, with the root or the run that it takes."""
    run = folder("maze", wholes)
    return {
        "train maze": training("maze", root),
        "train patterns": training("patterns", root),
        "compare": comparison("maze", root),
        "sweep": ["sweep", *comparison("patterns", root)[1:], "--local"],
        "evaluate": ["evaluate", str(run), "--episodes", "2"],
        "watch": ["watch", str(run)],
    }


WRITE, READ = ("train maze", "train patterns", "compare", "sweep"), ("evaluate", "watch")


def place_that_fails(kind: str, tmp_path: Path) -> tuple[str, str]:
    if kind == "too long":
        return str(tmp_path / ("long" * 100)), "choose a shorter name"
    if kind == "a path too long":
        return str(tmp_path) + "/deep" * 1000, "choose a shorter name"
    (tmp_path / "file").write_text("")
    return str(tmp_path / "file" / "below"), "choose another"


@pytest.mark.parametrize("kind", ["too long", "a path too long", "below a file"])
@pytest.mark.parametrize("command", WRITE)
def test_a_root_that_cannot_be(kind: str, command: str, wholes: Path, tmp_path: Path, odd: Odd) -> None:
    root, says = place_that_fails(kind, tmp_path)
    odd.refused(commands(wholes, Path(root))[command], says)


@pytest.mark.parametrize("kind", ["too long", "below a file"])
@pytest.mark.parametrize(
    "words", [["evaluate"], ["watch"], ["train", "--resume"], ["watch", "--gif"]], ids=" ".join
)
def test_a_file_or_run_that_cannot_be(
    kind: str, words: list[str], wholes: Path, tmp_path: Path, odd: Odd
) -> None:
    place, _ = place_that_fails(kind, tmp_path)
    given = (
        [*words[:1], str(folder("maze", wholes)), "--gif", f"{place}.gif"]
        if "--gif" in words
        else [*words, place]
    )
    odd.refused(given, "")


@pytest.mark.parametrize("name", [b"\xff\xfe", "grün".encode()], ids=["not UTF-8", "not ASCII"])
@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
@pytest.mark.parametrize("command", WRITE)
def test_any_name_of_a_root(
    name: bytes, encoding: str, command: str, wholes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / os.fsdecode(name)
    words = commands(wholes, root)[command]
    with (tmp_path / "out").open("w", encoding=encoding) as out:
        monkeypatch.setattr(sys, "stdout", out)
        monkeypatch.setattr(sys, "__stdout__", out)
        kept = os.dup(1)
        os.dup2(out.fileno(), 1)
        try:
            assert main([word for word in words if word != "--quiet"]) == 0
        finally:
            os.dup2(kept, 1)
            os.close(kept)
    task = "patterns" if command in ("train patterns", "sweep") else "maze"
    root.rename(tmp_path / "plain")  # TensorBoard's own reader knows only UTF-8
    check_same(folder(task, tmp_path / "plain"), folder(task, wholes))
    assert "TensorBoard: tensorboard --logdir" in (tmp_path / "out").read_text(encoding)


@pytest.mark.parametrize("command", [*WRITE, *READ])
def test_the_current_folder_was_removed(command: str, wholes: Path, tmp_path: Path, odd: Odd) -> None:
    gone = str(tmp_path / "gone")
    odd.goes(commands(wholes, tmp_path / "root")[command], gone=gone)
    relative = [
        os.path.relpath(word, "/") if word.startswith("/") else word
        for word in commands(wholes, tmp_path)[command]
    ]
    odd.refused(relative, "the current folder was removed", gone=gone)


@pytest.mark.parametrize("command", [*WRITE, *READ])
def test_a_full_standard_output_loses_no_training(
    command: str, wholes: Path, tmp_path: Path, odd: Odd
) -> None:
    odd.refused(commands(wholes, tmp_path)[command], "cannot write to standard output", out="/dev/full")
    if command == "train patterns":
        check_same(folder("patterns", tmp_path), folder("patterns", wholes))


@pytest.mark.parametrize(
    "streams", [{"out": None}, {"said": None}, {"out": None, "said": None}, {"said": "/dev/full"}]
)
@pytest.mark.parametrize("command", ["train patterns", "evaluate"])
def test_closed_or_full_streams(
    streams: dict[str, str | None], command: str, wholes: Path, tmp_path: Path, odd: Odd
) -> None:
    words = [word for word in commands(wholes, tmp_path)[command] if word != "--quiet"]
    status, _ = odd.run(words, **streams)
    assert status == 0
    if command == "train patterns":
        check_same(folder("patterns", tmp_path), folder("patterns", wholes))


def test_a_reader_that_leaves_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    kept = os.dup(1)
    os.dup2(writing, 1)
    os.close(writing)
    with open(1, "w", closefd=False) as out:
        monkeypatch.setattr(sys, "stdout", out)
        monkeypatch.setattr(sys, "__stdout__", out)
        try:
            assert main(["--version"]) == 0
            with lasting_streams() as stream:
                print("more", flush=True)
                assert stream is not None
                assert isinstance(stream.error, BrokenPipeError)
        finally:
            os.dup2(kept, 1)
            os.close(kept)


def test_a_stream_that_would_not_wait_gets_everything() -> None:
    from threading import Thread

    from plasticrl.scripts.runs.terminal import Stream

    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    content, read = bytes(range(256)) * 4096, []

    def reader() -> None:
        while part := os.read(reading, 65536):
            read.append(part)

    thread = Thread(target=reader)
    thread.start()
    assert Stream(writing, "w", closefd=False).write(content) == len(content)
    os.close(writing)
    thread.join()
    os.close(reading)
    assert b"".join(read) == content


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("files", [0, 1, 2, 3])
def test_few_open_files(task: str, files: int, wholes: Path, tmp_path: Path, odd: Odd) -> None:
    """As many more as the process has, which is then in need of one at another place each time."""
    used = max(int(name) for name in os.listdir("/proc/self/fd"))
    status, said = odd.run(training(task, tmp_path), limits={"RLIMIT_NOFILE": min(used, 12) + files})
    assert status in (0, 2)
    assert said.count("\n") == (1 if status else 0), said
    if status:
        assert "open files" in said
    if not folder(task, tmp_path).joinpath("result.json").exists():
        odd.goes(training(task, tmp_path))
    check_same(folder(task, tmp_path), folder(task, wholes))


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("size", [700, 1000, 3000, 6000])
def test_a_limit_on_the_size_of_files(task: str, size: int, wholes: Path, tmp_path: Path, odd: Odd) -> None:
    odd.refused(training(task, tmp_path), "ulimit -f", limits={"RLIMIT_FSIZE": size}, said=str(odd.said))
    odd.goes(training(task, tmp_path))
    check_same(folder(task, tmp_path), folder(task, wholes))


@pytest.mark.parametrize("happens", ["remove", "rename"])
@pytest.mark.parametrize("task", TASKS)
def test_a_folder_that_vanishes_while_it_trains(
    happens: str, task: str, wholes: Path, tmp_path: Path, odd: Odd
) -> None:
    run = folder(task, tmp_path)
    odd.refused(training(task, tmp_path), "removed or renamed", at_save=(happens, str(run)))
    assert not run.exists()
    moved = run.with_name(run.name + "_2")
    if happens == "rename":
        assert len(checkpoints(moved)) >= 1
        moved.rename(run)
    odd.goes(training(task, tmp_path))
    check_same(run, folder(task, wholes))


@pytest.mark.parametrize("name", ["SIGHUP", "SIGTERM", "SIGINT"])
@pytest.mark.parametrize("task", TASKS)
def test_a_signal_inside_a_save(name: str, task: str, wholes: Path, tmp_path: Path, odd: Odd) -> None:
    status, said = odd.run(training(task, tmp_path), at_save=(name, ""))
    assert (status, said) == (
        130,
        "\nplasticrl: stopped; everything written so far is kept; the same command resumes\n",
    )
    odd.goes(training(task, tmp_path))
    check_same(folder(task, tmp_path), folder(task, wholes))


@pytest.mark.parametrize(
    "env", [{"TMPDIR": "/nowhere"}, {"COLUMNS": "1", "TERM": "odd"}, {"MPLCONFIGDIR": "/proc/x"}]
)
@pytest.mark.parametrize("command", ["compare", "evaluate"])
def test_odd_surroundings(env: dict[str, str], command: str, wholes: Path, tmp_path: Path, odd: Odd) -> None:
    odd.goes(commands(wholes, tmp_path)[command], env=env)


@pytest.mark.parametrize("columns", ["0", "1", "7", "odd"])
def test_help_on_a_narrow_terminal(
    columns: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    assert main(["evaluate", "--help"]) == 0
    assert "--episodes" in capsys.readouterr().out
    assert os.environ["COLUMNS"] == columns


def test_of_two_that_start_at_once_the_slower_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from plasticrl.scripts.experiments import training as module

    def slower(path: Path, run: Any, *, overwrite: bool) -> None:
        claim(path, run, overwrite=overwrite)  # the other process
        claim(path, run, overwrite=overwrite)

    monkeypatch.setattr(module, "claim", slower)
    assert main(training("patterns", tmp_path)) == 2
    said = capsys.readouterr().err
    assert "in use by another process" in said
    assert "--overwrite" not in said


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with locked(tmp_path):
        pass
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "without locks" in said


def test_a_lock_that_is_held(tmp_path: Path) -> None:
    with locked(tmp_path), pytest.raises(BusyError, match="in use by another process"), locked(tmp_path):
        pass


KINDS = sorted(set(errno.errorcode) - {errno.EPIPE})


@pytest.mark.parametrize("number", KINDS, ids=errno.errorcode.get)
def test_every_error_of_the_system_is_one_line(
    number: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(_: object = None) -> None:
        raise OSError(number, os.strerror(number), "a/file")

    monkeypatch.setattr("plasticrl.scripts.evaluate.run", fails)
    assert main_module.main(["evaluate", "run"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("plasticrl: error: ")
    assert said.count("\n") == 1
    assert said.count(": ") >= 3  # place, cause, way out
    assert reason_of_failure(fails) in said


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
        ValueError("Maximum allowed dimension exceeded"),
        RuntimeError("can't start new thread"),
        ImportError("libx.so: cannot open shared object file: Too many open files"),
    ],
)
def test_what_libraries_say_of_the_machine_is_told_in_our_words(error: Exception) -> None:
    text = in_one_line(error)
    assert text is not None
    assert "memory" in text or "ulimit" in text


@pytest.mark.parametrize("error", [ValueError("a defect"), KeyError("x"), RuntimeError("other")])
def test_a_defect_is_none_of_them(error: Exception) -> None:
    assert in_one_line(error) is None


@pytest.fixture
def kernels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Any]:
    """Makes a new kernel of one source, cached in a folder of its own."""
    from numba import njit
    from numba.core import config

    from plasticrl.ops.numba import compilation as kernel_cache

    assert njit is not None
    source = tmp_path / "source.py"
    source.write_text("def double(x):\n    return 2 * x\n")
    monkeypatch.setattr(config, "CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(kernel_cache, "_warned", set())

    def make() -> Any:
        names: dict[str, Any] = {}
        exec(compile(source.read_text(), str(source), "exec"), names)
        return kernel_cache.kernel(names["double"])

    return make


@pytest.mark.parametrize("suffix", ["nbi", "nbc"])
@pytest.mark.parametrize("content", ["empty", "cut", "zeros", "noise"])
def test_a_damaged_cache_of_kernels_is_replaced(
    suffix: str, content: str, kernels: Callable[[], Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert kernels()(3) == 6
    (path,) = (tmp_path / "cache").rglob(f"*.{suffix}")
    whole = path.read_bytes()
    path.write_bytes(
        {"empty": b"", "cut": whole[: len(whole) // 2], "zeros": bytes(len(whole)), "noise": b"\x93" * 99}[
            content
        ]
    )
    assert kernels()(3) == 6
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert str(tmp_path / "cache") in said
    healed = kernels()
    assert healed(3) == 6
    assert sum(healed.stats.cache_hits.values()) == 1
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EMFILE])
def test_a_cache_of_kernels_that_cannot_be_written(
    number: int,
    kernels: Callable[[], Any],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from numba.core.caching import IndexDataCacheFile

    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(IndexDataCacheFile, "save", refuse)
    assert kernels()(3) == 6
    assert kernels()(4) == 8
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "NUMBA_CACHE_DIR" in said


def test_no_folder_for_kernels_at_all(
    kernels: Callable[[], Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from numba.core.caching import CacheImpl

    monkeypatch.setattr(CacheImpl, "_locator_classes", [])
    assert kernels()(3) == 6
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "NUMBA_CACHE_DIR" in said


def test_signals_are_as_before() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGINT)]
    main(["--version"])
    assert [signal.getsignal(number) for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGINT)] == before
