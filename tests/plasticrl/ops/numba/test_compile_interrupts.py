"""Ctrl-C waits for a compilation to end."""

import signal
from collections.abc import Iterator
from typing import Any

import numba
import pytest
from numba.core import event

import plasticrl.ops.numba.engine  # noqa: F401  (postpones interrupts)


class Interrupt(event.Listener):
    """Presses Ctrl-C as often as something is compiled or ends to be."""

    count = 0

    def on_start(self, started: Any) -> None:
        self.count += 1
        signal.raise_signal(signal.SIGINT)

    def on_end(self, ended: Any) -> None:
        self.on_start(ended)


@pytest.fixture
def presses() -> Iterator[Interrupt]:
    listener = Interrupt()
    event.register("numba:compile", listener)
    yield listener
    event.unregister("numba:compile", listener)


def test_an_interrupted_compilation_ends_first(presses: Interrupt) -> None:
    @numba.njit
    def inner(x: float) -> float:
        return x + 1.0

    @numba.njit
    def outer(x: float) -> float:
        return inner(x) * 2.0

    usual = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        outer(1.0)
    assert presses.count == 4
    assert len(outer.signatures) == len(inner.signatures) == 1
    assert signal.getsignal(signal.SIGINT) is usual
    assert outer(1.0) == 4.0


def test_a_compilation_that_fails_lets_interrupts_through_again(presses: Interrupt) -> None:
    @numba.njit
    def wrong(x: float) -> float:
        return x.nothing  # type: ignore[attr-defined]

    usual = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        wrong(1.0)
    assert signal.getsignal(signal.SIGINT) is usual
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
