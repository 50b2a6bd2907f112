"""How much is tried: a little in ``make test``, and by ``make soak`` what docs/reliability.md reports."""

import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

FIGURES = Path(__file__).parents[1] / "results" / "reliability"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--soak",
        action="store_true",
        help="try as much as docs/reliability.md reports, and write its figures",
    )


def pytest_configure(config: pytest.Config) -> None:
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in a job that a shell runs in the background
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def soak(request: pytest.FixtureRequest) -> bool:
    """Whether this is the long version."""
    return bool(request.config.getoption("--soak"))


@pytest.fixture(scope="session")
def figures(soak: bool) -> Callable[..., None]:
    """Writes what a check has counted, in the long version only."""

    def write(name: str, **counted: Any) -> None:
        if soak:
            FIGURES.mkdir(parents=True, exist_ok=True)
            (FIGURES / f"{name}.json").write_text(json.dumps(counted, indent=2) + "\n")

    return write
