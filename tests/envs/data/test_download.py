"""A dataset's files are found where the user says, else downloaded and compared with a pinned checksum."""

import hashlib
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from plasticrl.envs.data.download import DATASETS, DataError, cache_dir, find_dataset


@pytest.fixture(autouse=True)
def no_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PLASTICRL_DATA", raising=False)
    monkeypatch.setenv("PLASTICRL_CACHE", str(tmp_path / "cache"))


Pin = Callable[[str, Path], None]


def put(folder: Path, name: str, form: str) -> dict[str, Path]:
    """Archives or folders of nothing: finding compares checksums, and reads no more."""
    found = {}
    for part in DATASETS[name]:
        found[part.folder] = folder / (part.archive if form == "archive" else part.folder)
        folder.mkdir(parents=True, exist_ok=True)
        found[part.folder].touch() if form == "archive" else found[part.folder].mkdir()
    return found


@pytest.mark.parametrize("origin", ["data_dir", "PLASTICRL_DATA"])
@pytest.mark.parametrize("form", ["archive", "tree"])
@pytest.mark.parametrize("below", ["", "own subfolder"])
@pytest.mark.parametrize("name", DATASETS)
def test_files_already_there_are_found(
    name: str, below: str, form: str, origin: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pin: Pin
) -> None:
    place = tmp_path / "data" / (name if below else "")
    there = put(place, name, form)
    if form == "archive":
        pin(name, place)
    if origin == "data_dir":
        monkeypatch.setenv("PLASTICRL_DATA", str(tmp_path / "elsewhere"))
        assert find_dataset(name, tmp_path / "data") == there
    else:
        monkeypatch.setenv("PLASTICRL_DATA", str(tmp_path / "data"))
        assert find_dataset(name) == there


@pytest.mark.parametrize("origin", ["data_dir", "PLASTICRL_DATA"])
def test_places_below_the_home_folder_are_found(
    origin: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pin: Pin
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PLASTICRL_CACHE", "~/cache")
    assert cache_dir() == tmp_path / "cache"
    there = put(tmp_path / "data", "omniglot", "archive")
    pin("omniglot", tmp_path / "data")
    monkeypatch.setenv("PLASTICRL_DATA", "~/data")
    assert find_dataset("omniglot", "~/data" if origin == "data_dir" else None) == there
    monkeypatch.setenv("PLASTICRL_DATA", "~nobody-of-that-name/data")
    with pytest.raises(DataError, match="~nobody-of-that-name/data"):
        find_dataset("omniglot")


@pytest.mark.parametrize("origin", ["data_dir", "PLASTICRL_DATA"])
def test_a_named_place_without_the_files_is_an_error_and_no_download(
    origin: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path, "cifar-10", "tree")
    (tmp_path / "images_background").mkdir()
    monkeypatch.setenv("PLASTICRL_DATA", str(tmp_path))
    with pytest.raises(DataError, match=rf"{origin}.*images_evaluation\.zip.*https://"):
        find_dataset("omniglot", tmp_path if origin == "data_dir" else None)
    assert not (tmp_path / "cache").exists()


def test_an_unknown_dataset_is_refused_with_those_there_are() -> None:
    with pytest.raises(ValueError, match=r"omniglot, cifar-10, cifar-100, got 'mnist'"):
        find_dataset("mnist")


def test_every_archive_has_an_official_address_and_a_pinned_checksum() -> None:
    parts = [part for parts in DATASETS.values() for part in parts]
    for part in parts:
        assert part.address.startswith(
            ("https://github.com/brendenlake/omniglot/", "https://www.cs.toronto.edu/")
        )
        assert part.address.endswith(f"/{part.archive}")
        assert len(bytes.fromhex(part.sha256)) == 32
    assert len({part.sha256 for part in parts}) == len(parts) == 4


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder served on this machine, from where the archive of CIFAR-10 is to be downloaded."""
    folder = tmp_path / "served"
    folder.mkdir()
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        part = DATASETS["cifar-10"][0]._replace(
            address=f"http://127.0.0.1:{server.server_port}/cifar-10-binary.tar.gz",
            sha256=hashlib.sha256(b"official").hexdigest(),
        )
        monkeypatch.setitem(DATASETS, "cifar-10", (part,))
        yield folder
        server.shutdown()
        thread.join()


def test_the_official_archive_is_downloaded_once(served: Path, tmp_path: Path) -> None:
    (served / "cifar-10-binary.tar.gz").write_bytes(b"official")
    there = {"cifar-10-batches-bin": tmp_path / "cache" / "cifar-10-binary.tar.gz"}
    assert find_dataset("cifar-10") == there
    assert there["cifar-10-batches-bin"].read_bytes() == b"official"
    (served / "cifar-10-binary.tar.gz").unlink()
    assert find_dataset("cifar-10") == there
    assert find_dataset("cifar-10", download=False) == there


@pytest.mark.parametrize("fault", ["other content", "not there"])
def test_a_failed_download_names_the_address_and_leaves_nothing(
    served: Path, fault: str, tmp_path: Path
) -> None:
    if fault == "other content":
        (served / "cifar-10-binary.tar.gz").write_bytes(b"hostile")
    with pytest.raises(DataError, match=r"http://127\.0\.0\.1.*data_dir"):
        find_dataset("cifar-10")
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_damaged_file_in_the_cache_is_downloaded_again(served: Path, tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "cifar-10-binary.tar.gz").write_bytes(b"damaged")
    (served / "cifar-10-binary.tar.gz").write_bytes(b"official")
    with pytest.raises(DataError, match="is disabled"):
        find_dataset("cifar-10", download=False)
    assert find_dataset("cifar-10")["cifar-10-batches-bin"].read_bytes() == b"official"


def test_the_cache_is_the_users_own_unless_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert cache_dir() == tmp_path / "cache"
    monkeypatch.delenv("PLASTICRL_CACHE")
    assert "plasticrl" in cache_dir().parts
    assert cache_dir().is_relative_to(Path.home())


@pytest.mark.parametrize("official", [False, True])
def test_an_archive_is_used_before_its_folder_if_it_is_official(
    official: bool, tmp_path: Path, pin: Pin
) -> None:
    folders, archives = (put(tmp_path, "omniglot", form) for form in ("tree", "archive"))
    if official:
        pin("omniglot", tmp_path)
    assert find_dataset("omniglot", tmp_path) == (archives if official else folders)
