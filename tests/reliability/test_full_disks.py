"""Where a save cannot be written, what was saved before is whole, and training goes on from it later."""

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from children import start
from equal_runs import check_same, checkpoints

from plasticrl.agents.checkpoint.tensor_file import read_tensors
from plasticrl.scripts.main import main

OPTIONS = ["--n-bits", "60", "--n-cycles", "1", "--total-episodes", "300", "--checkpoints", "30"]
ALIKE = ["--eval-episodes", "4", "--threads", "1", "--quiet"]


def words(root: Path) -> list[str]:
    return ["train", "patterns", "--root", str(root), *OPTIONS, *ALIKE]


def folder(root: Path) -> Path:
    return root / "patterns" / "plastic" / "seed_0"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("whole")
    assert main(words(root)) == 0
    return folder(root)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MB."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = shutil.which("mount")
    command = [str(mount), "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(place)]
    if mount is None or subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip("a small file system can be mounted by root only")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def begin(root: Path, said: Path, file_size: int | None = None) -> None:
    """Train until two checkpoints are there, then be killed."""
    process = start(
        "train", words=words(root), said=str(said), when=("replaced", 3, "checkpoints/"), file_size=file_size
    )
    process.join(120)
    assert process.exitcode == -9, said.read_text()


def refused(root: Path, said: Path, file_size: int | None = None) -> None:
    """Go on where nothing can be written: one line, status 2, and the checkpoints are as before."""
    before = {path: path.read_bytes() for path in checkpoints(folder(root)).values()}
    process = start("train", words=words(root), said=str(said), when=None, file_size=file_size)
    process.join(120)
    text = said.read_text()
    assert process.exitcode == 2, text
    assert text.count("\n") == 1
    assert "plasticrl: error: cannot write to" in text
    kept = checkpoints(folder(root)).values()
    for path in kept:
        read_tensors(path)
    assert max(kept) >= max(before)
    assert not list(folder(root).rglob(".step_*"))


def fill(filler: Path) -> None:
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            return


def check_goes_on(root: Path, whole: Path) -> None:
    assert main(words(root)) == 0
    check_same(folder(root), whole)


def test_a_file_size_limit_in_the_middle_of_a_save(
    whole: Path, tmp_path: Path, figures: Callable[..., None]
) -> None:
    begin(tmp_path, tmp_path / "said")
    size = max(path.stat().st_size for path in checkpoints(folder(tmp_path)).values())
    refused(tmp_path, tmp_path / "said", file_size=size // 2)
    check_goes_on(tmp_path, whole)
    figures("disk_file_size_limit", old_checkpoint_whole=True, resumed_equals_uninterrupted=True)


def test_a_full_disk(whole: Path, disk: Path, tmp_path: Path, figures: Callable[..., None]) -> None:
    begin(disk, tmp_path / "said")
    filler = disk / "filler"
    fill(filler)
    refused(disk, tmp_path / "said")
    filler.unlink()
    check_goes_on(disk, whole)
    figures("disk_full", old_checkpoint_whole=True, resumed_equals_uninterrupted=True)


def test_a_disk_that_fills_up_while_training(
    whole: Path, disk: Path, tmp_path: Path, figures: Callable[..., None]
) -> None:
    process = start("train", words=words(disk), said=str(tmp_path / "said"), when=None, file_size=None)
    while process.is_alive() and len(checkpoints(folder(disk))) < 2:
        time.sleep(0.005)
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        while process.is_alive():
            try:
                file.write(bytes(1024))
            except OSError:
                time.sleep(0.002)
    assert process.exitcode == 2, (tmp_path / "said").read_text()
    filler.unlink()
    check_goes_on(disk, whole)
    figures("disk_fills_up", resumed_equals_uninterrupted=True)


def test_a_folder_that_cannot_be_written(
    whole: Path, tmp_path: Path, request: pytest.FixtureRequest, figures: Callable[..., None]
) -> None:
    if os.geteuid() == 0:  # root may write in spite of permissions, but not to a read-only file system
        root: Path = request.getfixturevalue("disk")
        begin(root, tmp_path / "said")
        subprocess.run(["mount", "-o", "remount,ro", str(root)], check=True)
        refused(root, tmp_path / "said")
        subprocess.run(["mount", "-o", "remount,rw", str(root)], check=True)
    else:
        root = tmp_path
        begin(root, tmp_path / "said")
        (folder(root) / "checkpoints").chmod(0o500)
        refused(root, tmp_path / "said")
        (folder(root) / "checkpoints").chmod(0o700)
    check_goes_on(root, whole)
    figures("disk_read_only", old_checkpoint_whole=True, resumed_equals_uninterrupted=True)
