"""Files are written whole or not at all, never through a link, and only regular ones are read."""

import errno
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from plasticrl.whole_files import (
    UnfitFileError,
    kind_of,
    open_regular,
    read_regular,
    temporary_name,
    this_writer,
    write_whole,
    written_whole,
)


def test_an_error_while_writing_leaves_the_old_file(tmp_path: Path) -> None:
    write_whole(tmp_path / "file", b"old")

    def write() -> None:
        with written_whole(tmp_path / "file") as stream:
            stream.write(b"new")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write()
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_bytes() == b"old"


def test_threads_that_write_one_file_do_not_meet(tmp_path: Path) -> None:
    with written_whole(tmp_path / "file") as stream:
        stream.write(b"first to begin")
        with ThreadPoolExecutor() as other:
            other.submit(write_whole, tmp_path / "file", b"first to end").result()
        assert (tmp_path / "file").read_bytes() == b"first to end"
    assert (tmp_path / "file").read_bytes() == b"first to begin"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("temporary", [False, True])
@pytest.mark.parametrize("kind", ["link", "dangling link", "second name"])
def test_what_a_name_leads_to_is_not_written(temporary: bool, kind: str, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_bytes(b"theirs")
    path = tmp_path / "own" / (temporary_name("file", this_writer()) if temporary else "file")
    path.parent.mkdir()
    if kind == "second name":
        path.hardlink_to(outside)
    else:
        path.symlink_to(outside if kind == "link" else tmp_path / "none")
    write_whole(tmp_path / "own" / "file", b"mine")
    assert (tmp_path / "own" / "file").read_bytes() == b"mine"
    assert kind_of(tmp_path / "own" / "file") is None
    assert outside.read_bytes() == b"theirs"
    assert sorted(one.name for one in tmp_path.iterdir()) == ["outside", "own"]
    assert len(list((tmp_path / "own").iterdir())) == 1


def test_no_more_is_read_than_belongs_there(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"12345")
    assert read_regular(tmp_path / "file", 5) == b"12345"
    with pytest.raises(UnfitFileError, match=r"file is 5 bytes long, but may have at most 4"):
        read_regular(tmp_path / "file", 4)


@pytest.mark.parametrize("links", [True, False])
def test_only_regular_files_are_opened(links: bool, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"12345")
    (tmp_path / "link").symlink_to("file")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "to_pipe").symlink_to("pipe")
    (tmp_path / "device").symlink_to("/dev/zero")
    with open_regular(tmp_path / "file", links=links) as stream:
        assert stream.read() == b"12345"
    if links:
        with open_regular(tmp_path / "link", links=True) as stream:
            assert stream.read() == b"12345"
    for name in ("pipe", "to_pipe", "device", *(() if links else ("link",))):
        with pytest.raises(UnfitFileError, match=f"{name} is a .*, not a regular file"):
            open_regular(tmp_path / name, links=links)
    with pytest.raises(IsADirectoryError):
        open_regular(tmp_path, links=links)
    with pytest.raises(FileNotFoundError):
        open_regular(tmp_path / "none", links=links)


def test_a_file_that_is_another_once_it_is_opened_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody puts a link in its place between the look and the opening."""
    path, theirs = tmp_path / "file", tmp_path / "theirs"
    path.write_bytes(b"mine")
    theirs.write_bytes(b"theirs")
    opening = os.open

    def swapped(name: Path, flags: int) -> int:
        path.unlink()
        path.symlink_to(theirs)
        return opening(name, flags)

    monkeypatch.setattr(os, "open", swapped)
    with pytest.raises(OSError, match="symbolic links"):
        open_regular(path, links=False)


@pytest.mark.parametrize("code", [errno.EINVAL, errno.EACCES])
def test_a_folder_that_cannot_be_flushed_is_no_failure(
    code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flush = os.fsync

    def fsync(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(code, os.strerror(code))
        flush(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    write_whole(tmp_path / "file", b"new")
    assert (tmp_path / "file").read_bytes() == b"new"


@pytest.mark.parametrize("name", ["a" * 255, "a" + "ä" * 127, "ä" * 126 + ".b"])
def test_every_name_that_a_file_may_have_will_do(name: str, tmp_path: Path) -> None:
    write_whole(tmp_path / name, b"new")
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.skipif(os.name != "posix", reason="permissions are POSIX's")
def test_permissions_of_the_old_file_are_kept(tmp_path: Path) -> None:
    write_whole(tmp_path / "file", b"old")
    (tmp_path / "file").chmod(0o600)
    write_whole(tmp_path / "file", b"new")
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o600
