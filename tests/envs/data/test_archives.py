"""Archives are read whole or refused by name, and never touch the disk."""

import gzip
import io
import os
import re
import stat
import tarfile
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from plasticrl.envs.data.archives import read_archive, read_members, read_tree
from plasticrl.envs.data.download import DataError

Rng = np.random.Generator
LIMITS = {"largest": 20_000, "total": 100_000, "most": 20}
GOOD = {f"data/part_{number}.bin": bytes(range(200)) * (7 * number) for number in range(1, 4)}


def wanted(name: str) -> bool:
    return name.endswith(".bin")


def make_zip(entries: list[tuple[zipfile.ZipInfo, bytes]], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for info, content in entries:
            archive.writestr(info, content, compress_type=method)
    return file.getvalue()


def make_tar(entries: list[tuple[tarfile.TarInfo, bytes]], tar_format: int = tarfile.USTAR_FORMAT) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tar_format) as archive:
        for info, content in entries:
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return file.getvalue()


def packed(tar: bytes) -> bytes:
    return gzip.compress(tar, mtime=0)


def zip_entries(*extra: tuple[str, bytes]) -> list[tuple[zipfile.ZipInfo, bytes]]:
    return [(zipfile.ZipInfo(name), content) for name, content in (*GOOD.items(), *extra)]


def tar_entries(*extra: tuple[str, bytes]) -> list[tuple[tarfile.TarInfo, bytes]]:
    return [(tarfile.TarInfo(name), content) for name, content in (*GOOD.items(), *extra)]


def either(rng: Rng, *extra: tuple[str, bytes]) -> bytes:
    return make_zip(zip_entries(*extra)) if rng.random() < 0.5 else packed(make_tar(tar_entries(*extra)))


def noise(rng: Rng, size: int) -> bytes:
    return rng.integers(0, 256, size, dtype=np.uint8).tobytes()


def flipped(content: bytes, rng: Rng, first: int, end: int) -> bytes:
    changed = bytearray(content)
    changed[rng.integers(first, end)] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def with_mode(rng: Rng, *modes: int) -> bytes:
    info = zipfile.ZipInfo("data/special.bin")
    info.create_system = 3
    info.external_attr = (int(rng.choice(modes)) | 0o644) << 16
    return make_zip([*zip_entries(), (info, b"/etc/passwd")])


def with_type(rng: Rng, *types: bytes) -> bytes:
    info = tarfile.TarInfo("data/special.bin")
    info.type = types[rng.integers(len(types))]
    info.linkname = str(rng.choice(["/etc/passwd", "../../evil", "data/part_1.bin"]))
    return packed(make_tar([*tar_entries(), (info, b"")]))


def cut(rng: Rng) -> bytes:
    whole = either(rng)
    return whole[: rng.integers(1, len(whole))]


def flipped_zip(rng: Rng) -> bytes:
    whole = make_zip(zip_entries())
    infos = zipfile.ZipFile(io.BytesIO(whole)).infolist()
    info = infos[rng.integers(len(infos))]
    start = info.header_offset + 30 + len(info.filename)
    return flipped(whole, rng, start, start + info.compress_size)


def flipped_gzip(rng: Rng) -> bytes:
    whole = packed(make_tar(tar_entries()))
    return flipped(whole, rng, 10, len(whole))


