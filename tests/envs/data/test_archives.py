"""Only the official archives are opened; an unpacked folder gives what its archive gives."""

import hashlib
import os
import re
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from plasticrl.envs.data.download import DATASETS, DataError, find_dataset, read_files

Pin = Callable[[str, Path], None]
OFFICIAL = {f"part/{number}.bin": bytes(range(200)) * (7 * number) for number in range(1, 4)}


def pack(place: Path, archive: str) -> Path:
    """Write an archive of these files, and the folder that it unpacks to, below."""
    for name, content in OFFICIAL.items():
        (place / "unpacked" / name).parent.mkdir(parents=True, exist_ok=True)
        (place / "unpacked" / name).write_bytes(content)
    if archive.endswith(".zip"):
        with zipfile.ZipFile(place / archive, "w") as file:
            for name, content in OFFICIAL.items():
                file.writestr(name, content)
    else:
        with tarfile.open(place / archive, "w:gz") as tar:
            tar.add(place / "unpacked" / "part", "part")
    return place / archive


def flipped(content: bytes, seed: int) -> bytes:
    changed = bytearray(content)
    changed[np.random.default_rng(seed).integers(len(content))] ^= 1 << seed % 8
    return bytes(changed)


@pytest.mark.parametrize("name", DATASETS)
@pytest.mark.parametrize(
    "damage",
    [
        *(lambda content, seed=seed: flipped(content, seed) for seed in range(8)),
        lambda content: content[:-1],
        lambda content: content + b"!",
        lambda content: b"<!DOCTYPE html><html>404</html>",
        lambda content: b"",
    ],
)
def test_any_other_archive_is_refused_by_name_and_not_opened(
    name: str, damage: Callable[[bytes], bytes], tmp_path: Path, pin: Pin, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed = [pack(tmp_path, part.archive) for part in DATASETS[name]]
    pin(name, tmp_path)
    assert list(find_dataset(name, tmp_path).values()) == packed
    packed[-1].write_bytes(damage(packed[-1].read_bytes()))
    for opens in ("tarfile.open", "zipfile.ZipFile"):
        monkeypatch.delattr(opens)
    found = hashlib.sha256(packed[-1].read_bytes()).hexdigest()
    words = f"{packed[-1]} is not the official archive: its SHA-256 is {found} instead of "
    with pytest.raises(DataError, match=re.escape(words) + ".*Delete it and download https://.*, or unpack"):
        find_dataset(name, tmp_path)


@pytest.mark.parametrize("archive", ["part.zip", "part.tar.gz"])
def test_archives_and_folders_give_the_same_files(archive: str, tmp_path: Path) -> None:
    packed = pack(tmp_path, archive)
    wanted = {name: content for name, content in OFFICIAL.items() if name != "part/2.bin"}
    for source in (packed, tmp_path / "unpacked" / "part"):
        assert read_files(source, wanted.__contains__, largest=200 * 21) == wanted
    with pytest.raises(DataError, match=r"3\.bin cannot be read \(4,200 bytes long, .* at most 4,199\)"):
        read_files(tmp_path / "unpacked" / "part", wanted.__contains__, largest=200 * 21 - 1)


@pytest.mark.parametrize("kind", ["pipe", "dangling link", "folder", "link to a file", "link to a folder"])
def test_what_is_no_file_is_not_read_from_a_folder(kind: str, tmp_path: Path) -> None:
    pack(tmp_path, "part.zip")
    folder = tmp_path / "unpacked" / "part"
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "4.bin").write_bytes(b"other")
    if kind == "pipe":
        os.mkfifo(folder / "4.bin")
    elif kind == "folder":
        (folder / "4.bin").mkdir()
    else:
        target = {"dangling link": "none", "link to a file": "outside/4.bin", "link to a folder": "outside"}
        (folder / "4.bin").symlink_to(tmp_path / target[kind])
    if kind in ("pipe", "dangling link"):
        with pytest.raises(DataError, match=r"4\.bin cannot be read"):
            read_files(folder, lambda name: True, largest=10_000)
    else:
        more = {"part/4.bin": b"other"} if kind == "link to a file" else {}
        assert read_files(folder, lambda name: True, largest=10_000) == OFFICIAL | more
