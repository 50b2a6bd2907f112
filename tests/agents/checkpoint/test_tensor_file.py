import os
import stat
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from plasticrl.agents.checkpoint.tensor_file import (
    TensorFileError,
    place_to_read,
    place_to_write,
    read_tensors,
    write_tensors,
)
from plasticrl.whole_files import write_whole

TENSORS = {
    "weights": torch.randn(3, 4, generator=torch.Generator().manual_seed(0)),
    "turned": torch.arange(6.0).reshape(2, 3).T,
    "scalar": torch.tensor(2.5, dtype=torch.float64),
    "none": torch.zeros(0, 4),
    "bits": torch.tensor([True, False]),
    "whole": torch.tensor([-1, 2**40]),
}
DATA: dict[str, Any] = {
    "text": "ä\n",
    "long": 2**127 + 1,
    "list": [1, 2.5, None, True],
    "inside": {"b": 1, "a": 2},
}


def test_what_is_written_is_read(tmp_path: Path) -> None:
    write_tensors(tmp_path / "file", TENSORS, DATA)
    tensors, data = read_tensors(tmp_path / "file")
    assert data == DATA
    assert tensors.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert tensors[name].dtype == tensor.dtype
        assert torch.equal(tensors[name], tensor)


def test_a_file_object_gets_the_same_bytes_and_equal_content_gives_equal_bytes(tmp_path: Path) -> None:
    write_tensors(tmp_path / "file", TENSORS, DATA)
    buffer = BytesIO()
    write_tensors(buffer, dict(reversed(TENSORS.items())), dict(reversed(DATA.items())))
    assert buffer.getvalue() == (tmp_path / "file").read_bytes()
    buffer.seek(0)
    assert read_tensors(buffer)[1] == DATA


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_data_must_be_finite_and_nothing_is_written_else(number: float, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        write_tensors(tmp_path / "file", TENSORS, {"x": number})
    assert not list(tmp_path.iterdir())


def test_a_damaged_file_is_not_called_a_pickle_for_the_length_of_its_header(tmp_path: Path) -> None:
    path = tmp_path / "file"
    for length in range(256):  # one of these headers has a length whose first byte is that of a pickle
        write_tensors(path, TENSORS, {"text": "x" * length})
        if (content := path.read_bytes())[:1] == b"\x80":
            break
    else:
        pytest.fail("no header has such a length")
    path.write_bytes(content[:-1])
    with pytest.raises(TensorFileError) as found:
        read_tensors(path)
    assert "pickle" not in str(found.value)


def test_a_file_cut_anywhere_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_tensors(path, TENSORS, DATA)
    content = path.read_bytes()
    for length in range(0, len(content), 7):
        path.write_bytes(content[:length])
        with pytest.raises(TensorFileError, match="file"):
            read_tensors(path)


def test_a_flipped_bit_is_refused_or_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_tensors(path, TENSORS, DATA)
    content = path.read_bytes()
    rng = np.random.default_rng(0)
    refused = 0
    for bit in rng.choice(8 * len(content), 400, replace=False):
        damaged = bytearray(content)
        damaged[bit // 8] ^= 1 << (bit % 8)
        path.write_bytes(damaged)
        try:
            tensors, data = read_tensors(path)
        except TensorFileError:
            refused += 1
        else:  # white space, or a header entry that means the same
            assert data == DATA
            assert all(torch.equal(tensors[name], tensor) for name, tensor in TENSORS.items())
    assert refused > 390


def _header(text: bytes) -> bytes:
    return len(text).to_bytes(8, "little") + text


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x80\x04\x95",  # the start of a pickle
        b"PK\x03\x04" + bytes(100),  # of a zip, as SB3 writes
        (10**11).to_bytes(8, "little") + b"{}",  # claims a header of 100 GB
        _header(b'{"a":{"dtype":"F32","shape":[25000000000],"data_offsets":[0,100000000000]}}'),
        _header(b"[" * 100_000),
        _header(b'{"__metadata__":{"plasticrl":"' + b"[" * 100_000 + b'","sha256":""}}'),
        _header(b'{"__metadata__":{"plasticrl":"{}"}}'),
        _header(b"{}"),
    ],
)
def test_a_hostile_or_foreign_file_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(TensorFileError, match="not a file that plasticrl wrote"):
        read_tensors(path)


def test_a_header_whose_length_starts_like_a_pickle_is_read() -> None:
    """One of 256 files does: every length of text is tried until one has it."""
    starts = set()
    for length in range(600, 600 + 256 + 8):
        buffer = BytesIO()
        write_tensors(buffer, {}, {"text": "a" * length})
        starts.add(buffer.getvalue()[0])
        buffer.seek(0)
        assert len(read_tensors(buffer)[1]["text"]) == length
    assert 0x80 in starts


def test_another_programs_safetensors_are_refused(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(2)}, tmp_path / "file")
    with pytest.raises(TensorFileError, match="not a file that plasticrl wrote"):
        read_tensors(tmp_path / "file")


def test_a_missing_file_is_the_systems_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_tensors(tmp_path / "none")


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_failed_write_leaves_the_old_file_and_nothing_else(
    step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_whole(tmp_path / "file", b"old")

    def fail(*args: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, step, fail)
    with pytest.raises(OSError, match="No space left"):
        write_whole(tmp_path / "file", b"new")
    monkeypatch.undo()
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_bytes() == b"old"


def test_content_is_on_the_disk_before_it_takes_the_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []
    fsync, replace = os.fsync, os.replace

    def note_fsync(descriptor: int) -> None:
        calls.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        fsync(descriptor)

    def note_replace(source: Path, target: Path) -> None:
        calls.append("replace")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", note_fsync)
    monkeypatch.setattr(os, "replace", note_replace)
    write_whole(tmp_path / "file", b"new")
    assert calls == ["file", "replace", "folder"]


@pytest.mark.parametrize("path", ["", ".", "/", "..", "~", "a/..", Path()])
def test_the_path_of_a_folder_is_refused(path: Any) -> None:
    for place in (place_to_write, place_to_read):
        with pytest.raises(ValueError, match="is a folder: give the path of a file in it"):
            place(path)


def test_what_save_writes_is_what_load_reads(tmp_path: Path) -> None:
    (tmp_path / "model.zip").write_bytes(b"of another library")
    write_tensors(place_to_write(tmp_path / "model"), {}, {"mine": True})
    assert read_tensors(place_to_read(tmp_path / "model"))[1] == {"mine": True}
