import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

from plasticrl.envs.data import cifar
from plasticrl.envs.data import omniglot as omniglot_images
from plasticrl.envs.supervised import one_shot as omniglot
from plasticrl.scripts.main import main

TINY = [
    *["--size", "5", "--episode-length", "20", "--hidden-size", "8", "--n-envs", "4"],
    *["--total-timesteps", "400", "--eval-episodes", "6", "--checkpoints", "2", "--threads", "1"],
    "--quiet",
]


@pytest.fixture(autouse=True)
def _threads_as_before() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def tiny() -> list[str]:
    """Options of a training that takes a moment."""
    return TINY


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run, not to be changed."""
    root = tmp_path_factory.mktemp("runs")
    assert main(["train", "maze", "--root", str(root), "--seed", "3", *TINY]) == 0
    return root / "maze" / "plastic" / "seed_3"


class Supervised(NamedTuple):
    """A supervised task in a size that takes a moment."""

    task: str
    options: list[str]  # of train and compare
    data: list[str]  # options that say where its data are
    total: int  # episodes of a training


TINY_EPISODES = ["--eval-episodes", "6", "--checkpoints", "2", "--threads", "1", "--quiet"]
TINY_TASKS = {
    "patterns": ["--n-bits", "12", "--n-cycles", "1", "--total-episodes", "12", "--batch-size", "2"],
    "images": ["--n-cycles", "1", "--steps-on", "1", "--test-steps", "1", "--total-episodes", "4"],
    "omniglot": ["--n-way", "3", "--n-filters", "2", "--total-episodes", "12", "--batch-size", "2"],
}
TOTAL = {"patterns": 12, "images": 4, "omniglot": 12}


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Folder of a CIFAR-10 with 6 images per file. Omniglot is noise, in all of its classes but no file."""
    folder = tmp_path_factory.mktemp("data")
    tree = folder / "cifar-10-batches-bin"
    tree.mkdir()
    rng = np.random.default_rng(0)
    for name in (*(f"data_batch_{number}.bin" for number in range(1, 6)), "test_batch.bin"):
        records = rng.integers(0, 256, (6, 3073), dtype=np.uint8)
        records[:, 0] %= 10
        (tree / name).write_bytes(records.tobytes())
    small = cifar.LAYOUTS["cifar-10"]._replace(train_images=6, test_images=6)
    drawings = rng.integers(0, 256, (1623, 2, 32, 32), dtype=np.uint8)
    load = omniglot.load_omniglot

    def load_noise(size: int, data_dir: str | os.PathLike[str] | None = None) -> Any:
        noise = SimpleNamespace(images=drawings[..., :size, :size])
        return noise if data_dir is not None and Path(data_dir) == folder else load(size, data_dir)

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(cifar.LAYOUTS, "cifar-10", small)
        patch.setattr(omniglot, "load_omniglot", load_noise)
        patch.setattr(omniglot_images, "load_omniglot", load_noise)
        yield folder


@pytest.fixture(scope="session", params=list(TINY_TASKS))
def supervised(request: pytest.FixtureRequest, tiny_data: Path) -> Supervised:
    """Each supervised task in turn."""
    task: str = request.param
    data = [] if task == "patterns" else ["--data-dir", str(tiny_data)]
    return Supervised(task, [*TINY_TASKS[task], *TINY_EPISODES, *data], data, TOTAL[task])


@pytest.fixture(scope="session")
def trained_supervised(supervised: Supervised, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of the task, not to be changed."""
    root = tmp_path_factory.mktemp("runs")
    assert main(["train", supervised.task, "--root", str(root), "--seed", "3", *supervised.options]) == 0
    return root / supervised.task / "plastic" / "seed_3"
