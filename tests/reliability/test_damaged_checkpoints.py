"""A checkpoint that is damaged, or made up, gets an error that names it, soon and in little memory."""

import json
import resource
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_learners import LEARNERS, Load

from plasticrl.agents.checkpoint.tensor_file import TensorFileError, read_tensors, write_tensors

Rng = np.random.Generator
HUGE = 10**11  # bytes that a header claims
DEEP: Any = None
for _ in range(500):
    DEEP = [DEEP]
HOSTILE: tuple[Any, ...] = (
    *(None, True, -1, 0.5, 10**30, "", "os.system", "a" * 100_000, [], {}, [[]], {"a": {}}),
    *("__reduce__", {"__class__": "os.system"}, [1e308] * 3, 2**63, DEEP),
)
MOST_SECONDS, MOST_MEMORY = 5.0, 2**30


@pytest.fixture(params=LEARNERS)
def saved(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, bytes, Load]:
    """A learner's name, a checkpoint of it, and what loads one."""
    make, load = LEARNERS[request.param]
    make(tmp_path / "good.safetensors")
    return request.param, (tmp_path / "good.safetensors").read_bytes(), load


@pytest.fixture(autouse=True)
def _little_memory() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MOST_MEMORY, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


class Tries:
    """Loads one file after the other and notes what happens."""

    def __init__(self, path: Path, load: Load) -> None:
        self.path, self.load = path, load
        self.refused, self.loaded, self.slowest = 0, 0, 0.0

    def __call__(self, content: bytes | None) -> None:
        if content is not None:
            self.path.write_bytes(content)
        began = time.monotonic()
        try:
            self.load(self.path)
        except ValueError:  # anything else is a fault
            self.refused += 1
        else:
            self.loaded += 1
        self.slowest = max(self.slowest, time.monotonic() - began)


def header(text: bytes) -> bytes:
    return len(text).to_bytes(8, "little") + text


def made_up() -> Iterator[bytes]:
    yield from (b"", b"\x80\x04\x95", b"PK\x03\x04" + bytes(100), header(b"{}"), header(b"[" * 100_000))
    yield HUGE.to_bytes(8, "little") + b"{}"
    claim = {"a": {"dtype": "F32", "shape": [HUGE // 4], "data_offsets": [0, HUGE]}}
    yield header(json.dumps(claim).encode())
    for text in ("[" * 100_000, "{}", '{"data":' * 100_000, "null", '{"data":{},"sha256":""}'):
        yield header(json.dumps({"__metadata__": {"plasticrl": text}}).encode())


def test_cut_flipped_or_made_up_files_are_all_refused(
    saved: tuple[str, bytes, Load], tmp_path: Path, soak: bool, figures: Callable[..., None]
) -> None:
    name, content, load = saved
    rng, cuts, flips = np.random.default_rng(0), *((256, 1000) if soak else (40, 120))
    tries = Tries(tmp_path / "damaged.safetensors", load)
    for length in np.linspace(0, len(content) - 1, cuts, dtype=int):
        tries(content[:length])
    for bit in rng.choice(8 * len(content), flips, replace=False):
        changed = bytearray(content)
        changed[bit // 8] ^= 1 << bit % 8
        tries(bytes(changed))
    others = list(made_up())
    for other in others:
        tries(other)
    assert (tries.loaded, tries.refused) == (0, cuts + flips + len(others))
    assert tries.slowest < MOST_SECONDS
    figures(
        f"damaged_{name}",
        bytes=len(content),
        cuts=cuts,
        bits_flipped=flips,
        made_up=len(others),
        refused_by_name=tries.refused,
        loaded=tries.loaded,
        slowest_seconds=round(tries.slowest, 3),
        memory_limit_mb=MOST_MEMORY // 2**20,
    )


def places(tree: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where something is in nested lists and dicts."""
    yield path
    for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree):
        if isinstance(value, dict | list):
            yield from places(value, (*path, key))
        else:
            yield (*path, key)


def replaced(tree: Any, path: tuple[Any, ...], value: Any) -> Any:
    if not path:
        return value
    copy = dict(tree) if isinstance(tree, dict) else list(tree)
    copy[path[0]] = replaced(tree[path[0]], path[1:], value)
    return copy


def odd_tensor(tensor: torch.Tensor, rng: Rng) -> torch.Tensor:
    odd = (tensor[None], tensor.double(), tensor.flatten()[:-1], torch.zeros(0), torch.zeros(2, 3, 4).bool())
    return odd[rng.integers(len(odd))].clone()


def test_whole_files_with_hostile_content_are_refused_or_load(
    saved: tuple[str, bytes, Load], tmp_path: Path, soak: bool, figures: Callable[..., None]
) -> None:
    """Their checksums are right: whoever makes such a file can compute those too."""
    name, content, load = saved
    (tmp_path / "good").write_bytes(content)
    tensors, data = read_tensors(tmp_path / "good")
    rng, count = np.random.default_rng(0), 2000 if soak else 150
    everywhere = [path for path in places(data) if path]
    tries = Tries(tmp_path / "hostile.safetensors", load)
    for number in range(count):
        changed, given = data, dict(tensors)
        if number % 4:
            path = everywhere[rng.integers(len(everywhere))]
            changed = replaced(data, path, HOSTILE[rng.integers(len(HOSTILE))])
        else:
            victim = sorted(given)[rng.integers(len(given))]
            tensor = given.pop(victim)
            if rng.random() < 0.7:
                given[victim + "x" * int(rng.integers(2))] = odd_tensor(tensor, rng)
        try:
            write_tensors(tries.path, given, changed)
        except (TypeError, ValueError):  # not even JSON
            continue
        tries(None)
    assert tries.refused > 0.5 * count
    assert tries.slowest < MOST_SECONDS
    figures(
        f"hostile_content_{name}",
        refused_by_name=tries.refused,
        loaded_as_another_valid_file=tries.loaded,
        other_errors=0,
        slowest_seconds=round(tries.slowest, 3),
    )


def test_a_later_version_is_told(saved: tuple[str, bytes, Load], tmp_path: Path) -> None:
    _, content, load = saved
    (tmp_path / "good").write_bytes(content)
    tensors, data = read_tensors(tmp_path / "good")
    write_tensors(tmp_path / "later", tensors, {**data, "version": 99})
    with pytest.raises(TensorFileError, match="version 99"):
        load(tmp_path / "later")