def flipped_tar_header(rng: Rng) -> bytes:
    """The flip is under gzip's checksum, so only the header's own can find it."""
    tar = make_tar(tar_entries())
    second = 512 + -(-len(GOOD["data/part_1.bin"]) // 512) * 512
    # Not where the checksum is: its spelling has bits that do not count.
    first, end = [(second, second + 148), (second + 156, second + 500)][rng.integers(2)]
    return packed(flipped(tar, rng, first, end))


def traversal(rng: Rng) -> bytes:
    names = ["../evil.bin", "data/../../evil.bin", "..", "data\\..\\..\\evil.bin", "./../evil.bin"]
    return either(rng, (str(rng.choice(names)), noise(rng, 50)))


def absolute(rng: Rng) -> bytes:
    names = [str(Path.cwd() / "evil.bin"), "/evil.bin", "C:\\evil.bin", "C:/evil.bin", "\\\\host\\evil.bin"]
    return either(rng, (str(rng.choice(names)), noise(rng, 50)))


def bomb_in_one(rng: Rng) -> bytes:
    return either(rng, ("data/bomb.bin", bytes(int(rng.integers(20_001, 3_000_000)))))


def bomb_in_many(rng: Rng) -> bytes:
    return either(
        rng, *((f"data/bomb_{number}.bin", bytes(19_000)) for number in range(int(rng.integers(5, 9))))
    )


def bomb_passed_over(rng: Rng) -> bytes:
    """What is not wanted has to be unpacked to get past it in a tar.gz."""
    return packed(make_tar(tar_entries(("data/bomb.txt", bytes(int(rng.integers(100_000, 3_000_000)))))))


def bomb_after_the_end(rng: Rng) -> bytes:
    return packed(make_tar(tar_entries()) + bytes(int(rng.integers(100_000, 3_000_000))))


def false_size(rng: Rng) -> bytes:
    """Claims fewer bytes than come out, in both places that tell a size."""
    whole = bytearray(make_zip(zip_entries(("data/bomb.bin", bytes(1_000_000)))))
    claimed = int(rng.integers(1, 1000)).to_bytes(4, "little")
    return bytes(whole.replace((1_000_000).to_bytes(4, "little"), claimed))


def with_claim(rng: Rng, size: int) -> bytes:
    """A last member that claims ``size`` bytes and has none."""
    info = tarfile.TarInfo("data/special" + str(rng.choice([".bin", ".txt"])))
    info.size = size
    end = sum(512 + -(-len(content) // 512) * 512 for content in GOOD.values())
    return packed(make_tar(tar_entries())[:end] + info.tobuf(tarfile.GNU_FORMAT) + bytes(1024))


def many_members(rng: Rng) -> bytes:
    return either(rng, *((f"data/{number}.txt", b"") for number in range(int(rng.integers(18, 500)))))


def oversized_file(rng: Rng) -> bytes:
    return make_zip(zip_entries(("data/a.txt", noise(rng, 120_000))), zipfile.ZIP_STORED)


def repeated(rng: Rng) -> bytes:
    name = str(rng.choice(["data/part_1.bin", "./data//part_1.bin"]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zipfile's, about the repetition
        return either(rng, (name, b"other"))


def encrypted(rng: Rng) -> bytes:
    whole = bytearray(make_zip(zip_entries()))
    entry = whole.rindex(b"PK\x01\x02") if rng.random() < 0.5 else whole.index(b"PK\x01\x02")
    whole[entry + 8] |= 1
    return bytes(whole)


def other_method(rng: Rng) -> bytes:
    return make_zip(zip_entries(), int(rng.choice([zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])))


def wrong_content(rng: Rng) -> bytes:
    size = int(rng.integers(0, 5_000))
    texts = [
        b"<!DOCTYPE html><html>404</html>",
        b"",
        b"PK\x03\x04",
        b"PK\x05\x06" + bytes(18),
        b"\x1f\x8b\x08\x00",
    ]
    return texts[rng.integers(len(texts))] + (noise(rng, size) if rng.random() < 0.5 else b"")


def gzip_of_something_else(rng: Rng) -> bytes:
    return gzip.compress(noise(rng, int(rng.integers(1, 5_000))))


def something_appended(rng: Rng) -> bytes:
    if rng.random() < 0.5:
        return packed(make_tar(tar_entries()) + noise(rng, 1_000))
    return packed(make_tar(tar_entries())) + b"!" + noise(rng, 1_000)


def endless_remark(rng: Rng) -> bytes:
    info = tarfile.TarInfo("remark")
    info.type = [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME][rng.integers(3)]
    return packed(make_tar([(info, bytes(200_000)), *tar_entries()]))


KINDS: dict[str, Callable[[Rng], bytes]] = {
    "cut": cut,
    "bit flipped in a zip": flipped_zip,
    "bit flipped in a gzip": flipped_gzip,
    "bit flipped in a tar header": flipped_tar_header,
    "path traversal": traversal,
    "absolute path": absolute,
    "link or device in a zip": lambda rng: with_mode(
        rng, stat.S_IFLNK, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFIFO
    ),
    "link in a tar": lambda rng: with_type(rng, tarfile.SYMTYPE, tarfile.LNKTYPE),
    "device in a tar": lambda rng: with_type(rng, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE),
    "sparse or unknown kind in a tar": lambda rng: with_type(
        rng, tarfile.GNUTYPE_SPARSE, tarfile.CONTTYPE, b"Z"
    ),
    "bomb in one member": bomb_in_one,
    "bomb in many members": bomb_in_many,
    "bomb passed over": bomb_passed_over,
    "bomb after the end": bomb_after_the_end,
    "false size": false_size,
    "negative size": lambda rng: with_claim(rng, -int(rng.integers(1, 10_000))),
    "claims too much": lambda rng: with_claim(rng, int(rng.integers(1 << 40, 1 << 60))),
    "too many members": many_members,
    "oversized file": oversized_file,
    "repeated member": repeated,
    "encrypted": encrypted,
    "unusual packing": other_method,
    "wrong content": wrong_content,
    "gzip of something else": gzip_of_something_else,
    "something appended": something_appended,
    "endless remark": endless_remark,
}


def everything_below(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {
        str(path): (path.lstat().st_mode, path.read_bytes() if path.is_file() else b"")
        for path in folder.rglob("*")
    }


@pytest.mark.parametrize("kind", KINDS)
def test_malformed_archives_are_refused_by_name_and_nothing_is_written(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, soak: bool, figures: Callable[..., None]
) -> None:
    inner = tmp_path / "a" / "b" / "c"
    inner.mkdir(parents=True)
    (tmp_path / "temporary").mkdir()
    monkeypatch.chdir(inner)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    path = inner / "archive"
    count = 40 if soak else 9
    for seed in range(count):
        path.write_bytes(KINDS[kind](np.random.default_rng((seed, len(kind)))))
        before = everything_below(tmp_path)
        with pytest.raises(DataError, match=re.escape(str(path))):
            read_archive(path, wanted, **LIMITS)
        assert everything_below(tmp_path) == before
    figures(f"archives_{'_'.join(kind.split())}", archives=count, refused_by_name=count, written=0)


def test_a_flip_of_any_bit_of_a_zips_list_of_members_is_refused_or_without_effect(tmp_path: Path) -> None:
    whole = make_zip(zip_entries())
    path = tmp_path / "archive"
    for bit in range(8 * whole.index(b"PK\x01\x02"), 8 * len(whole)):
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        try:
            found = read_archive(path, lambda name: True, **LIMITS)
        except DataError:
            continue
        assert sorted(found.values()) == sorted(GOOD.values()), bit


@pytest.mark.parametrize(
    "whole",
    [
        make_zip(zip_entries(("data/note.txt", b"text"))),
        make_zip(zip_entries(("data/note.txt", b"text")), zipfile.ZIP_STORED),
        packed(make_tar(tar_entries(("data/note.txt", b"text")))),
        packed(make_tar(tar_entries(("data/note.txt", b"text")), tarfile.GNU_FORMAT)),
        packed(make_tar([(tarfile.TarInfo(f"./{name}"), content) for name, content in GOOD.items()])),
    ],
    ids=["deflated zip", "stored zip", "ustar", "gnu tar", "names with ./"],
)
def test_the_wanted_files_of_a_good_archive_are_read(whole: bytes, tmp_path: Path) -> None:
    (tmp_path / "archive").write_bytes(whole)
    assert read_archive(tmp_path / "archive", wanted, **LIMITS) == GOOD


def test_a_tar_that_tells_exact_times_is_read(tmp_path: Path) -> None:
    entries = tar_entries()
    for info, _ in entries:
        info.mtime = 1.5  # becomes a remark before the member
    (tmp_path / "archive").write_bytes(packed(make_tar(entries, tarfile.PAX_FORMAT)))
    assert read_archive(tmp_path / "archive", wanted, **LIMITS) == GOOD


@pytest.mark.parametrize("limit", ["largest", "total", "most"])
@pytest.mark.parametrize("write", ["zip", "tar", "tree"])
def test_limits_are_inclusive(write: str, limit: str, tmp_path: Path) -> None:
    if write == "tree":
        path = make_tree(tmp_path)
    else:
        path = tmp_path / "archive"
        path.write_bytes(make_zip(zip_entries()) if write == "zip" else packed(make_tar(tar_entries())))
    tar = len(make_tar(tar_entries()))
    sizes = [len(content) for content in GOOD.values()]
    exact = {"largest": max(sizes), "total": tar if write == "tar" else sum(sizes), "most": len(GOOD)}
    assert read_members(path, wanted, **{**LIMITS, limit: exact[limit]}) == GOOD
    with pytest.raises(DataError, match="at most"):
        read_members(path, wanted, **{**LIMITS, limit: exact[limit] - 1})


def make_tree(folder: Path) -> Path:
    for name, content in GOOD.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)
    return folder / "data"


def test_a_folder_gives_what_its_archive_gives(tmp_path: Path) -> None:
    tree = make_tree(tmp_path)
    (tree / "note.txt").write_text("unwanted")
    assert read_tree(tree, wanted, **LIMITS) == GOOD
    assert list(read_members(tree, wanted, **LIMITS)) == sorted(GOOD)


@pytest.mark.parametrize("kind", ["fifo", "dangling link", "folder link"])
def test_what_is_no_file_is_not_read_from_a_folder(kind: str, tmp_path: Path) -> None:
    tree = make_tree(tmp_path)
    if kind == "folder link":
        (tmp_path / "outside").mkdir()
        (tmp_path / "outside" / "other.bin").write_bytes(b"other")
        (tree / "link").symlink_to(tmp_path / "outside")
        assert read_tree(tree, wanted, **LIMITS) == GOOD
        return
    if kind == "fifo":
        os.mkfifo(tree / "special.bin")
    else:
        (tree / "special.bin").symlink_to(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"special\.bin"):
        read_tree(tree, wanted, **LIMITS)


def test_a_missing_archive_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere\.zip: there is no such file"):
        read_archive(tmp_path / "nowhere.zip", wanted, **LIMITS)
