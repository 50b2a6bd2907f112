from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

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
